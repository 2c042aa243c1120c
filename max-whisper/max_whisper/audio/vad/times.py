"""Times in the speech alone, its spans one after the other, to times in the recording."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from max_whisper.audio.constants import HOP_LENGTH, SAMPLE_RATE
from max_whisper.audio.vad.spans import Span
from max_whisper.results.segment import Segment, Word


class SpeechTimes:
    """Where in the recording the moments of its concatenated spans are.

    As faster-whisper's `SpeechTimestampsMap`, but that a time never leaves the span to which it belongs: a later time
    in the speech is never an earlier one in the recording.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        """spans: samples at 16 kHz, in order. Without any, every time is 0."""
        self._spans = list(spans) or [Span(0, 0)]
        self._ends = list(accumulate(span.stop - span.start for span in self._spans))  # samples of the speech

    def original_time(self, seconds: float, *, is_end: bool = False) -> float:
        """The time in the recording of a time in the speech, both in seconds.

        A time on a cut belongs to the span after it, or, where it is an end, to the one before; a time after the
        speech is the end of the last span.
        """
        return self._in_span(seconds, self._span_at(seconds, is_end=is_end))

    def restore(self, segment: Segment) -> Segment:
        """A segment of the speech with the times and the window's first frame of the recording.

        A word's start and end both belong to the span of its middle, so that no word reaches over a cut. Times are
        rounded to 10 ms.
        """
        seek = int(self.original_time(segment.seek * HOP_LENGTH / SAMPLE_RATE) * SAMPLE_RATE + 0.5) // HOP_LENGTH
        if segment.words:
            words = tuple(self._restore_word(word) for word in segment.words)
            return replace(segment, seek=seek, start=words[0].start, end=words[-1].end, words=words)
        start = round(self.original_time(segment.start), 2)
        end = round(self.original_time(segment.end, is_end=True), 2)
        # A segment without length on a cut would end before it starts.
        return replace(segment, seek=seek, start=start, end=max(start, end))

    def _restore_word(self, word: Word) -> Word:
        index = self._span_at((word.start + word.end) / 2, is_end=False)
        start, end = (round(self._in_span(seconds, index), 2) for seconds in (word.start, word.end))
        return replace(word, start=start, end=end)

    def _span_at(self, seconds: float, *, is_end: bool) -> int:
        sample = round(seconds * SAMPLE_RATE)
        index = bisect_left(self._ends, sample) if is_end else bisect_right(self._ends, sample)
        return min(index, len(self._spans) - 1)

    def _in_span(self, seconds: float, index: int) -> float:
        span = self._spans[index]
        silence_before = span.stop - self._ends[index]  # samples of the recording that are not in the speech
        time = silence_before / SAMPLE_RATE + seconds
        return min(max(time, span.start / SAMPLE_RATE), span.stop / SAMPLE_RATE)
