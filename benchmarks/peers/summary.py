"""A benchmark's document, read: values, and ratios to the fastest peer."""

from collections.abc import Iterator
from typing import Any

from .rows import OURS, ROWS, Row

Document = dict[str, Any]
Model = dict[str, Any]
Entry = dict[str, Any]


def title_of(entry: Entry) -> str:
    """The program and its precision."""
    return f"{entry['program']} {entry['precision']}"


def measured(model: Model) -> list[Entry]:
    """The programs that were neither left out nor failed."""
    return [entry for entry in model["programs"] if entry["rows"]]


def ours(model: Model) -> list[Entry]:
    """max-whisper in each of its compute types."""
    return [entry for entry in measured(model) if entry["program"] == OURS]


def rows_of(model: Model) -> Iterator[Row]:
    """The rows that some program has a value in, in their order."""
    for name, row in ROWS.items():
        if any(median(entry, name) is not None for entry in measured(model)):
            yield row


def median(entry: Entry, row: str) -> float | None:
    """The median of a row's runs, in the row's unit."""
    value = entry["rows"].get(row, {}).get("value")
    return None if value is None else float(value["median"])


def fastest_peer(model: Model, row: str, precision: str | None = None) -> Entry | None:
    """The peer with the least median, at any precision or at one; None where none has the row."""
    peers = [
        entry
        for entry in measured(model)
        if entry["program"] != OURS and precision in (None, entry["precision"]) and median(entry, row) is not None
    ]
    return min(peers, key=lambda entry: median(entry, row) or 0.0, default=None)


def ratio(model: Model, entry: Entry, row: str, precision: str | None = None) -> float | None:
    """How many times the fastest peer's median is that of this program: above 1, this one is faster."""
    fastest, own = fastest_peer(model, row, precision), median(entry, row)
    theirs = None if fastest is None else median(fastest, row)
    return None if theirs is None or not own else theirs / own


def float32_ratio(model: Model, row: str) -> float | None:
    """`ratio` of our float32 to the fastest peer that computes in float32."""
    return next((ratio(model, entry, row, "float32") for entry in ours(model) if entry["precision"] == "float32"), None)


def value_text(entry: Entry, row: Row) -> str:
    """Median and half the distance of the quartiles, with the unit; why there is none where there is none."""
    measurement = entry["rows"].get(row.name)
    if measurement is None:
        return ""
    value = measurement["value"]
    if value is None:
        return "—"
    if len(value["runs"]) == 1:
        return f"{number_text(value['median'])} {row.unit}"
    half = (value["q3"] - value["q1"]) / 2
    return f"{number_text(value['median'])} ± {number_text(half, value['median'])} {row.unit}"


def number_text(number: float, scale: float | None = None) -> str:
    """Three digits, as many after the point as a number of the size `scale` has."""
    size = number if scale is None else scale
    digits = 0 if size >= 99.5 else 1 if size >= 9.95 else 2
    return f"{number:,.{digits}f}"


def ratio_text(value: float | None) -> str:
    """A ratio with two digits after the point."""
    return "" if value is None else f"{value:.2f} x"


def notes(model: Model) -> Iterator[str]:
    """How rows are measured where that is not by a call of just that, what is not there and why."""
    seen: set[tuple[str, str]] = set()
    for about in dict.fromkeys(entry["about"] for entry in measured(model) if entry["about"]):
        yield f"Build: {about}"
    for entry in measured(model):
        for name, measurement in entry["rows"].items():
            text = measurement["how"] if measurement["value"] is not None else measurement["reason"]
            if text and (entry["program"], name) not in seen:
                seen.add((entry["program"], name))
                yield f"{entry['program']}, {ROWS[name].title}: {text}"
    for entry in model["programs"]:
        if entry["skipped"] or entry["error"]:
            yield f"{title_of(entry)} is left out: {entry['skipped'] or entry['error']}"
