"""A benchmark's document as a bar chart: a plain SVG, readable on light and dark pages."""

from html import escape

from .rows import OURS, Row
from .summary import Document, Entry, Model, measured, median, number_text, rows_of, title_of

CHARTED = ("encoder", "token", "beam_token", "recording", "batched", "start_warm", "memory")

_LABEL, _BARS, _NUMBER = 176, 200, 92  # widths of a panel's columns
_LINE, _TITLE, _GAP = 20, 30, 18  # heights
_COLUMNS = 2
_STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #24292f; }
    .title { font-weight: 600; }
    .peer { fill: #a8b3bd; }
    .ours { fill: #d9480f; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .peer { fill: #59636e; }
      .ours { fill: #ff8c42; }
    }
"""


def bar_chart(document: Document, model: Model) -> str:
    """An SVG with a panel for each charted row: a bar for each program, shorter is better."""
    rows = [row for row in rows_of(model) if row.name in CHARTED]
    heights = [_TITLE + _LINE * len(_entries(model, row)) + _GAP for row in rows]
    machine, threads = document["machine"], document["settings"]["threads"]
    heading = f"{model['model']}: {machine['cpu']}, {threads} threads; shorter is better"
    width = _COLUMNS * (_LABEL + _BARS + _NUMBER)
    parts, top = [f'<text class="title" x="8" y="22">{escape(heading)}</text>'], 34
    for start in range(0, len(rows), _COLUMNS):
        for column, row in enumerate(rows[start : start + _COLUMNS]):
            parts += _panel(model, row, column * (_LABEL + _BARS + _NUMBER), top)
        top += max(heights[start : start + _COLUMNS])
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}" '
            f'role="img" aria-label="{escape(heading)}">',
            f"  <style>{_STYLE}  </style>",
            *(f"  {part}" for part in parts),
            "</svg>",
            "",
        ]
    )


def _entries(model: Model, row: Row) -> list[Entry]:
    return [entry for entry in measured(model) if median(entry, row.name) is not None]


def _panel(model: Model, row: Row, left: int, top: int) -> list[str]:
    """One row's bars, scaled to its longest."""
    entries = _entries(model, row)
    values = [median(entry, row.name) or 0.0 for entry in entries]
    longest = max(values) or 1.0
    parts = [f'<text class="title" x="{left + 8}" y="{top + 20}">{escape(row.title)}</text>']
    for number, (entry, value) in enumerate(zip(entries, values, strict=True)):
        y = top + _TITLE + number * _LINE
        kind = "ours" if entry["program"] == OURS else "peer"
        length = max(1.0, _BARS * value / longest)
        parts += [
            f'<text x="{left + _LABEL - 6}" y="{y + 13}" text-anchor="end">{escape(title_of(entry))}</text>',
            f'<rect class="{kind}" x="{left + _LABEL}" y="{y + 2}" width="{length:.1f}" height="{_LINE - 5}" rx="2"/>',
            f'<text x="{left + _LABEL + length + 6:.1f}" y="{y + 13}">{number_text(value)} {row.unit}</text>',
        ]
    return parts
