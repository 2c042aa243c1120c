"""The one command: what it says when it cannot begin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_missing_archive_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "training/make_nano.py", "--fsdd", "nowhere.tar.xz", "--work", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no such file: nowhere.tar.xz" in done.stderr


def test_speech_programs_are_named_when_they_are_missing(tmp_path: Path) -> None:
    code = "from training.speech import missing_programs; print(missing_programs())"
    command = [sys.executable, "-c", f"import pytest; pytest.importorskip('soxr'); {code}"]
    environment = {"PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode or done.stdout.strip() == "['espeak-ng', 'flite', 'pico2wave', 'text2wave']"
