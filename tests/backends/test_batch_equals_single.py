"""A batch changes no result: each window has the tokens, times, words and probabilities that it has alone."""

from typing import Any

import numpy as np
import pytest

from max_whisper import Transcription
from max_whisper.transcriber import Transcriber
from tests.backends.recordings import assert_same_transcription, cut, sample, silence


@pytest.fixture(scope="module")
def long_recording() -> np.ndarray:
    """Sixteen utterances with pauses between them, each of which is a window of its own."""
    day = sample("one_day.flac")
    parts = [
        *(sample(name) for name in ("digits.flac", "weather.flac", "kitchen.wav", "greeting.ogg", "reminder.m4a")),
        *(sample(name) for name in ("numbers.flac", "timer_command.flac", "directions.mp3")),
        *(cut(day, start, end) for start, end in ((0, 7.5), (9, 12), (12.5, 16.4), (25, 28.9))),
        *(cut(day, start, end) for start, end in ((29, 33), (37, 41), (46.2, 50.2), (56, 65))),
    ]
    return np.concatenate([array for part in parts for array in (part, silence(2.5))])


@pytest.mark.parametrize("options", [{}, {"beam_size": 5}], ids=["greedy", "beams"])
def test_the_windows_of_a_recording(nano: Transcriber, long_recording: np.ndarray, options: dict[str, Any]) -> None:
    options = {"language": "en", "word_timestamps": True, **options}
    alone = nano.transcribe(long_recording, chunking="vad", batch_size=1, **options)
    assert len({segment.seek for segment in alone.segments}) >= 16
    assert all(segment.words for segment in alone.segments)
    for size in (2, 5, 16):
        assert_same_transcription(nano.transcribe(long_recording, chunking="vad", batch_size=size, **options), alone)


@pytest.fixture(scope="module")
def recordings() -> list[np.ndarray]:
    """Sixteen recordings of half a second to 34 s: one window or several, with little text before them or much."""
    names = ("digits.flac", "weather.flac", "greeting.ogg", "reminder.m4a", "directions.mp3", "silence_and_noise.flac")
    day, loud = sample("one_day.flac"), np.random.default_rng(3).standard_normal(16_000 * 3).astype(np.float32)
    return [
        *(sample(name) for name in names),
        *(
            cut(day, start, end)
            for start, end in ((38, 72), (0, 8), (14, 20), (25, 28.9), (30.4, 33), (63, 72), (5, 5.5))
        ),
        *(0.3 * loud, silence(3), np.concatenate([sample("greeting.ogg"), silence(28), sample("weather.flac")])),
    ]


MANY: dict[str, dict[str, Any]] = {
    "fallback in some windows": {
        "temperature": (0.0, 0.6),
        "logprob_threshold": -0.3,
        "best_of": 3,
        "seed": 3,
        "language": "en",
        "initial_prompt": "the weather in dublin",
        "word_timestamps": True,
    },
    "beams": {
        "temperature": 0.0,
        "beam_size": 5,
        "hotwords": "seattle",
        "repetition_penalty": 1.05,
        "no_repeat_ngram_size": 5,
    },
}


@pytest.mark.parametrize("name", MANY)
def test_many_recordings(nano: Transcriber, recordings: list[np.ndarray], name: str) -> None:
    assert len(recordings) == 16
    alone = [nano.transcribe(audio, **MANY[name]) for audio in recordings]
    many = list(nano.transcribe_many(recordings, batch_size=16, **MANY[name]))
    for ours, expected in zip(many, alone, strict=True):
        assert isinstance(ours, Transcription)
        assert_same_transcription(ours, expected)
    assert max(len(transcription.segments) for transcription in alone) >= 5
    if name == "fallback in some windows":
        temperatures = [segment.temperature for transcription in alone for segment in transcription.segments]
        assert set(temperatures) == {0.0, 0.6}


def test_a_seed_draws_the_same_in_a_batch_and_another_seed_draws_otherwise(
    nano: Transcriber, recordings: list[np.ndarray]
) -> None:
    options: dict[str, Any] = {"temperature": 1.0, "language": "en", "sample_len": 12}
    texts = {seed: [nano.transcribe(audio, seed=seed, **options).text for audio in recordings[:2]] for seed in (0, 1)}
    assert texts[0] != texts[1]
    many = list(nano.transcribe_many(recordings[:2], batch_size=2, seed=1, **options))
    assert [outcome.text for outcome in many if isinstance(outcome, Transcription)] == texts[1]
