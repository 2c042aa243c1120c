"""A benchmark's document on the screen."""

from collections.abc import Iterator

from rich import box
from rich.table import Table

from .summary import (
    Document,
    fastest_peer,
    float32_ratio,
    measured,
    median,
    number_text,
    ours,
    ratio,
    ratio_text,
    rows_of,
    title_of,
    value_text,
)


def peer_tables(document: Document) -> Iterator[Table]:
    """For each model a table of all programs, and one of ours against the fastest peer of each row."""
    machine, settings = document["machine"], document["settings"]
    for model in document["models"]:
        title = f"{model['model']}: {machine['cpu']}, {settings['threads']} threads, {settings['rounds']} rounds"
        table = Table(title=title, title_justify="left", box=box.ROUNDED)
        table.add_column("")
        for entry in measured(model):
            table.add_column(title_of(entry), justify="right")
        for row in rows_of(model):
            table.add_row(row.title, *(value_text(entry, row) for entry in measured(model)))
        yield table
        if not ours(model):
            continue
        table = Table(title="times faster than the fastest peer", title_justify="left", box=box.ROUNDED)
        table.add_column("")
        table.add_column("fastest peer")
        for entry in ours(model):
            table.add_column(title_of(entry), justify="right")
        table.add_column("float32 to float32", justify="right")
        for row in rows_of(model):
            fastest = fastest_peer(model, row.name)
            if fastest is None:
                continue
            cells = [ratio_text(ratio(model, entry, row.name)) for entry in ours(model)]
            value = f"{title_of(fastest)}, {number_text(median(fastest, row.name) or 0)} {row.unit}"
            table.add_row(row.title, value, *cells, ratio_text(float32_ratio(model, row.name)))
        yield table
