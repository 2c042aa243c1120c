"""Worker processes: what they answer, and what becomes of their failures."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from max_whisper.diagnostics import worker
from max_whisper.diagnostics.backends import Backend, BackendProcess, resolve_model
from max_whisper.diagnostics.process import BackendFailedError, DeviceMissingError
from max_whisper.errors import OptionError

SAMPLE = Path(__file__).resolve().parents[2] / "audio_samples" / "greeting.ogg"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path))
    return resolve_model("random:tiny:1")


def test_a_worker_loads_transcribes_and_measures(model: str) -> None:
    heard: list[dict[str, Any]] = []
    with BackendProcess(Backend("torch", "cpu")) as process:
        loaded = process.ask("load", model=model, backend="torch", device="cpu")
        assert loaded["dims"]["n_audio_layer"] == 1
        assert loaded["compiled"] == "nothing"
        assert loaded["load_seconds"] > loaded["compile_seconds"] == 0
        assert process.ask("warm_up") == {}

        options = {"sample_len": 8, "language": "en", "no_speech_threshold": None, "without_timestamps": True}
        result = process.ask("transcribe", heard.append, path=str(SAMPLE), options=options)
        segments = result["transcription"]["segments"]
        assert len(segments) > 0
        assert [event["text"] for event in heard] == [segment["text"] for segment in segments]
        assert 0 < result["first_text_seconds"] <= result["seconds"]
        assert 1 < result["audio_seconds"] < 10

        steps = process.ask("steps", path=str(SAMPLE), tokens=2)
        assert all(steps[name] > 0 for name in ("encoder_ms", "prompt_ms", "token_ms"))
        assert 100 < process.ask("memory")["peak_memory_mb"] < 10_000


def test_the_message_of_an_error_comes_through() -> None:
    with BackendProcess(Backend("torch", "cpu")) as process:
        with pytest.raises(BackendFailedError, match=r"^torch cpu: .*no_such_model"):
            process.ask("load", model="no_such_model", backend="torch", device="cpu")
        assert process.ask("memory")["peak_memory_mb"] > 0, "the worker goes on"


def test_a_message_of_several_lines_becomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: worker.Worker) -> dict[str, Any]:
        raise RuntimeError("first\n  second")

    events = io.StringIO()
    monkeypatch.setattr(worker.Worker, "memory", fail)
    worker.Worker(events).answer({"do": "memory"})
    assert json.loads(events.getvalue())["message"] == "RuntimeError: first second"


def test_a_missing_device_is_told_from_other_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "")
    with BackendProcess(Backend("torch", "gpu")) as process, pytest.raises(DeviceMissingError, match=r"^torch gpu: "):
        process.ask("load", model="nano", backend="torch", device="gpu")


def test_a_worker_that_dies_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("import os, sys; sys.stderr.write('out of luck\\n'); os._exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    with (
        BackendProcess(Backend("max", "cpu")) as process,
        pytest.raises(BackendFailedError, match="max cpu: its process ended with status 3: out of luck"),
    ):
        process.ask("memory")


def test_no_worker_is_left_behind() -> None:
    with BackendProcess(Backend("torch", "cpu")) as process:
        number = process._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


@pytest.mark.parametrize("model", ["random:huge", "random:tiny:none", "random:tiny:0"])
def test_wrong_random_models(model: str) -> None:
    with pytest.raises(OptionError):
        resolve_model(model)


def test_other_models_are_left_as_they_are() -> None:
    assert resolve_model("nano") == "nano"
