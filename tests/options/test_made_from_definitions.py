"""What is made from the definitions of the options is current, and means what they mean."""

import importlib
import inspect
import os
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from mypy import api as mypy

import max_whisper
from docs.make_pages import FILES
from max_whisper.audio.keywords import ReadingKeywords
from max_whisper.audio.reading import ReadingOptions
from max_whisper.definitions import options_of
from max_whisper.options import LoadOptions, TranscribeOptions
from max_whisper.options.keywords import TranscribeKeywords
from max_whisper.results.formats import SubtitleOptions
from max_whisper.results.keywords import SubtitleKeywords

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path](), "run python docs/make_pages.py"


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        (TranscribeOptions, TranscribeKeywords),
        (ReadingOptions, ReadingKeywords),
        (SubtitleOptions, SubtitleKeywords),
    ],
)
def test_keywords_have_the_types_of_the_options(options: Any, keywords: Any) -> None:
    import max_whisper.options.keywords as module

    assert keywords.__total__ is False
    assert typing.get_type_hints(keywords) == typing.get_type_hints(options, vars(module))
    assert list(keywords.__annotations__) == [definition.name for definition in options_of(options)]


def test_load_model_has_the_defaults_of_its_options() -> None:
    parameters = dict(inspect.signature(max_whisper.load_model).parameters)
    del parameters["progress"], parameters["unknown"]
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        definition.name: definition.default for definition in options_of(LoadOptions)
    }
    compiling = inspect.signature(max_whisper.compile_model).parameters
    for name in ("model", "device", "compute_type"):
        assert compiling[name].default == parameters[name].default
        assert compiling[name].annotation == parameters[name].annotation


def test_load_audio_has_the_options_of_reading() -> None:
    parameters = dict(inspect.signature(max_whisper.load_audio).parameters)
    del parameters["source"]
    assert {name: (parameter.default, parameter.annotation) for name, parameter in parameters.items()} == {
        definition.name: (definition.default, definition.annotation) for definition in options_of(ReadingOptions)
    }


SNIPPETS = """\
import numpy as np
import max_whisper
from max_whisper import Segment, TranscribeOptions, Transcription, VadParameters

model = max_whisper.load_model("nano", device="cpu", threads=2)
max_whisper.load_model()
max_whisper.load_model(divice="cpu")  # wrong
max_whisper.load_model(threads="2")  # wrong
max_whisper.load_modle("nano")  # wrong
result: Transcription = model.transcribe("a.wav", beam_size=5, temperature=0, language=None, task="translate")
model.transcribe("a.wav", beam_sise=5)  # wrong
model.transcribe("a.wav", beam_size="5")  # wrong
model.transcribe("a.wav", task="summarize")  # wrong
model.transcribe(5)  # wrong
model.transcribe(np.zeros(16000, np.int16), sample_rate=8000, vad_filter=True, vad_parameters={"threshold": 0.6})
model.transcribe("a.wav", options=TranscribeOptions(beam_size=5, vad_parameters=VadParameters()), seed=1)
model.transcribe("a.wav", options={"beam_size": 5})  # wrong
segments: list[Segment] = list(model.stream("a.wav", chunking="vad", batch_size=8, clip_timestamps=[0, 5.5]))
model.stream("a.wav", chunking="silence")  # wrong
model.stream("a.wav", batch_sise=8)  # wrong
many = model.transcribe_many(["a.wav"], batch_size=8, suppress_tokens=[1, 2])
model.transcribe_many(["a.wav"], batch_size=8.5)  # wrong
code, probabilities = model.detect_language("a.wav", segments=2)
model.detect_language("a.wav", segments="2")  # wrong
model.detect_language("a.raw", input_format="s16le", sample_rate=8000, channel="left")
model.detect_language("a.wav", beam_size=5)  # wrong
model.transcribe("a.mkv", audio_track=2.0)  # wrong
result.save("a.srt", max_line_width=42, highlight_words=True)
result.save("a.srt", max_line_widht=42)  # wrong
result.save("a.srt", max_line_width="42")  # wrong
TranscribeOptions(beam_sise=5)  # wrong
TranscribeOptions(beam_size="5")  # wrong
"""


def test_calls_are_checked_by_mypy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "snippets.py"
    path.write_text(SNIPPETS)
    monkeypatch.chdir(ROOT)
    arguments = ["--config-file", "pyproject.toml", "--cache-dir", str(ROOT / ".mypy_cache"), "--no-error-summary"]
    printed, failed, _ = mypy.run([*arguments, "--hide-error-context", str(path)])
    assert failed == "", failed
    found = {int(line.split(":")[1]) for line in printed.splitlines() if ": error: " in line}
    assert found == {
        number for number, line in enumerate(SNIPPETS.splitlines(), start=1) if line.endswith("# wrong")
    }, printed


def test_the_public_names_are_there() -> None:
    code = (
        "import sys, max_whisper\n"
        "heavy = {'numpy', 'av', 'tiktoken', 'safetensors', 'max', 'torch'}\n"
        "assert heavy.isdisjoint(sys.modules), heavy & set(sys.modules)\n"
        "assert set(max_whisper.__all__) <= set(dir(max_whisper))\n"
        "assert all(getattr(max_whisper, name) is not None for name in max_whisper.__all__)\n"
        "from max_whisper import *\n"
        "print(load_model.__module__, hasattr(max_whisper, 'no_such_name'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr) == ("max_whisper.transcriber False\n", "")


@pytest.mark.parametrize("package", ["max_whisper", "max_whisper.audio", "max_whisper.audio.vad"])
def test_packages_give_every_name_of_their_own(package: str) -> None:
    module = importlib.import_module(package)
    assert {*module.__all__} <= {*dir(module)}
    assert all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018
