"""The measurement of long audio, on short audio."""

import wave
from pathlib import Path

import numpy as np
import pytest

from benchmarks import run
from benchmarks.long import PAUSE, measure_long, write_recording
from benchmarks.report import long_tables
from max_whisper import OptionError, load_audio
from max_whisper.diagnostics.backends import Backend
from max_whisper.diagnostics.recordings import recordings


def test_the_recording_is_made_of_the_samples_over_and_over(tmp_path: Path) -> None:
    samples = recordings([], ["digits", "weather"])
    write_recording(tmp_path / "long.wav", 20, samples)
    with wave.open(str(tmp_path / "long.wav"), "rb") as file:
        assert file.getnframes() == 20 * 16_000
    audio = load_audio(tmp_path / "long.wav")
    digits, weather = (load_audio(sample.path) for sample in samples)
    once = len(digits) + len(weather) + 2 * PAUSE * 16_000
    np.testing.assert_allclose(audio[: len(digits)], digits, atol=1e-4)
    np.testing.assert_array_equal(audio[len(digits) :][: PAUSE * 16_000], 0)
    np.testing.assert_array_equal(audio[once:], audio[: len(audio) - once])


def test_memory_is_measured_in_a_process_for_each_length() -> None:
    said: list[str] = []
    backend = Backend("max", "cpu")
    row = measure_long("nano", backend, recordings([], ["digits"]), {"language": "en"}, said.append, lengths=(8, 20))
    assert [recording["audio_seconds"] for recording in row["recordings"]] == [8, 20]
    first, last = row["recordings"]
    assert 0 < first["segments"] < last["segments"]
    for recording in row["recordings"]:
        assert 50 < recording["loaded_memory_mb"] <= recording["peak_memory_mb"]
        assert recording["seconds"] > 0
    assert row["memory_growth_mb"] == last["peak_memory_mb"] - first["peak_memory_mb"]
    assert len(said) == 2
    document = {"machine": {"cpu": "a processor", "cores": 2}, "models": [{"model": "nano", "long_recordings": [row]}]}
    (table,) = long_tables(document)
    assert table.row_count == 2


def test_the_filter_is_of_that_measurement_alone() -> None:
    with pytest.raises(OptionError, match="--vad-filter"):
        run.run(["--vad-filter"])
