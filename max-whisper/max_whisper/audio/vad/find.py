"""The spans of speech of a recording: all of them, or chunks of speech while the recording is read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from max_whisper.audio.constants import HOP_LENGTH, SAMPLE_RATE
from max_whisper.audio.vad.detector import SpeechDetector
from max_whisper.audio.vad.parameters import VadParameters
from max_whisper.audio.vad.spans import Span, SpeechChunks, SpeechSpans, speech_spans
from max_whisper.progress import Progress, Step, silent

if TYPE_CHECKING:
    from max_whisper.audio.samples import SampleSource


def find_speech(
    source: SampleSource, parameters: VadParameters | None = None, progress: Progress = silent
) -> list[Span]:
    """The spans of a recording that hold speech, in order and apart from each other; one pass over its samples.

    For chunks of speech (`pack_spans`), give `CHUNKED` or `parameters.at_most(30)`.

    Raises:
        AudioError: the recording cannot be read.
        MaxWhisperError: the network's weights are not in this installation.
    """
    detector = SpeechDetector()
    for block in source.blocks():
        detector.feed(block)
        progress(_step(detector, source))
    return speech_spans(detector.finish(), detector.n_samples, parameters or VadParameters())


@dataclass(frozen=True)
class Stretch:
    """Samples of a recording, and where they are in it."""

    span: Span
    samples: NDArray[np.float32]  # [span.stop - span.start]


@dataclass(frozen=True)
class SpeechRead:
    """The speech that has become known by reading one more block of a recording."""

    spans: Sequence[Stretch]  # as `find_speech` gives them
    chunks: Sequence[Stretch]  # as `pack_spans` gives them, but that each begins with a whole mel frame


def read_speech(source: SampleSource, parameters: VadParameters, progress: Progress = silent) -> Iterator[SpeechRead]:
    """The speech of a recording while it is read, block by block: spans and chunks, each as soon as it is final.

    It is one pass over the samples. Those of the chunk that may still grow are kept, at most about 30 s, and 4 bytes
    for each 32 ms of the recording.

    Args:
        source: the recording.
        parameters: with spans of at most 30 s, `CHUNKED` for example.
        progress: called with the seconds read.

    Raises:
        AudioError: the recording cannot be read.
        MaxWhisperError: the network's weights are not in this installation.
    """
    detector, spans, chunks, kept = SpeechDetector(), SpeechSpans(parameters), SpeechChunks(), _Kept()
    n_known = 0

    def stretches(found: Sequence[Span]) -> list[Stretch]:
        return [Stretch(span, kept.read(span)) for span in found]

    for block in source.blocks():
        kept.add(block)
        probabilities = detector.feed(block)
        n_known += len(probabilities)
        progress(_step(detector, source))
        new = spans.feed(probabilities)
        ready = chunks.feed(new, spans.coming)
        yield SpeechRead(stretches(new), stretches([_from_whole_frame(chunk) for chunk in ready]))
        needed = spans.coming.start if chunks.start is None else chunks.start
        kept.drop_before(needed - needed % HOP_LENGTH)
    new = spans.finish(detector.finish()[n_known:], detector.n_samples)
    ready = [*chunks.feed(new), *chunks.finish()]
    yield SpeechRead(stretches(new), stretches([_from_whole_frame(chunk) for chunk in ready]))


class _Kept:
    """The samples of a recording from some sample on, up to the last one read."""

    def __init__(self) -> None:
        self._blocks: deque[NDArray[np.float32]] = deque()
        self._start = 0  # of the first block

    def add(self, block: NDArray[np.float32]) -> None:
        self._blocks.append(block)

    def drop_before(self, sample: int) -> None:
        """Forget the blocks that end at or before a sample of the recording."""
        while self._blocks and self._start + len(self._blocks[0]) <= sample:
            self._start += len(self._blocks.popleft())

    def read(self, span: Span) -> NDArray[np.float32]:
        """A copy of the samples of a span, which are all there."""
        samples = np.empty(span.stop - span.start, np.float32)
        first = self._start
        for block in self._blocks:
            low, high = max(span.start, first), min(span.stop, first + len(block))
            if low < high:
                samples[low - span.start : high - span.start] = block[low - first : high - first]
            first += len(block)
        return samples


def _from_whole_frame(chunk: Span) -> Span:
    """A chunk from a whole mel frame on, so that its frames are the recording's."""
    return Span(chunk.start - chunk.start % HOP_LENGTH, chunk.stop)


def _step(detector: SpeechDetector, source: SampleSource) -> Step:
    total = None if source.length is None else source.length // SAMPLE_RATE
    return Step("finding speech", detector.n_samples // SAMPLE_RATE, total, "s")
