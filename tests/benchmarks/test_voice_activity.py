"""Voice activity beside the package silero-vad, on made recordings."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import voice_activity
from max_whisper.audio import load_audio
from max_whisper.audio.vad import speech_spans
from max_whisper.diagnostics.recordings import recordings


@pytest.fixture(autouse=True)
def threads_of_pytorch() -> Iterator[None]:
    """The comparison sets the number of PyTorch's threads to one."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_made_recordings_have_the_same_spans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(recording.path) for recording in recordings([], ["digits", "weather", "kitchen"])]
    assert voice_activity.main([*files, "--minutes", "2.5", "--json", str(tmp_path / "rows.json")]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["seconds"] for row in rows["recordings"][3:]] == [120, 30]
    for row in rows["recordings"]:
        compared = row["detectors"]["max-whisper"]
        assert compared["largest_difference"] < 1e-4
        assert compared["same_spans"] == {"vad_filter": True, "batches": True}
        assert row["recording"] in printed
    assert rows["all"]["max-whisper"]["recordings_with_other_spans"] == {"vad_filter": 0, "batches": 0}


def test_made_recordings_hold_speech_and_pauses_and_are_the_same_each_time() -> None:
    speech = [load_audio(recording.path) for recording in recordings([], ["digits", "weather"])]
    made = dict(voice_activity.made_recordings(speech, 2.5))
    assert [len(samples) for samples in made.values()] == [120 * 16_000, 30 * 16_000]
    for name, samples in voice_activity.made_recordings(speech, 2.5):
        assert np.array_equal(samples, made[name])
        assert samples.dtype == np.float32
        assert np.abs(samples).max() <= 1
    first = made["made 00"]
    spans = speech_spans(voice_activity.detect(first), len(first), voice_activity.PARAMETERS["batches"])
    heard = sum(stop - start for start, stop in spans)
    assert 0.1 * len(first) < heard < 0.9 * len(first)


def test_other_spans_are_found(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_activity, "detect", lambda samples: np.zeros(-(-len(samples) // 512), np.float32))
    (digits,) = recordings([], ["digits"])
    assert voice_activity.main([str(digits.path), "--minutes", "0"]) == 1
    assert "vad_filter OTHER" in capsys.readouterr().out
