"""Draw docs/data-flow.svg from docs/data-flow.txt: python docs/make_data_flow.py

The text file describes its own form. The drawing needs no other program, so that the same text always gives the same
bytes, which a test compares.
"""

import argparse
import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SOURCE = FOLDER / "data-flow.txt"
DRAWING = FOLDER / "data-flow.svg"

WIDTH = 900
COLUMNS = {1: (190.0,), 2: (190.0, 740.0)}  # the middles of the boxes of a row, by their number
BOX_WIDTH, BOX_HEIGHT = 290, 44
ROW_STEP = 84  # from one row's top to the next one's
TOP = 12
LEFT = 20  # where the line runs that leads back up

_STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #24292f; text-anchor: middle; }
    .path { font: 11px ui-monospace, monospace; fill: #57606a; }
    .flow { font-size: 11px; fill: #57606a; }
    .beside { text-anchor: start; }
    .box { fill: #f6f8fa; stroke: #8c959f; }
    .arrow { fill: none; stroke: #d9480f; stroke-width: 1.5; marker-end: url(#head); }
    .head { fill: #d9480f; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .path, .flow { fill: #9198a1; }
      .box { fill: #151b23; stroke: #656c76; }
      .arrow { stroke: #ff8c42; }
      .head { fill: #ff8c42; }
    }
"""


@dataclass(frozen=True)
class Box:
    """A step of the pipeline."""

    title: str
    path: str  # in the package: a module or a folder


@dataclass
class Diagram:
    """What the text file says."""

    rows: list[list[str]] = field(default_factory=list)  # names of boxes, from top to bottom
    boxes: dict[str, Box] = field(default_factory=dict)
    flows: list[tuple[str, str, str]] = field(default_factory=list)  # from, to, what flows


def read_diagram(text: str) -> Diagram:
    """The diagram of a text in the form that docs/data-flow.txt describes.

    Raises ValueError for a line of no known form, and for a box that stands in no row or is drawn nowhere.
    """
    diagram = Diagram()
    for line in text.splitlines():
        fields = [part.strip() for part in line.split("|")]
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("row "):
            diagram.rows.append(line.split()[1:])
        elif line.startswith("box ") and len(fields) == 3:
            diagram.boxes[fields[0].removeprefix("box ")] = Box(fields[1], fields[2])
        elif (ends := re.fullmatch(r"(\w+) -> (\w+)", fields[0])) and len(fields) == 2:
            diagram.flows.append((ends[1], ends[2], fields[1]))
        else:
            raise ValueError(f"neither a row, a box nor a flow: {line}")
    placed = [name for row in diagram.rows for name in row]
    ends_of_flows = {name for start, end, _ in diagram.flows for name in (start, end)}
    if sorted(placed) != sorted(diagram.boxes) or not ends_of_flows <= set(placed):
        raise ValueError("each box stands in one row, and each flow leads from a box to a box")
    return diagram


def draw(diagram: Diagram) -> str:
    """The diagram as an SVG, readable on light and dark pages."""
    middles = {
        name: (x, TOP + number * ROW_STEP + BOX_HEIGHT / 2)
        for number, row in enumerate(diagram.rows)
        for name, x in zip(row, COLUMNS[len(row)], strict=True)
    }
    height = TOP + (len(diagram.rows) - 1) * ROW_STEP + BOX_HEIGHT + TOP
    between = [{start, end} for start, end, _ in diagram.flows]
    flows = [
        _arrow(middles[start], middles[end], text, shares=between.count({start, end}) > 1)
        for start, end, text in diagram.flows
    ]
    boxes = [_box(box, middles[name]) for name, box in diagram.boxes.items()]
    parts = [part for flow in flows for part in flow] + boxes
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img" aria-label="How a recording becomes text">',
            f"  <style>{_STYLE}  </style>",
            '  <marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path class="head" d="M0 0 8 4 0 8z"/></marker>',
            *(f"  {part}" for part in parts),
            "</svg>",
            "",
        ]
    )


def _box(box: Box, middle: tuple[float, float]) -> str:
    x, y = middle
    return (
        f'<rect class="box" x="{x - BOX_WIDTH / 2:g}" y="{y - BOX_HEIGHT / 2:g}" width="{BOX_WIDTH}" '
        f'height="{BOX_HEIGHT}" rx="6"/>'
        f'<text x="{x:g}" y="{y - 3:g}">{escape(box.title)}</text>'
        f'<text class="path" x="{x:g}" y="{y + 14:g}">{escape(box.path)}</text>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float], text: str, *, shares: bool) -> tuple[str, str]:
    """The line and the words of a flow. shares: whether another flow goes the opposite way between the same boxes."""
    (x, y), (to_x, to_y) = start, end
    half_width, half_height = BOX_WIDTH / 2, BOX_HEIGHT / 2
    if y == to_y:  # to the box beside it
        side = 1 if to_x > x else -1
        level = y - (side * half_height / 2 if shares else 0)
        path = f"M{x + side * half_width:g} {level:g}H{to_x - side * half_width:g}"
        return _line(path), _words(text, (x + to_x) / 2, level - 5)
    if to_y < y:  # back up, around the left side, to the box's top
        level = to_y - half_height - 9
        path = f"M{x - half_width:g} {y:g}H{LEFT}V{level:g}H{to_x:g}V{to_y - half_height:g}"
        return _line(path), _words(text, (x + to_x) / 2, level - 5)
    if x == to_x:  # straight down
        path = f"M{x:g} {y + half_height:g}V{to_y - half_height:g}"
        return _line(path), _words(text, x + 8, (y + to_y) / 2 - 1, beside=True)
    level, target = (y + to_y) / 2 + 6, to_x + 110 * (1 if x > to_x else -1)  # down and across
    path = f"M{x:g} {y + half_height:g}V{level:g}H{target:g}V{to_y - half_height:g}"
    return _line(path), _words(text, (x + to_x) / 2, level - 5)


def _line(path: str) -> str:
    return f'<path class="arrow" d="{path}"/>'


def _words(text: str, x: float, y: float, *, beside: bool = False) -> str:
    """Words in the middle of a line, or beside it, on its right."""
    return f'<text class="flow{" beside" if beside else ""}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DRAWING, metavar="FILE", help="where the SVG is written")
    options = parser.parse_args()
    diagram = read_diagram(SOURCE.read_text(encoding="utf-8"))
    options.out.write_text(draw(diagram), encoding="utf-8")


if __name__ == "__main__":
    main()
