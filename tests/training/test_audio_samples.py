"""The recordings of `audio_samples/`: complete, small, and of sentences that training never sees."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "audio_samples"
RECORDINGS = sorted(path for path in FOLDER.iterdir() if path.suffix not in (".txt", ".md"))


def _seconds(path: Path) -> float:
    with av.open(str(path)) as file:
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))


def test_folder_is_small_and_every_recording_has_a_transcript() -> None:
    assert {path.stem for path in RECORDINGS} == {path.stem for path in FOLDER.glob("*.txt")}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 3_000_000
    assert {path.suffix for path in RECORDINGS} == {".flac", ".wav", ".mp3", ".m4a", ".ogg"}


def test_one_is_over_a_minute_and_one_is_empty() -> None:
    lengths = {path.stem: _seconds(path) for path in RECORDINGS}
    assert max(lengths.values()) > 60
    assert (FOLDER / "silence_and_noise.txt").read_text() == ""
    assert lengths["silence_and_noise"] > 5


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_transcript_has_a_plausible_length(path: Path) -> None:
    words = path.with_suffix(".txt").read_text().split()
    if words:
        assert 0.8 < len(words) / _seconds(path) < 4.5


def test_samples_are_made_of_held_out_sentences() -> None:
    pytest.importorskip("soxr")
    pytest.importorskip("soundfile")
    from training.make_samples import SAMPLES, trained_sentences

    assert trained_sentences() == []
    assert {sample.name for sample in SAMPLES} == {path.name for path in RECORDINGS}
    for sample in SAMPLES:
        text = " ".join(text for _, text in sample.lines)
        assert (FOLDER / sample.name).with_suffix(".txt").read_text().strip() == text


def test_noise_without_speech_begins_with_silence() -> None:
    pytest.importorskip("soxr")
    pytest.importorskip("soundfile")
    from training.make_samples import SAMPLES, render

    (sample,) = (sample for sample in SAMPLES if not sample.lines)
    audio = render(sample)
    assert np.abs(audio[: len(audio) // 3]).max() == 0
    assert np.abs(audio[len(audio) // 3 + 1 :]).mean() > 1e-3
