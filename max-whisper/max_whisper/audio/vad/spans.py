"""Probabilities of speech to spans of speech, and spans to chunks that fit a window of the encoder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
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
    return SpeechSpans(parameters).finish(probabilities, n_samples)


def pack_spans(spans: Sequence[Span], max_seconds: float = CHUNK_LENGTH, max_pause_seconds: float = 2.0) -> list[Span]:
    """Chunks for decoding several at once: stretches of the recording, in order, that cover every span once.

    A chunk runs from the start of its first span to the stop of its last one, with the pauses between them, so that a
    time in it is a time in the recording but for an offset, and speech sounds as it was recorded. Spans come together
    while the chunk is at most `max_seconds` and no pause is above `max_pause_seconds`: Whisper makes up text in long
    silences, which is what voice activity is to prevent. A span that is longer than a chunk is cut wherever chunks end;
    make spans with `CHUNKED` or `VadParameters.at_most(max_seconds)`, which cut them at their pauses.
    """
    chunks = SpeechChunks(max_seconds, max_pause_seconds)
    return [*chunks.feed(spans), *chunks.finish()]


class SpeechSpans:
    """The spans of `speech_spans`, each as soon as no later sample can change it."""

    def __init__(self, parameters: VadParameters) -> None:
        self._unpadded = _UnpaddedSpans(parameters)
        self._padding = SAMPLE_RATE * parameters.speech_pad_ms / 1000  # samples
        self._waiting: Span | None = None  # without padding: that after it depends on the next span
        self._start = 0  # of the waiting span, with its padding
        self._last_stop: int | None = None  # of the span before the waiting one, or before the next; without padding
        self._last_padded_stop = 0

    def feed(self, probabilities: NDArray[np.float32]) -> list[Span]:
        """The spans that the next frames complete.

        probabilities: float32 [n] in [0, 1], of frames that lie whole in the recording.
        """
        spans = self._taken(self._unpadded.feed(probabilities))
        waiting = self._waiting
        if waiting is not None and self._unpadded.coming.start - waiting.stop >= 2 * self._padding:
            spans.append(self._give(waiting.stop + int(self._padding)))
        return spans

    def finish(self, probabilities: NDArray[np.float32], n_samples: int) -> list[Span]:
        """The spans that are left where the recording ends.

        probabilities: of the last frames, one of which may reach beyond the end. n_samples: samples in the recording.
        """
        spans = self._taken([*self._unpadded.feed(probabilities), *self._unpadded.finish(n_samples)])
        if self._waiting is not None:
            spans.append(self._give(min(n_samples, self._waiting.stop + int(self._padding))))
        return spans

    @property
    def coming(self) -> Span:
        """The least start and the least stop that the next span can have."""
        if self._waiting is not None:
            return Span(self._start, self._waiting.stop)
        unpadded = self._unpadded.coming
        return Span(max(self._last_padded_stop, unpadded.start - math.ceil(self._padding)), unpadded.stop)

    def _taken(self, unpadded: Iterable[Span]) -> list[Span]:
        """The spans that further ones complete. The last of those waits."""
        return [span for next_span in unpadded for span in self._take(next_span)]

    def _take(self, span: Span) -> Iterator[Span]:
        silence = math.inf if self._last_stop is None else span.start - self._last_stop
        if self._waiting is not None:
            silence = span.start - self._waiting.stop
            shared = int(self._padding) if silence >= 2 * self._padding else int(silence // 2)
            yield self._give(self._waiting.stop + shared)
        padding = math.ceil(self._padding) if silence >= 2 * self._padding else int(silence // 2)
        self._waiting, self._start = span, max(0, span.start - padding)

    def _give(self, stop: int) -> Span:
        """The waiting span with its padding, which ends at `stop`."""
        assert self._waiting is not None
        span = Span(self._start, stop)
        self._last_stop, self._last_padded_stop, self._waiting = self._waiting.stop, stop, None
        return span


class SpeechChunks:
    """The chunks of `pack_spans`, each as soon as no later span can change it."""

    def __init__(self, max_seconds: float = CHUNK_LENGTH, max_pause_seconds: float = 2.0) -> None:
        self._max_samples = int(max_seconds * SAMPLE_RATE)
        self._max_pause = max_pause_seconds * SAMPLE_RATE
        self._waiting: Span | None = None  # may take further spans

    @property
    def start(self) -> int | None:
        """The first sample of the chunk that waits for further spans, where there is one."""
        return None if self._waiting is None else self._waiting.start

    def feed(self, spans: Iterable[Span], coming: Span | None = None) -> list[Span]:
        """The chunks that the next spans complete.

        coming: the least start and the least stop of the span after them.
        """
        chunks = []
        for span in self._pieces(spans):
            if self._waiting is not None and self._fits(span):
                self._waiting = Span(self._waiting.start, span.stop)
                continue
            if self._waiting is not None:
                chunks.append(self._waiting)
            self._waiting = span
        if coming is not None and self._waiting is not None and not self._fits(coming):
            chunks += self.finish()
        return chunks

    def finish(self) -> list[Span]:
        """The chunk that is left where the recording ends, if there is one."""
        chunks = [] if self._waiting is None else [self._waiting]
        self._waiting = None
        return chunks

    def _fits(self, span: Span) -> bool:
        """Whether a span belongs to the chunk that waits."""
        assert self._waiting is not None
        pause = span.start - self._waiting.stop
        return span.stop - self._waiting.start <= self._max_samples and pause <= self._max_pause

    def _pieces(self, spans: Iterable[Span]) -> Iterator[Span]:
        """The spans, the longer ones in pieces."""
        for span in spans:
            for start in range(span.start, span.stop, self._max_samples):
                yield Span(start, min(start + self._max_samples, span.stop))


class _UnpaddedSpans:
    """Spans from the first frame of speech up to the first of the silence that ends it."""

    def __init__(self, parameters: VadParameters) -> None:
        self._parameters = parameters
        self._min_speech = SAMPLE_RATE * parameters.min_speech_duration_ms / 1000
        self._min_silence = SAMPLE_RATE * parameters.min_silence_duration_ms / 1000
        self._min_pause = SAMPLE_RATE * parameters.min_silence_at_max_speech / 1000
        padding = SAMPLE_RATE * parameters.speech_pad_ms / 1000
        self._max_speech = SAMPLE_RATE * parameters.max_speech_duration_s - FRAME_SAMPLES - 2 * padding
        self._now = 0  # first sample of the next frame
        self._start: int | None = None  # of the speech that goes on
        self._silence: int | None = None  # start of the silence that may end it
        self._pause: _Pause | None = None  # where it may be cut when it becomes too long

    def feed(self, probabilities: NDArray[np.float32]) -> list[Span]:
        """The spans that end in the next frames. probabilities: float32 [n] in [0, 1]."""
        exact = probabilities.astype(np.float64)  # thresholds are compared in the official precision
        is_speech = (exact >= self._parameters.threshold).tobytes()
        is_silence = (exact < self._parameters.end_threshold).tobytes()
        spans: list[Span] = []
        for speaks, silent in zip(is_speech, is_silence, strict=True):
            self._frame(self._now, bool(speaks), bool(silent), spans)
            self._now += FRAME_SAMPLES
        return spans

    def finish(self, n_samples: int) -> list[Span]:
        """The span that ends with the recording, if there is one."""
        if self._start is not None and n_samples - self._start > self._min_speech:
            return [Span(self._start, n_samples)]
        return []

    @property
    def coming(self) -> Span:
        """The least start and the least stop that the next span can have."""
        if self._start is None:
            return Span(self._now, self._now)
        stop = self._now if self._silence is None else self._silence
        return Span(self._start, stop if self._pause is None else min(stop, self._pause.start))

    def _frame(self, now: int, speaks: bool, silent: bool, spans: list[Span]) -> None:
        """Add to `spans` those that end with the frame at sample `now`."""
        parameters = self._parameters
        if self._start is None:
            if speaks:
                self._start = now
            return
        if speaks and self._silence is not None:
            if parameters.use_max_poss_sil_at_max_speech:
                length = now - self._silence
                if length > self._min_pause and (self._pause is None or length > self._pause.length):
                    self._pause = _Pause(self._silence, now)
            elif self._pause is not None and self._pause.stop is None:
                self._pause = _Pause(self._pause.start, now)
            self._silence = None
        if now - self._start > self._max_speech:
            if self._pause is None:
                spans.append(Span(self._start, now))
                self._start = self._silence = None
                return
            spans.append(Span(self._start, self._pause.start))
            self._start, self._silence, self._pause = self._pause.stop, None, None
            if self._start is None:
                return
        if silent:
            if self._silence is None:
                self._silence = now
            length = now - self._silence
            if not parameters.use_max_poss_sil_at_max_speech and length > self._min_pause:
                self._pause = _Pause(self._silence, None)
            if length >= self._min_silence:
                if self._silence - self._start > self._min_speech:
                    spans.append(Span(self._start, self._silence))
                self._start = self._silence = self._pause = None


class _Pause(NamedTuple):
    """Silence within speech; `stop` is None while it goes on."""

    start: int
    stop: int | None

    @property
    def length(self) -> float:
        return math.inf if self.stop is None else self.stop - self.start
