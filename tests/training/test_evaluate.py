"""Word error rates: counted as they should be, and the bundled model hears its own samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soxr")
soundfile = pytest.importorskip("soundfile")

from training.evaluate import evaluate, reference, word_errors  # noqa: E402
from training.held_out import Recording, sentences, speechless  # noqa: E402
from training.speech import missing_programs  # noqa: E402
from training.texts import is_held_out  # noqa: E402

ROOT = Path(__file__).parents[2]
NANO = ROOT / "max-whisper/max_whisper/assets/nano.safetensors"


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("one two three", " One two three", (0, 3)),
        ("one two three", "one three", (1, 3)),
        ("one two three", "", (3, 3)),
        ("one", "one two two", (2, 1)),
        ("", "thank you", (2, 0)),
        ("", "", (0, 0)),
    ],
)
def test_word_errors(said: str, heard: str, errors: tuple[int, int]) -> None:
    assert word_errors(said, heard) == errors


def test_rates_are_over_all_words() -> None:
    answers = iter(["one two", "four"])
    recordings = [Recording(np.zeros(16_000, np.float32), text) for text in ("one two three", "four")]
    assert evaluate(lambda _: next(answers), recordings) == {
        "recordings": 2,
        "seconds": 2.0,
        "words": 4,
        "wrong": 1,
        "wer": 0.25,
    }


def test_nobody_speaks_in_speechless_recordings() -> None:
    recordings = speechless(8)
    assert all(recording.text == "" for recording in recordings)
    assert any(np.abs(recording.audio).max() == 0 for recording in recordings)
    assert all(recording.audio.dtype == np.float32 for recording in recordings)


@pytest.mark.skipif(bool(missing_programs()), reason="needs the speech synthesizers")
def test_sentences_are_held_out() -> None:
    recordings = sentences(6)
    assert len({recording.text for recording in recordings}) == 6
    assert all(is_held_out(recording.text) for recording in recordings)


@pytest.mark.parametrize("name", ["digits", "weather", "numbers", "silence_and_noise"])
def test_nano_hears_a_sample(name: str) -> None:
    audio, rate = soundfile.read(ROOT / f"audio_samples/{name}.flac", dtype="float32")
    assert rate == 16_000
    said = (ROOT / f"audio_samples/{name}.txt").read_text().strip()
    assert reference(NANO)(audio).strip() == said
