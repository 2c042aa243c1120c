"""The drawings of the pages are those that their sources give, and name parts of the package that exist."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "max-whisper" / "max_whisper"


@pytest.mark.parametrize(
    ("command", "drawing"),
    [
        ([str(ROOT / "docs" / "make_data_flow.py")], "docs/data-flow.svg"),
        (["-m", "benchmarks.readme_chart"], "docs/speed.svg"),
    ],
)
def test_a_drawing_is_current(command: list[str], drawing: str, tmp_path: Path) -> None:
    made = tmp_path / "drawing.svg"
    paths = os.pathsep.join(str(path) for path in (ROOT / "max-whisper", ROOT))
    environment = os.environ | {"PYTHONPATH": paths}
    subprocess.run([sys.executable, *command, "--out", str(made)], cwd=ROOT, env=environment, check=True)
    assert made.read_bytes() == (ROOT / drawing).read_bytes()


def test_the_boxes_of_the_data_flow_are_modules_and_folders() -> None:
    lines = (ROOT / "docs" / "data-flow.txt").read_text(encoding="utf-8").splitlines()
    paths = [line.split("|")[2].strip() for line in lines if line.startswith("box ")]
    assert len(paths) >= 10
    assert [path for path in paths if not (PACKAGE / path).exists()] == []
