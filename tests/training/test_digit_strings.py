"""Strings of digits, built from a small archive in the dataset's layout."""

from __future__ import annotations

import io
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest

from training.digit_strings import DIGITS, UNSEEN_SPEAKER, digit_strings, read_recordings

RATE = 8000
SPEAKERS = ["ann", "bob", UNSEEN_SPEAKER]


def _tone(digit: int, speaker: str, index: int) -> bytes:
    """A tone whose frequency tells the digit and the speaker, with silent ends, as a WAV file."""
    frequency = 200 + 100 * digit + 30 * SPEAKERS.index(speaker) + index
    samples = np.sin(2 * np.pi * frequency * np.arange(2000) / RATE) * 8000
    samples[:200] = samples[-200:] = 0
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fsdd") / "digits.tar.xz"
    with tarfile.open(path, "w:xz") as tar:
        for speaker in SPEAKERS:
            for digit in range(10):
                for index in (0, 4, 5, 6, 7):
                    data = _tone(digit, speaker, index)
                    member = tarfile.TarInfo(f"recordings/{digit}_{speaker}_{index}.wav")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return path


def test_test_indices_and_training_indices_are_apart(archive: Path) -> None:
    test, training = read_recordings(archive, test=True), read_recordings(archive, test=False)
    assert set(test) == set(training) == set(SPEAKERS)
    assert all(len(test[s][d]) == 2 and len(training[s][d]) == 3 for s in SPEAKERS for d in range(10))


def test_resampling_keeps_the_tone(archive: Path) -> None:
    recording = read_recordings(archive, test=True)["ann"][3][0]
    assert recording.dtype == np.float32
    assert len(recording) == 4000
    peak = np.abs(np.fft.rfft(recording)).argmax() * 16_000 / len(recording)
    assert peak == pytest.approx(500, abs=4)
    assert np.abs(recording).max() == pytest.approx(8000 / 32768, rel=0.02)


@pytest.mark.parametrize("split", ["known", "unseen"])
def test_strings_are_deterministic_and_of_the_right_length(archive: Path, split: str) -> None:
    first, again = (digit_strings(archive, split, 6, seed=3) for _ in range(2))
    assert [text for _, text in first] == [text for _, text in again]
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(first, again, strict=True))
    for audio, text in first:
        words = text.split()
        assert set(words) <= set(DIGITS)
        assert 2 <= len(words) <= 7
        assert audio.dtype == np.float32
        assert np.abs(audio).max() == pytest.approx(0.6, abs=0.01)
        assert len(words) * 4000 + (len(words) + 1) * 1600 <= len(audio) <= len(words) * 4000 + (len(words) + 1) * 6400


def test_the_unseen_speaker_is_only_in_the_unseen_split(archive: Path) -> None:
    def pitches(split: str) -> set[int]:
        tones = set()
        for audio, _ in digit_strings(archive, split, 8, seed=1):
            for start in range(0, len(audio) - 1600, 1600):
                frame = audio[start : start + 1600]
                if np.sqrt((frame**2).mean()) > 0.3:
                    tones.add(round(np.abs(np.fft.rfft(frame, 16_000)).argmax() % 100))
        return tones

    unseen = {60 + index for index in range(-3, 9)}
    assert pitches("unseen") <= unseen
    assert not pitches("known") & unseen


def test_unknown_split_is_refused(archive: Path) -> None:
    with pytest.raises(ValueError, match="'all'"):
        digit_strings(archive, "all", 1, seed=0)
