"""Probabilities of speech to spans of speech, and spans to chunks that fit a window of the encoder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from max_whisper.audio.constants import CHUNK_LENGTH, SAMPLE_RATE
from max_whisper.audio.vad.network import FRAME_SAMPLES
from max_whisper.audio.vad.parameters import VadParameters


class Span(NamedTuple):
    """Samples [start, stop) of a recording at 16 kHz."""

    start: int
    stop: int


def speech_spans(probabilities: NDArray[np.float32], n_samples: int, parameters: VadParameters) -> list[Span]:
    """The spans of a recording that hold speech, in order and apart from each other.

    They are those of `silero_vad.utils_vad.get_speech_timestamps_from_probs`, of which this is the state machine:
    speech begins with a frame at or above the threshold, and ends where frames below the lower threshold have gone on
    for `min_silence_duration_ms` with none at or above the threshold between them.

    Args:
        probabilities: float32 [ceil(n_samples / 512)] in [0, 1], from SpeechDetector.
        n_samples: samples in the recording.
    """
    return _padded(_unpadded(probabilities, n_samples, parameters), n_samples, parameters)


def pack_spans(spans: Sequence[Span], max_seconds: float = CHUNK_LENGTH, max_pause_seconds: float = 2.0) -> list[Span]:
    """Chunks for batched decoding: stretches of the recording, in order, that cover every span once.

    A chunk runs from the start of its first span to the stop of its last one, with the pauses between them, so that a
    time in it is a time in the recording but for an offset, and speech sounds as it was recorded. Spans come together
    while the chunk is at most `max_seconds` and no pause is above `max_pause_seconds`: Whisper makes up text in long
    silences, which is what voice activity is to prevent. A span that is longer than a chunk is cut wherever chunks end;
    make spans with `BATCHED` or `VadParameters.at_most(max_seconds)`, which cut them at their pauses.
    """
    max_samples, max_pause = int(max_seconds * SAMPLE_RATE), max_pause_seconds * SAMPLE_RATE
    chunks: list[Span] = []
    for span in _pieces(spans, max_samples):
        if chunks and span.stop - chunks[-1].start <= max_samples and span.start - chunks[-1].stop <= max_pause:
            chunks[-1] = Span(chunks[-1].start, span.stop)
        else:
            chunks.append(span)
    return chunks


def _pieces(spans: Iterable[Span], max_samples: int) -> Iterable[Span]:
    """The spans, the longer ones in pieces of `max_samples`."""
    for span in spans:
        for start in range(span.start, span.stop, max_samples):
            yield Span(start, min(start + max_samples, span.stop))


def _unpadded(probabilities: NDArray[np.float32], n_samples: int, parameters: VadParameters) -> list[Span]:
    """Spans from the first frame of speech up to the first of the silence that ends it."""
    min_speech = SAMPLE_RATE * parameters.min_speech_duration_ms / 1000
    min_silence = SAMPLE_RATE * parameters.min_silence_duration_ms / 1000
    min_pause = SAMPLE_RATE * parameters.min_silence_at_max_speech / 1000
    padding = SAMPLE_RATE * parameters.speech_pad_ms / 1000
    max_speech = SAMPLE_RATE * parameters.max_speech_duration_s - FRAME_SAMPLES - 2 * padding

    exact = probabilities.astype(np.float64)  # thresholds are compared in the official precision
    is_speech, is_silence = exact >= parameters.threshold, exact < parameters.end_threshold
    spans: list[Span] = []
    start: int | None = None  # of the speech that goes on
    silence: int | None = None  # start of the silence that may end it
    pause: _Pause | None = None  # where it may be cut when it becomes too long
    for frame, (speaks, silent) in enumerate(zip(is_speech.tobytes(), is_silence.tobytes(), strict=True)):
        now = frame * FRAME_SAMPLES
        if start is None:
            if speaks:
                start = now
            continue
        if speaks and silence is not None:
            if parameters.use_max_poss_sil_at_max_speech:
                length = now - silence
                if length > min_pause and (pause is None or length > pause.length):
                    pause = _Pause(silence, now)
            elif pause is not None and pause.stop is None:
                pause = _Pause(pause.start, now)
            silence = None
        if now - start > max_speech:
            if pause is None:
                spans.append(Span(start, now))
                start = silence = None
                continue
            spans.append(Span(start, pause.start))
            start, silence, pause = pause.stop, None, None
            if start is None:
                continue
        if silent:
            if silence is None:
                silence = now
            length = now - silence
            if not parameters.use_max_poss_sil_at_max_speech and length > min_pause:
                pause = _Pause(silence, None)
            if length >= min_silence:
                if silence - start > min_speech:
                    spans.append(Span(start, silence))
                start = silence = pause = None
    if start is not None and n_samples - start > min_speech:
        spans.append(Span(start, n_samples))
    return spans


class _Pause(NamedTuple):
    """Silence within speech; `stop` is None while it goes on."""

    start: int
    stop: int | None

    @property
    def length(self) -> float:
        return math.inf if self.stop is None else self.stop - self.start


def _padded(spans: list[Span], n_samples: int, parameters: VadParameters) -> list[Span]:
    """The spans with their padding, which ends at the recording's ends and in the middle of a short silence."""
    padding = SAMPLE_RATE * parameters.speech_pad_ms / 1000
    starts, stops = [span.start for span in spans], [span.stop for span in spans]
    for index, span in enumerate(spans):
        silence_before = span.start - spans[index - 1].stop if index else math.inf
        silence_after = spans[index + 1].start - span.stop if index + 1 < len(spans) else math.inf
        starts[index] -= math.ceil(padding) if silence_before >= 2 * padding else int(silence_before // 2)
        stops[index] += int(padding) if silence_after >= 2 * padding else int(silence_after // 2)
    return [Span(max(0, start), min(n_samples, stop)) for start, stop in zip(starts, stops, strict=True)]
