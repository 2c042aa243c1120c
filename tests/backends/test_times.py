"""Times of real speech: words at cuts between stretches of speech, and ends at the end of the sound."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from max_whisper import Transcription, VadParameters
from max_whisper.audio import SAMPLE_RATE, load_audio
from max_whisper.audio.samples import open_samples
from max_whisper.audio.vad import find_speech
from max_whisper.transcriber import Transcriber
from tests.backends.recordings import sample, silence
from tests.backends.test_behaviours import assert_well_formed, words_of

# A recording in which two words of the third sentence stood 40 s early. It is not in the repository.
WORDS_EARLY = Path(__file__).resolve().parents[3] / "shared" / "cases" / "vad_words_40s_early.flac"


def apart(first: str, second: str) -> np.ndarray:
    """Two recordings with 40 s of silence between them."""
    return np.concatenate([silence(3.0), sample(first), silence(40.0), sample(second), silence(2.0)])


def early_words() -> np.ndarray:
    if not WORDS_EARLY.is_file():
        pytest.skip("the recording is not here")
    return load_audio(WORDS_EARLY)


def assert_in_speech(result: Transcription, audio: np.ndarray, parameters: dict[str, Any]) -> None:
    """Every word has some length and is in one span; no segment goes on for longer than people speak in one breath."""
    assert_well_formed(result, len(audio) / SAMPLE_RATE)
    spans = [
        (start / SAMPLE_RATE, stop / SAMPLE_RATE)
        for start, stop in find_speech(open_samples(audio), VadParameters(**parameters))
    ]
    words = words_of(result)
    assert words
    for word in words:
        assert any(start <= word.start < word.end <= stop for start, stop in spans), word
    for word, following in pairwise(words):
        assert word.end <= following.start
    for segment in result.segments:
        assert segment.words
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
        assert segment.end - segment.start < 10


CUTS: dict[str, Any] = {
    "words 40 s early": (early_words, {}),
    "words 40 s early, lower threshold": (early_words, {"threshold": 0.3}),
    "words 40 s early, shorter silences": (early_words, {"min_silence_duration_ms": 500}),
    "words 40 s early, no padding": (early_words, {"speech_pad_ms": 0}),
    "words 40 s early, little padding": (early_words, {"speech_pad_ms": 30, "min_silence_duration_ms": 100}),
    "two words": (lambda: apart("kitchen.wav", "reminder.m4a"), {}),
    "three words": (lambda: apart("weather.flac", "directions.mp3"), {}),
    "one word": (lambda: apart("digits.flac", "kitchen.wav"), {"speech_pad_ms": 0}),
    "the last word": (lambda: apart("directions.mp3", "numbers.flac"), {}),
    "the first words of a name": (lambda: apart("timer_command.flac", "greeting.ogg"), {}),
    "one segment on both sides": (lambda: apart("directions.mp3", "weather.flac"), {"speech_pad_ms": 0}),
    "one segment on both sides of a name": (lambda: apart("greeting.ogg", "reminder.m4a"), {"speech_pad_ms": 0}),
}


@pytest.mark.parametrize("name", CUTS)
def test_words_stay_on_their_side_of_a_cut(nano: Transcriber, name: str) -> None:
    make, parameters = CUTS[name]
    audio = make()
    options: dict[str, Any] = {"vad_filter": True, "vad_parameters": parameters or None, "language": "en"}
    result = nano.transcribe(audio, word_timestamps=True, **options)
    assert_in_speech(result, audio, parameters)
    without_words = nano.transcribe(audio, **options)
    assert without_words.text == result.text
    (streamed,) = nano.transcribe_many([audio], word_timestamps=True, **options)
    assert streamed == result


@pytest.mark.parametrize("name", ["words 40 s early", "two words", "the last word"])
def test_words_of_chunks_have_length(nano: Transcriber, name: str) -> None:
    audio = CUTS[name][0]()
    result = nano.transcribe(audio, chunking="vad", word_timestamps=True, language="en")
    assert_well_formed(result, len(audio) / SAMPLE_RATE)
    assert all(word.start < word.end for word in words_of(result))
    assert all(segment.end - segment.start < 10 for segment in result.segments)


def test_words_without_a_filter_are_left_as_they_are(nano: Transcriber) -> None:
    """The reference gives some words no length; tests/diagnostics and parity-options compare them."""
    words = words_of(nano.transcribe(sample("greeting.ogg"), word_timestamps=True, language="en"))
    assert any(word.start == word.end for word in words)


SHORT = [("one_day.flac", 13.33), ("dialogue.flac", 9.22), ("dialogue.flac", 10.59), ("directions.mp3", 1.0)]


@pytest.mark.parametrize(("name", "end"), SHORT)
def test_no_segment_ends_behind_the_sound(nano: Transcriber, name: str, end: float) -> None:
    """openai-whisper's last segments of these end 0.18 to 1.71 s behind it."""
    audio = sample(name)[: round(end * SAMPLE_RATE)]
    options: dict[str, Any] = {"language": "en", "temperature": 0.0}
    written = nano.transcribe(audio, clamp_timestamps=False, **options)
    assert written.segments[-1].end > end
    for given in ({}, {"word_timestamps": True}, {"vad_filter": True}, {"chunking": "vad"}):
        result = nano.transcribe(audio, **options, **given)
        assert result.segments
        assert_well_formed(result, end)
        assert all(segment.end <= end for segment in result.segments)
        assert all(word.end <= end for word in words_of(result))
    assert nano.transcribe(audio, **options).text == written.text


def test_clips_that_touch_do_not_overlap(nano: Transcriber) -> None:
    options: dict[str, Any] = {"language": "en", "temperature": 0.0, "clip_timestamps": "0,5,5,10"}
    audio = sample("one_day.flac")
    written = nano.transcribe(audio, clamp_timestamps=False, **options)
    result = nano.transcribe(audio, **options)
    assert any(before.end > after.start for before, after in pairwise(written.segments))
    assert all(before.end <= after.start for before, after in pairwise(result.segments))
    assert result.segments[-1].end <= 10
    assert [segment.tokens for segment in result.segments] == [segment.tokens for segment in written.segments]
