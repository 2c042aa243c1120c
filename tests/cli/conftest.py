"""What the tests of the command line share."""

import wave
from pathlib import Path

import numpy as np
import pytest

import max_whisper.transcriber
from max_whisper.audio import SAMPLE_RATE
from tests.cli.fakes import FakeTranscriber


@pytest.fixture
def transcriber(monkeypatch: pytest.MonkeyPatch) -> FakeTranscriber:
    fake = FakeTranscriber()
    monkeypatch.setattr(max_whisper.transcriber, "load_model", fake.load)
    return fake


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "talk.v2.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.zeros(2 * SAMPLE_RATE, dtype=np.int16).tobytes())
    return path
