"""A benchmark's document as a part of docs/benchmarks.md, with a chart for each model beside the page."""

import re
from collections.abc import Iterator
from pathlib import Path

from ..page_part import markdown_table, write_part
from .chart import bar_chart
from .rows import Row
from .summary import (
    Document,
    Model,
    fastest_peer,
    float32_ratio,
    measured,
    median,
    notes,
    number_text,
    ours,
    ratio,
    ratio_text,
    rows_of,
    title_of,
    value_text,
)

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


def write_page(path: Path, document: Document) -> None:
    """Write the document between the page's marks, in a new page where there is none, and the charts.

    Raises ValueError where the page has no marks.
    """
    page = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}{END}"
    if END not in page.partition(BEGIN)[2]:
        raise ValueError(f"{path}: has no lines '{BEGIN}' and '{END}'; add them where the tables belong")
    folder = path.with_suffix("")  # docs/benchmarks.md has its pictures in docs/benchmarks/
    folder.mkdir(parents=True, exist_ok=True)
    charts = {}
    for model in document["models"]:
        chart = folder / f"peers-{re.sub(r'[^a-z0-9]+', '-', model['model'].lower())}.svg"
        chart.write_text(bar_chart(document, model), encoding="utf-8")
        charts[model["model"]] = f"{folder.name}/{chart.name}"
    write_part(path, "peers", "\n".join(_section(document, charts)))


def _section(document: Document, charts: dict[str, str]) -> Iterator[str]:
    machine, settings = document["machine"], document["settings"]
    versions = {name: version for name, version in document["versions"].items() if version}
    yield "## Beside other programs"
    yield ""
    yield (
        f"{machine['cpu']}, {settings['threads']} of {machine['cores']} cores, {machine['memory_gb']:.0f} GB, "
        f"{machine['system']}; {document['created'][:10]}."
    )
    yield f"Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}."
    yield f"Command: `{document['command']}`."
    yield ""
    yield (
        "All programs run side by side, each in a process of its own with the same number of threads, and are asked "
        "in turn; a value is the median of its rounds (`--rounds`) after a warm-up, ± half the distance of the "
        "quartiles. The weights are one checkpoint, converted for each. With random weights every window gets as many "
        "tokens, without timestamps; trained ones write text with timestamps until it ends. The recording is "
        f"{settings['seconds'] / 60:g} minutes long, batches are of {settings['batch_size']} windows."
    )
    for model in document["models"]:
        yield ""
        yield from _model(model, charts[model["model"]])


def _model(model: Model, chart: str) -> Iterator[str]:
    entries, rows = measured(model), list(rows_of(model))
    yield f"### {model['model']}"
    yield ""
    yield f"![Bars of the medians below]({chart})"
    yield ""
    if ours(model):
        yield "How many times max-whisper is faster than the fastest peer, at any precision, and float32 than float32:"
        yield ""
        yield markdown_table(
            ["", "fastest peer", *(entry["precision"] for entry in ours(model)), "float32 to float32"],
            [cells for row in rows if (cells := _ratios(model, row))],
        )
        yield ""
    yield markdown_table(
        ["", *(row.title for row in rows)], [[title_of(e), *(value_text(e, r) for r in rows)] for e in entries]
    )
    rates = [(title_of(entry), entry["word_error_rate"]) for entry in entries if entry["word_error_rate"] is not None]
    if rates:
        yield ""
        yield f"Words that are wrong: {', '.join(f'{name} {rate:.1%}' for name, rate in rates)}."
    if any(entry["tokens"] for entry in entries):
        counts = (f"{title_of(entry)} {' and '.join(map(str, entry['tokens'].values()))}" for entry in entries)
        yield ""
        yield f"Tokens of text in the recording, alone and in batches: {', '.join(counts)}."
    yield ""
    yield from (f"- {note}" for note in notes(model))


def _ratios(model: Model, row: Row) -> list[str] | None:
    fastest = fastest_peer(model, row.name)
    if fastest is None:
        return None
    return [
        row.title,
        f"{title_of(fastest)}, {number_text(median(fastest, row.name) or 0.0)} {row.unit}",
        *(ratio_text(ratio(model, entry, row.name)) for entry in ours(model)),
        ratio_text(float32_ratio(model, row.name)),
    ]
