"""Recordings to transcriptions: the order of what many give at once, and stretches of speech put back into place."""

import gc
import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from max_whisper.audio import load_audio
from max_whisper.audio.log_mel import LogMelWindows
from max_whisper.audio.samples import open_samples
from max_whisper.audio.vad import CHUNKED, find_speech, pack_spans
from max_whisper.errors import AudioError, MaxWhisperError
from max_whisper.options import TranscribeOptions
from max_whisper.progress import Step, silent
from max_whisper.results import Segment, Transcription
from max_whisper.transcriber import TranscriptionStream
from max_whisper.transcription import tasks
from max_whisper.transcription.batching import Batch, Event
from max_whisper.transcription.longform import LongForm
from max_whisper.transcription.tasks import (
    ChunkedTranscription,
    SequentialTranscription,
    detect_spoken_language,
    in_order,
    outcomes,
    stream_recordings,
)
from tests.audio.test_recording import write_wave
from tests.decoding.scripted import Script, ScriptedModel, dimensions

SAMPLES = Path(__file__).parents[2] / "audio_samples"
RECORDINGS = sorted(path for path in SAMPLES.iterdir() if path.suffix in (".flac", ".mp3", ".ogg", ".wav", ".m4a"))


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(Script(dimensions("multilingual"), seed=4, silence=0.0, confidence=20.0))


def options(model: ScriptedModel, **given: Any) -> TranscribeOptions:
    return TranscribeOptions(**{"temperature": 0.0, **given}).resolve(model.dims)


def segment(number: int) -> Segment:
    return Segment(number, 0, 0.0, 1.0, "", (), 0.0, 0.0, 0.0, 0.0)


def test_events_come_in_the_order_of_the_recordings() -> None:
    a, b, c, error = segment(0), segment(1), segment(2), AudioError("no such file")
    events: list[Event] = [(2, error), (1, a), (0, a), (1, b), (0, error), (1, error), (3, c), (3, error)]
    assert list(in_order(events)) == [(0, a), (0, error), (1, a), (1, b), (1, error), (2, error), (3, c), (3, error)]


def test_events_of_the_first_recording_do_not_wait() -> None:
    def events() -> Any:
        yield 1, segment(0)
        yield 0, segment(1)
        raise AssertionError("asked for more than was needed")

    assert next(in_order(events())) == (0, segment(1))


def speech_with_pauses() -> np.ndarray:
    """Three recordings with long silences around them."""
    pause = np.zeros(5 * 16000 + 37, np.float32)
    parts = [load_audio(SAMPLES / name) for name in ("digits.flac", "numbers.flac", "kitchen.wav")]
    return np.concatenate([pause, *(array for part in parts for array in (part, pause))])


def test_stretches_of_speech_are_at_their_place(model: ScriptedModel) -> None:
    audio, steps = speech_with_pauses(), list[Step]()
    spans = find_speech(open_samples(audio), CHUNKED)
    task = ChunkedTranscription(model, open_samples(audio), options(model, chunking="vad", batch_size=2), steps.append)
    segments = list(task.segments())
    assert [segment.id for segment in segments] == list(range(len(segments)))
    assert len({segment.seek for segment in segments}) >= 3
    firsts = {segment.seek: segment.start for segment in reversed(segments)}
    for seek, start in firsts.items():
        assert any(abs(seek * 160 - span.start) < 160 for span in spans)
        assert seek / 100 <= start <= seek / 100 + 30
    assert max(model.batches) == 2
    assert steps[-1].done == steps[-1].total
    assert task.summary(segments).segments == tuple(segments)


def test_the_size_of_a_batch_changes_nothing(model: ScriptedModel) -> None:
    audio = speech_with_pauses()
    results = []
    for size in (1, 2, 5):
        task = ChunkedTranscription(
            model, open_samples(audio), options(model, chunking="vad", batch_size=size, beam_size=2), silent
        )
        results.append(task.summary(list(task.segments())))
    assert results[0] == results[1] == results[2]
    assert results[0].text


def as_a_whole(model: ScriptedModel, audio: np.ndarray, chosen: TranscribeOptions) -> Transcription:
    """What the chunks of a recording give that is all there: each found in the whole, transcribed alone, and moved.

    Its times are those in the chunk, later by the chunk's start and never behind its end; words may have no length.
    """
    spans = find_speech(open_samples(audio), chosen.speech or CHUNKED)
    language, probabilities = chosen.language, None
    if language is None:
        spoken = np.concatenate([audio[start:stop] for start, stop in spans] or [audio])
        heard = LogMelWindows(open_samples(spoken[: chosen.language_detection_segments * 480_000]), model.dims.n_mels)
        probabilities = detect_spoken_language(model, heard, chosen)
        language = max(probabilities, key=probabilities.__getitem__)
    text, segments = "", list[Segment]()
    for start, stop in pack_spans(spans):
        start -= start % 160
        log_mel = LogMelWindows(open_samples(audio[start:stop]), model.dims.n_mels)
        recording = LongForm(log_mel, model.dims, chosen, language=language, first_frame=start // 160)

        def moved(seconds: float, start: int = start, stop: int = stop) -> float:
            return min(round(start / 16000 + seconds, 2), stop // 160 / 100)

        for _, event in Batch(model, chosen, 1).run([lambda recording=recording: recording]):  # type: ignore[misc]
            if isinstance(event, Segment):
                words = event.words and tuple(
                    replace(word, start=moved(word.start), end=moved(word.end)) for word in event.words
                )
                segments.append(
                    replace(
                        event,
                        id=len(segments),
                        seek=event.seek + start // 160,
                        start=moved(event.start),
                        end=moved(event.end),
                        words=words,
                    )
                )
            else:
                assert not isinstance(event, MaxWhisperError)
                text += event.text
    return Transcription(text, tuple(segments), language, probabilities)


def assert_same(ours: Transcription, whole: Transcription) -> None:
    """The same result, but for times that words without length are given, and their neighbors lose."""
    assert replace(ours, segments=()) == replace(whole, segments=())
    assert [without_times(segment) for segment in ours.segments] == [without_times(one) for one in whole.segments]
    words = [word for segment in whole.segments for word in segment.words or ()]
    is_long = [True, *(word.start < word.end for word in words), True]
    position = 0
    for segment, expected in zip(ours.segments, whole.segments, strict=True):
        n_words = len(segment.words or ())
        if all(is_long[position : position + n_words + 2]) and (n_words or segment.words is None):
            assert segment == expected
        for word, aligned in zip(segment.words or (), expected.words or (), strict=True):
            position += 1
            if is_long[position]:
                assert aligned.start <= word.start < word.end <= aligned.end
                assert word.start == aligned.start or not is_long[position - 1]
                assert word.end == aligned.end or not is_long[position + 1]


def without_times(segment: Segment) -> Segment:
    words = segment.words and tuple(replace(word, start=0.0, end=0.0) for word in segment.words)
    return replace(segment, start=0.0, end=0.0, words=words)


CHUNKS: list[dict[str, Any]] = [
    {},
    {"language": "de", "batch_size": 1},
    {"batch_size": 3, "language_detection_segments": 2},
    {"temperature": (0.0, 0.4, 1.0), "best_of": 2, "seed": 7},
    {"beam_size": 2, "without_timestamps": True},
    {"word_timestamps": True, "batch_size": 2},
    {"multilingual": True, "initial_prompt": "Names: Ada", "hotwords": "MAX"},
    {"vad_parameters": {"threshold": 0.7, "min_silence_duration_ms": 600, "speech_pad_ms": 50}, "batch_size": 2},
]


@pytest.mark.parametrize("given", CHUNKS, ids=str)
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_chunks_as_they_are_read_give_what_the_whole_gives(
    model: ScriptedModel, path: Path, given: dict[str, Any]
) -> None:
    chosen = options(model, chunking="vad", sample_len=12, **given)
    task = ChunkedTranscription(model, open_samples(path), chosen, silent)
    result, whole = task.summary(list(task.segments())), as_a_whole(model, load_audio(path), chosen)
    assert_same(result, whole)
    if not chosen.word_timestamps:
        assert result == whole


def test_segments_come_before_the_end_of_a_pipe_is_written(model: ScriptedModel, tmp_path: Path) -> None:
    """The writer waits for the first segment before it writes the rest."""
    samples = speech_with_pauses()
    samples = np.concatenate([samples, load_audio(SAMPLES / "one_day.flac"), samples])
    path = tmp_path / "talk.wav"
    write_wave(path, (samples * 32767).round().astype(np.int16))
    data, (reading, writing), heard = path.read_bytes(), os.pipe(), threading.Event()
    came: list[bool] = []

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(data[: len(data) // 2])
            pipe.flush()
            came.append(heard.wait(60))
            pipe.write(data[len(data) // 2 :])

    writer = threading.Thread(target=write)
    writer.start()
    chosen = options(model, chunking="vad", batch_size=1, sample_len=12)
    with os.fdopen(reading, "rb") as pipe:
        task = ChunkedTranscription(model, open_samples(pipe), chosen, silent)
        segments = task.segments()
        first = next(segments)
        heard.set()
        streamed = task.summary([first, *segments])
    writer.join()
    assert came == [True]
    assert streamed == as_a_whole(model, load_audio(path), chosen)


def test_no_speech(model: ScriptedModel) -> None:
    audio = np.zeros(40 * 16000, np.float32)
    for given in ({"chunking": "vad", "batch_size": 3}, {"vad_filter": True}):
        chosen = options(model, **given)
        kind = ChunkedTranscription if chosen.chunking == "vad" else SequentialTranscription
        task = kind(model, open_samples(audio), chosen, silent)
        assert list(task.segments()) == []
        transcription = task.summary([])
        assert (transcription.text, transcription.segments) == ("", ())
        assert transcription.language in (transcription.language_probabilities or {})


def test_a_bad_recording_does_not_stop_the_others(model: ScriptedModel) -> None:
    good = load_audio(SAMPLES / "digits.flac")
    events = stream_recordings(model, [good, "missing.wav", good[:100], good], options(model), 3, silent)
    first, missing, short, last = outcomes(events)
    assert isinstance(first, Transcription)
    assert first == last
    assert first.segments
    assert isinstance(missing, MaxWhisperError)
    assert "missing.wav" in str(missing)
    assert isinstance(short, AudioError)


def test_nothing_of_a_failed_recording_is_held(model: ScriptedModel, tmp_path: Path) -> None:
    """Not even by its error, which is given back as a value."""
    path = tmp_path / "pipe"
    path.write_bytes(b"no sound" * 1000)
    files = [path.open("rb") for _ in range(3)]
    alive = weakref.WeakSet(files)
    events = stream_recordings(model, list(files), options(model), 2, silent)
    errors = list(outcomes(events))
    files.clear()
    gc.collect()
    assert [type(error) for error in errors] == [AudioError] * 3
    assert not alive


def test_a_stream_that_failed_says_so_again(model: ScriptedModel) -> None:
    """Also where its language was asked first."""

    def segments() -> Iterator[Segment]:
        raise AudioError("it is broken")
        yield

    stream = TranscriptionStream(segments(), lambda _: pytest.fail("no summary"), lambda: "en")
    for _ in range(2):
        with pytest.raises(AudioError, match="it is broken"):
            _ = stream.language
        with pytest.raises(AudioError, match="it is broken"):
            stream.transcription()


def test_nothing_of_a_finished_recording_is_held(model: ScriptedModel) -> None:
    """Not even while an earlier one, which comes first in the results, goes on."""
    long, short = np.tile(load_audio(SAMPLES / "digits.flac"), 30), load_audio(SAMPLES / "digits.flac")
    alive = weakref.WeakSet[LogMelWindows]()

    class Watched(LogMelWindows):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            alive.add(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "LogMelWindows", Watched)
        events = stream_recordings(model, [long, *[short] * 8], options(model, sample_len=8), 2, silent)
        next(outcomes(events))
        gc.collect()
        assert len(alive) <= 2


def test_recordings_are_opened_as_their_turn_comes(model: ScriptedModel) -> None:
    opened = []

    def recordings() -> Any:
        for number in range(6):
            opened.append(number)
            yield load_audio(SAMPLES / "digits.flac")

    events = stream_recordings(model, recordings(), options(model), 2, silent)
    next(outcomes(events))
    assert len(opened) <= 4


def test_languages_of_several_windows(model: ScriptedModel) -> None:
    audio = np.random.default_rng(0).standard_normal(70 * 16000).astype(np.float32) * 0.1
    log_mel = LogMelWindows(open_samples(audio), model.dims.n_mels)
    one = detect_spoken_language(model, log_mel, options(model))
    three = detect_spoken_language(model, log_mel, options(model, language_detection_segments=9))
    assert one != three
    task = SequentialTranscription(model, open_samples(audio), options(model, language_detection_segments=9), silent)
    assert task.summary(list(task.segments())).language_probabilities == pytest.approx(three)
