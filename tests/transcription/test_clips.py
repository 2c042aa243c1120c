"""No time outside of its clip and recording, in every mode; and what openai-whisper writes, where that is asked for."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pytest

from max_whisper.audio.samples import open_samples
from max_whisper.backends.interface import SpeechModel
from max_whisper.options import TranscribeOptions
from max_whisper.progress import silent
from max_whisper.results import Segment, Transcription
from max_whisper.transcription.clips import Clip, clamped, clips_of
from max_whisper.transcription.tasks import ChunkedTranscription, SequentialTranscription, outcomes, stream_recordings
from tests.decoding.scripted import Script, ScriptedModel, dimensions
from tests.decoding.torch_model import random_whisper, speech_model
from tests.transcription.test_tasks import speech_with_pauses

SECONDS = 37.3
Run: TypeAlias = Callable[[ScriptedModel, np.ndarray, TranscribeOptions], Transcription]


def noise(seconds: float) -> np.ndarray:
    return 0.1 * np.random.default_rng(5).standard_normal(round(seconds * 16000)).astype(np.float32)


def alone(model: SpeechModel, audio: np.ndarray, options: TranscribeOptions) -> Transcription:
    kind = ChunkedTranscription if options.chunking == "vad" else SequentialTranscription
    task = kind(model, open_samples(audio), options.resolve(model.dims), silent)
    return task.summary(list(task.segments()))


def among_others(model: ScriptedModel, audio: np.ndarray, options: TranscribeOptions) -> Transcription:
    audios = [audio[:80_000], audio, audio[: len(audio) // 2]]
    outcome = list(outcomes(stream_recordings(model, audios, options.resolve(model.dims), 2, silent)))[1]
    assert isinstance(outcome, Transcription)
    return outcome


MODES: dict[str, tuple[Run, dict[str, Any]]] = {
    "sequential": (alone, {}),
    "words": (alone, {"word_timestamps": True}),
    "no timestamps": (alone, {"without_timestamps": True}),
    "prompt and beams": (alone, {"initial_prompt": "So", "beam_size": 2}),
    "several": (among_others, {}),
    "several with words": (among_others, {"word_timestamps": True}),
    "clips": (alone, {"clip_timestamps": "0,5,5,10.006,10.014,36"}),
    "clips with words": (alone, {"clip_timestamps": "0,5,5,10,33.3", "word_timestamps": True}),
    "clips of several": (among_others, {"clip_timestamps": "0,5,5,10,33.3"}),
}


def scripts(n: int = 12) -> list[Script]:
    return [Script(dimensions("multilingual"), seed, silence=0.0, confidence=20.0) for seed in range(n)]


def but_times(result: Transcription) -> list[dict[str, Any]]:
    segments = result.to_dict()["segments"]
    for segment in segments:
        del segment["start"], segment["end"]
        for word in segment.get("words", ()):
            del word["start"], word["end"]
    return [*segments, {"text": result.text, "language": result.language}]


def moments(segment: Segment) -> list[float]:
    return [segment.start, segment.end, *(time for word in segment.words or () for time in (word.start, word.end))]


@pytest.mark.parametrize("name", MODES)
def test_times_are_in_the_clip_and_nothing_else_changes(name: str) -> None:
    run, given = MODES[name]
    audio, n_beyond = noise(SECONDS), 0
    for script in scripts():
        options = TranscribeOptions(temperature=0.0, language="en", sample_len=20, **given)
        result = run(ScriptedModel(script), audio, options)
        as_written = run(ScriptedModel(script), audio, options.updated({"clamp_timestamps": False}))
        assert but_times(result) == but_times(as_written)
        for ours, theirs in zip(result.segments, as_written.segments, strict=True):
            points = [*options.clips, SECONDS] if len(options.clips) % 2 else list(options.clips)
            start, end = [
                clip for clip in zip(points[::2], points[1::2], strict=True) if clip[0] < ours.seek / 100 + 0.01
            ][-1]
            for time, written in zip(moments(ours), moments(theirs), strict=True):
                assert time == min(max(written, start), end)
                n_beyond += time != written
    if name != "no timestamps":  # where the whole window is one segment
        assert n_beyond > 0


@pytest.mark.parametrize("given", [{}, {"word_timestamps": True}], ids=str)
@pytest.mark.parametrize("mode", [{"vad_filter": True}, {"chunking": "vad", "batch_size": 2}], ids=str)
def test_times_are_in_the_recording_where_speech_is_found(mode: dict[str, Any], given: dict[str, Any]) -> None:
    audio, n_words = speech_with_pauses()[: -5 * 16000], 0
    for script in scripts(6):
        options = TranscribeOptions(temperature=0.0, language="en", sample_len=20, **mode, **given)
        result = alone(ScriptedModel(script), audio, options)
        assert result.segments
        ends = [0.0, *(time for segment in result.segments for time in (segment.start, segment.end))]
        assert ends == sorted(ends)
        assert ends[-1] <= len(audio) / 16000
        words = [word for segment in result.segments for word in segment.words or ()]
        assert all(word.start < word.end for word in words)
        assert all(word.end <= following.start for word, following in pairwise(words))
        n_words += len(words)
        for segment in result.segments:
            if segment.words:
                assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
    assert bool(n_words) == bool(given)


@pytest.mark.parametrize("points", ["0", "0,5,5,10,33.3"])
def test_the_result_of_openai_whisper_is_clamped_alike(points: str) -> None:
    """What openai-whisper itself returns, held in its clips: so do our window loop, and the backend torch."""
    audio, edges, n_beyond = noise(SECONDS), [*map(float, points.split(",")), SECONDS], 0
    for seed in (0, 6, 9):
        model = random_whisper(51865, seed)
        given: dict[str, Any] = {"temperature": 0.0, "language": "en", "sample_len": 20, "clip_timestamps": points}
        theirs = Transcription.from_dict(model.transcribe(audio, fp16=False, **given))
        expected = []
        for segment in theirs.segments:
            clips = zip(edges[::2], edges[1::2], strict=True)
            start, end = max(clip for clip in clips if clip[0] < segment.seek / 100 + 0.01)
            expected.append((min(max(segment.start, start), end), min(max(segment.end, start), end)))
            n_beyond += expected[-1] != (segment.start, segment.end)
        ours = alone(speech_model(model), audio, TranscribeOptions(**given))
        assert [segment.tokens for segment in ours.segments] == [segment.tokens for segment in theirs.segments]
        held = clamped(theirs.segments, clips_of(edges[:-1], len(audio) // 160))
        for segments in (ours.segments, held):
            assert [(segment.start, segment.end) for segment in segments] == expected
    assert n_beyond > 0


def test_a_segment_behind_the_end_keeps_its_text() -> None:
    segment = Segment(0, 0, 11.0, 12.5, " text", (1,), 0.0, -0.5, 1.1, 0.01)
    held = Clip(0, 1000, 0.0, 10.0).clamped(segment)
    assert (held.start, held.end, held.text, held.tokens) == (10.0, 10.0, " text", (1,))


def test_clips_have_frames_and_seconds() -> None:
    assert clips_of([0.0], 3730) == [Clip(0, 3730, 0.0, 37.3)]
    assert clips_of([0.0, 5.004, 5.006], 3730) == [Clip(0, 500, 0.0, 5.004), Clip(501, 3730, 5.006, 37.3)]
    assert clips_of([1.0, 99.0], 3730) == [Clip(100, 3730, 1.0, 37.3)]
