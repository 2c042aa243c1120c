"""What the default backend does where only max-whisper's own dependencies are installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "audio_samples"

# None of these is a dependency; some packages use them where they find them.
ABSENT = ("torch", "whisper", "onnxruntime", "silero_vad", "transformers", "numba", "triton", "sympy", "jiwer")

REFUSE = f"""
import sys

class Refused:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refused)
"""

TRANSCRIBE = """
import max_whisper
digits, dialogue, folder = sys.argv[1:]
model = max_whisper.load_model("nano")
print(model.transcribe(digits).text.strip())
print(model.transcribe(max_whisper.load_audio(digits), beam_size=5, temperature=0).text.strip())
words = model.transcribe(digits, word_timestamps=True, vad_filter=True).segments[0].words
print(" ".join(word.word.strip() for word in words))
print("".join(segment.text for segment in model.stream(digits, language="en")).strip())
(result,) = model.transcribe_many([dialogue], batch_size=4)
result.save(folder + "/dialogue.srt")
print(model.detect_language(digits)[0])
"""

# A machine without a C compiler: MAX cannot link the part of itself that max.nn imports.
NO_COMPILER = """
import sys

class NotLinked:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "max._kv_cache_ops":
            cause = RuntimeError("mojo: error: unable to find suitable c compiler for linking")
            raise ImportError("Import of Mojo module failed due to compilation error.") from cause

sys.meta_path.insert(0, NotLinked)
"""

COMMAND = """
from max_whisper.cli.program import run
sys.exit(run(sys.argv[1:]))
"""


def run_without(program: str, *arguments: str, folder: Path, refuse: str = REFUSE) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "max-whisper")}
    command = [sys.executable, "-c", refuse + program, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_refused_modules_cannot_be_imported(tmp_path: Path) -> None:
    for name in ("torch", "whisper.model", "onnxruntime"):
        done = run_without(f"import {name}", folder=tmp_path)
        assert f"No module named {name.partition('.')[0]!r}" in done.stderr


def test_transcribing_needs_none_of_them(tmp_path: Path) -> None:
    words = (SAMPLES / "digits.txt").read_text().strip()
    paths = (str(SAMPLES / "digits.flac"), str(SAMPLES / "dialogue.flac"), str(tmp_path))
    done = run_without(TRANSCRIBE, *paths, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    spoken = [line.lower().strip(".") for line in done.stdout.splitlines()]
    assert spoken == [words, words, words, words, "en"]
    assert (tmp_path / "dialogue.srt").read_text().startswith("1\n00:00:")


def test_the_command_line_needs_none_of_them(tmp_path: Path) -> None:
    arguments = ["transcribe", str(SAMPLES / "digits.flac"), "--model", "nano", "--output-format", "json"]
    done = run_without(COMMAND, *arguments, "--output-dir", str(tmp_path), "--vad-filter", "True", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (SAMPLES / "digits.txt").read_text().strip() in (tmp_path / "digits.json").read_text().lower()


@pytest.mark.parametrize("backend", ["torch", "hybrid"])
def test_a_backend_that_needs_one_says_how_to_install_it(backend: str, tmp_path: Path) -> None:
    arguments = ["transcribe", str(SAMPLES / "digits.flac"), "--model", "nano", "--backend", backend]
    done = run_without(COMMAND, *arguments, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip().endswith("need the Python module 'torch': pip install 'max-whisper[reference]'")


def test_words_on_a_machine_without_a_compiler_are_one_line(tmp_path: Path) -> None:
    arguments = ["transcribe", str(SAMPLES / "digits.flac"), "--model", "nano"]
    done = run_without(COMMAND, *arguments, folder=tmp_path, refuse=NO_COMPILER)
    assert done.returncode == 0, done.stderr
    done = run_without(COMMAND, *arguments, "--word-timestamps", "True", folder=tmp_path, refuse=NO_COMPILER)
    assert done.returncode == 1
    assert "need a C compiler" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
