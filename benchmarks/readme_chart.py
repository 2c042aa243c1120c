"""The chart of the README, from the committed measurements: python -m benchmarks.readme_chart

It shows two rows of docs/benchmarks/peers.json, which `python -m benchmarks.peers` measured: seconds for the recording,
and peak memory, for one checkpoint in the sizes of tiny. Of each other program it shows the precision that took the
fewest seconds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from .peers.chart import bar_chart
from .peers.rows import OURS
from .peers.summary import Entry, Model, measured, median

ROOT = Path(__file__).resolve().parents[1]
MEASUREMENTS = ROOT / "docs" / "benchmarks" / "peers.json"
CHART = ROOT / "docs" / "speed.svg"

ROWS = ("recording", "memory")


def readme_chart(document: dict[str, Any]) -> str:
    """An SVG of two panels, from a document of `benchmarks.peers` that has the model random:tiny."""
    model = next(model for model in document["models"] if model["model"] == "random:tiny")
    minutes = document["settings"]["seconds"] / 60
    shown = {
        "model": f"{minutes:g} minutes of audio, the sizes of tiny",
        "programs": [entry | {"rows": {name: entry["rows"][name] for name in ROWS}} for entry in _shown_entries(model)],
    }
    return bar_chart(document, shown)


def _shown_entries(model: Model) -> list[Entry]:
    """max-whisper in float32 and int8 below every other program at its fastest precision."""
    theirs = [entry for entry in measured(model) if entry["program"] != OURS]
    fastest = {
        program: min((entry for entry in theirs if entry["program"] == program), key=lambda e: median(e, ROWS[0]) or 0)
        for program in dict.fromkeys(entry["program"] for entry in theirs)
    }
    own = [entry for entry in measured(model) if entry["program"] == OURS and entry["precision"] in ("float32", "int8")]
    return [*fastest.values(), *own]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=CHART, metavar="FILE", help="where the SVG is written")
    options = parser.parse_args()
    document = json.loads(MEASUREMENTS.read_text(encoding="utf-8"))
    options.out.write_text(readme_chart(document), encoding="utf-8")


if __name__ == "__main__":
    main()
