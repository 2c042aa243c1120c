"""A benchmark's document as tables for a person."""

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.table import Table


def benchmark_tables(document: dict[str, Any]) -> Iterator[Table]:
    """A table for each model of the document; a time is its median, with the spread of its quartiles."""
    machine = document["machine"]
    for model in document["models"]:
        table = Table(
            title=f"{model['model']}: {machine['cpu']}, {machine['cores']} cores, {document['settings']['runs']} runs",
            title_justify="left",
            box=box.ROUNDED,
        )
        table.add_column("backend", no_wrap=True)
        for heading in (
            "load", "compile", "encoder, 30 s", "a token", "recordings", "real-time factor", "memory", "WER"
        ):  # fmt: skip
            table.add_column(heading, justify="right")
        table.add_column("as the reference")
        for row in model["backends"]:
            table.add_row(f"{row['backend']} {row['device']}", *_cells(row))
        yield table


def long_tables(document: dict[str, Any]) -> Iterator[Table]:
    """A table for each model of a document that `--long` made."""
    machine = document["machine"]
    for model in document["models"]:
        table = Table(
            title=f"{model['model']}: {machine['cpu']}, {machine['cores']} cores",
            title_justify="left",
            box=box.ROUNDED,
        )
        table.add_column("backend", no_wrap=True)
        for heading in ("audio", "seconds", "real-time factor", "segments", "peak memory", "more than the first"):
            table.add_column(heading, justify="right")
        for row in model["long_recordings"]:
            first = row["recordings"][0]["peak_memory_mb"]
            for recording in row["recordings"]:
                table.add_row(
                    f"{row['backend']} {row['device']}",
                    f"{recording['audio_seconds'] / 60:,.0f} min",
                    f"{recording['seconds']:,.0f}",
                    f"{recording['seconds'] / recording['audio_seconds']:.3f}",
                    f"{recording['segments']:,}",
                    f"{recording['peak_memory_mb']:,.0f} MB",
                    f"{recording['peak_memory_mb'] - first:,.1f} MB",
                )
        yield table


def _cells(row: dict[str, Any]) -> list[str]:
    if row["error"]:
        return ["failed"]
    rate = row["word_error_rate"]
    return [
        f"{row['load_seconds']:.1f} s",
        f"{row['compile_seconds']:.1f} s" if row["compiled"] == "now" else row["compiled"],
        _time(row["encoder_ms"], "ms"),
        _time(row["token_ms"], "ms"),
        _time(row["seconds"], "s"),
        f"{row['real_time_factor']:.3f}",
        f"{row['peak_memory_mb']:,.0f} MB",
        "" if rate is None else f"{rate:.1%}",
        {True: "equal", False: "differs", None: "no reference"}[row["equals_reference"]],
    ]


def _time(spread: dict[str, Any], unit: str) -> str:
    half = (spread["q3"] - spread["q1"]) / 2
    digits = 0 if spread["median"] >= 100 else 1 if spread["median"] >= 10 else 2
    return f"{spread['median']:.{digits}f} ± {half:.{digits}f} {unit}"
