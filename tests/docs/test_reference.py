"""The reference of the Python API: pdoc writes it without a warning, with every name of the public door."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import max_whisper

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pdoc") is None, reason="pdoc is not installed")


def test_it_is_written_without_a_warning(tmp_path: Path) -> None:
    paths = os.pathsep.join(str(path) for path in (ROOT / "max-whisper", ROOT))
    subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(ROOT / "docs" / "make_reference.py"), "--out", str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        check=True,
    )
    page = (tmp_path / "max_whisper.html").read_text(encoding="utf-8")
    assert [name for name in max_whisper.__all__ if f'<section id="{name}"' not in page] == []
    # A field of a dataclass, and a parameter of a function.
    assert [name for name in ("no_speech_prob", "progress") if not re.search(rf"<strong>{name}:?</strong>", page)] == []
    assert sorted(path.name for path in (tmp_path / "max_whisper").iterdir()) == ["progress.html"]
