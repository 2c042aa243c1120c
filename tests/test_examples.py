"""Each example runs as it stands, with no arguments."""

import os
import subprocess
import sys
from pathlib import Path

from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.runtime.cache_folder import cache_dir

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = {"transcribe_file.py", "use_as_library.py", "compare_backends.py", "own_checkpoint.py"}


def run_example(name: str, folder: Path) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, str(ROOT / "examples" / name)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_every_example_is_tested() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == EXAMPLES


def test_transcribe_file_saves_subtitles(tmp_path: Path) -> None:
    lines = run_example("transcribe_file.py", tmp_path)
    assert lines[-1] == "saved to dialogue.srt"
    assert (tmp_path / "dialogue.srt").read_text().startswith("1\n00:00:")


def test_use_as_library_shows_text_and_an_error(tmp_path: Path) -> None:
    lines = run_example("use_as_library.py", tmp_path)
    assert lines[0].startswith("mp3: ")
    assert lines[-1].startswith("error: ")
    assert "no_such_file.wav" in lines[-1]


def test_backends_agree(tmp_path: Path) -> None:
    lines = run_example("compare_backends.py", tmp_path)
    assert [line.split()[0] for line in lines] == ["torch", "hybrid", "max"]
    assert all(" equal " in line for line in lines)


def test_a_checkpoint_of_ones_own_is_loaded(tmp_path: Path) -> None:
    lines = run_example("own_checkpoint.py", tmp_path)
    assert lines[0].startswith("mine: ")
    assert load_checkpoint(cache_dir() / "examples" / "mine.pt").is_float16, "as published files and nano itself"
    kept = {path for path in cache_dir().rglob("*") if path.is_file()}
    assert run_example("own_checkpoint.py", tmp_path) == lines
    assert {path for path in cache_dir().rglob("*") if path.is_file()} == kept, "nothing is added by another run"
