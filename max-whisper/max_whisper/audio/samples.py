"""Recordings read forward, a stretch at a time, in memory that does not grow with their length."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np

from max_whisper.audio.constants import N_SAMPLES
from max_whisper.audio.reading import ReadingOptions
from max_whisper.audio.recording import Audio, Recording, Samples, open_recording

_BLOCK = 1 << 16  # samples in a block
_TAIL = N_SAMPLES + _BLOCK  # samples that are kept behind the last block read


def open_samples(source: Audio, reading: ReadingOptions | None = None) -> SampleSource:
    """The samples of a recording, to be read forward; the errors are those of `audio.load_audio`.

    What can be known before decoding is checked now; the rest, and what it warns of, comes with the first pass.
    """
    return RecordedSamples(open_recording(source, reading))


class SampleSource(ABC):
    """Samples at 16 kHz, mono, float32 in [-1, 1]."""

    name: str  # what messages call the recording

    @property
    @abstractmethod
    def length(self) -> int | None:
        """Samples; None for a recording before its first complete pass, unless it is an array at 16 kHz."""

    @abstractmethod
    def blocks(self) -> Iterator[Samples]:
        """A pass over all samples, in blocks of 65,536 and one shorter, which are not to be written to.

        Raises AudioError where the recording cannot be read, has no sound or less than 25 ms of it, or is not what its
        first pass found. Warns AudioWarning, once for all passes, where it is damaged or cut short, or its
        samples are not what sound has.
        """

    @abstractmethod
    def read(self, start: int, stop: int) -> Samples:
        """Samples [start, stop), zeros for those after the end; not to be written to.

        Fast where each `start` is no more than 30 s before the greatest `stop` so far. Going back further decodes the
        recording from its beginning. Raises AudioError as `blocks` does.
        """


class RecordedSamples(SampleSource):
    """A whole recording."""

    def __init__(self, recording: Recording) -> None:
        self.name = recording.name
        self._recording = recording
        self._rewind()

    @property
    def length(self) -> int | None:
        return self._recording.length

    def blocks(self) -> Iterator[Samples]:
        return self._recording.blocks()

    def read(self, start: int, stop: int) -> Samples:
        if start < self._first:
            self._rewind()
        try:
            while self._end < stop and (block := next(self._pass, None)) is not None:
                self._held.append(block)
                self._end += len(block)
                while self._first + len(self._held[0]) <= min(start, self._end - _TAIL):
                    self._first += len(self._held.popleft())
        except BaseException:
            self._rewind()  # a pass that has failed would look like one that has ended
            raise
        samples = np.zeros(stop - start, np.float32)
        first = self._first
        for block in self._held:
            low, high = max(start, first), min(stop, first + len(block))
            if low < high:
                samples[low - start : high - start] = block[low - first : high - first]
            first += len(block)
        return samples

    def _rewind(self) -> None:
        self._pass = self._recording.blocks()
        self._held: deque[Samples] = deque()
        self._first = 0  # the first sample that is held
        self._end = 0  # the sample after the last one held


class Joined(SampleSource):
    """Stretches of a source, one after the other, as if there were nothing else in it."""

    def __init__(self, source: SampleSource, spans: Sequence[tuple[int, int]]) -> None:
        """spans: [start, stop) in samples of the source, in order and apart. Raises ValueError where they are not."""
        edges = [edge for span in spans for edge in span]
        if any(before > after for before, after in zip([0, *edges], edges, strict=False)):
            raise ValueError(f"spans have to be in order and apart: {list(spans)}")
        self.name = source.name
        self._source = source
        self._spans = list(spans)
        self._offsets = list(accumulate((stop - start for start, stop in spans), initial=0))

    @property
    def length(self) -> int:
        return self._offsets[-1]

    def blocks(self) -> Iterator[Samples]:
        for start in range(0, self.length, _BLOCK):
            yield self.read(start, min(start + _BLOCK, self.length))

    def read(self, start: int, stop: int) -> Samples:
        samples = np.zeros(stop - start, np.float32)
        number = max(0, bisect_right(self._offsets, start) - 1)
        for (first, _), offset, after in zip(
            self._spans[number:], self._offsets[number:], self._offsets[number + 1 :], strict=False
        ):
            if offset >= stop:
                break
            low, high = max(start, offset), min(stop, after)
            if low < high:
                samples[low - start : high - start] = self._source.read(first + low - offset, first + high - offset)
        return samples


class HeldSamples(SampleSource):
    """Samples of a recording that are in memory, of any number and taken as they are."""

    def __init__(self, samples: Samples, name: str) -> None:
        self.name = name
        self._samples = samples

    @property
    def length(self) -> int:
        return len(self._samples)

    def blocks(self) -> Iterator[Samples]:
        for start in range(0, self.length, _BLOCK):
            yield self._samples[start : start + _BLOCK]

    def read(self, start: int, stop: int) -> Samples:
        samples = np.zeros(stop - start, np.float32)
        held = self._samples[start:stop]
        samples[: len(held)] = held
        return samples
