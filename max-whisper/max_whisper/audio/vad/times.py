"""Times in the speech alone, its spans one after the other, to times in the recording."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

from max_whisper.audio.constants import HOP_LENGTH, SAMPLE_RATE
from max_whisper.audio.vad.spans import Span
from max_whisper.results.segment import Segment, Word
from max_whisper.results.word_lengths import with_lengths

# Seconds by which a timestamp of the model may miss a cut: one that is nearer is at the cut.
TIMESTAMP_ERROR = 0.2
# Seconds without speech after which a segment that goes on is another one, where its words are known.
LONG_SILENCE = 3.0


class Spoken(NamedTuple):
    """A segment of the speech, and what its times in the recording depend on."""

    segment: Segment
    # Start and end in seconds of the speech, as the model wrote them; those of the segment follow its words, whose
    # alignment errs more.
    written: tuple[float, float]
    word_tokens: tuple[tuple[int, ...], ...]  # the segment's tokens, for each word those up to its end


class SpeechTimes:
    """Where in the recording the moments of its concatenated spans are.

    A cut has two sides in the recording, which may be minutes apart, and neither the timestamps of a model nor the
    alignment of its words is exact to the sample. A moment beside a cut is therefore not enough to say on which side a
    word was spoken. Said by the timestamps of its segment and by the silence around speech, the word stays there:
    a later time in the speech is never an earlier one in the recording, and no word reaches over a cut.
    """

    def __init__(self, spans: Sequence[Span], *, padding: int = 0) -> None:
        """
        spans: samples at 16 kHz, in order. Without any, every time is 0.
        padding: samples of silence at both sides of each cut, as `VadParameters.speech_pad_ms` adds them.
        """
        self._spans = list(spans) or [Span(0, 0)]
        self._ends = list(accumulate(span.stop - span.start for span in self._spans))  # samples of the speech
        self._voiced = self._without_padding(padding)

    def original_time(self, seconds: float, *, is_end: bool = False) -> float:
        """The time in the recording of a time in the speech, both in seconds.

        A time on a cut belongs to the span after it, or, where it is an end, to the one before; a time after the
        speech is the end of the last span.
        """
        return self._in_span(seconds, self._span_at(seconds, is_end=is_end))

    def restore(self, spoken: Sequence[Spoken], after: float = 0.0) -> list[Segment]:
        """The segments of a window of the speech, with times and the window's first frame of the recording.

        A word is in the span that has most of it, unless its segment is in others. Its start and end are in that span,
        and it has some length. Times are multiples of 10 ms, so that a word is at least 10 ms long, unless a span has
        more words than hundredths of a second: they share it by samples. A segment with words on both sides of a long
        silence becomes two.

        Args:
            spoken: the segments of one window, in order.
            after: seconds of the recording before which no segment begins: the end of the one before. Only where that
                is the end of the last span, the words that are still to come have its last 10 ms too.
        """
        indices: list[list[int]] = []  # of each segment, the spans of its words
        earliest = self._first_after(after)
        for segment, (start, end), _ in spoken:
            indices.append(self._spans_of_words(segment.words or (), *self._spans_between(start, end), earliest))
            earliest = indices[-1][-1] if indices[-1] else earliest
        words = self._restore_words(spoken, indices, after)
        restored: list[Segment] = []
        for (segment, (start, end), word_tokens), its_words, its_spans in zip(spoken, words, indices, strict=True):
            seek = int(self.original_time(segment.seek * HOP_LENGTH / SAMPLE_RATE) * SAMPLE_RATE + 0.5) // HOP_LENGTH
            segment = replace(segment, seek=seek)
            if its_words:
                restored += self._parts(replace(segment, words=its_words), its_spans, word_tokens)
            else:
                if segment.words is not None:  # emptied, as its words have no time
                    start, end = segment.start, segment.end
                first, last = self._spans_between(start, end)
                restored.append(replace(segment, start=self._rounded(start, first), end=self._rounded(end, last)))
        return _in_order(restored, after)

    def _parts(
        self, segment: Segment, spans: Sequence[int], word_tokens: Sequence[tuple[int, ...]]
    ) -> Iterator[Segment]:
        """A segment with words, in parts between which there is no long silence. spans: of each word."""
        words = segment.words or ()
        cuts = [
            position
            for position, (before, after) in enumerate(pairwise(spans), start=1)
            if self._spans[after].start - self._spans[before].stop > LONG_SILENCE * SAMPLE_RATE
        ]
        for first, stop in pairwise([0, *cuts, len(words)]):
            part = words[first:stop]
            segment = replace(segment, start=part[0].start, end=part[-1].end, words=part)
            if cuts:
                tokens = tuple(chain.from_iterable(word_tokens[first:stop]))
                segment = replace(segment, text="".join(word.word for word in part), tokens=tokens)
            yield segment

    def _spans_between(self, start: float, end: float) -> tuple[int, int]:
        """The first span and the last one of a segment, by the seconds of the speech at which the model put it."""
        first = bisect_right([span.stop for span in self._voiced], (start + TIMESTAMP_ERROR) * SAMPLE_RATE)
        last = bisect_left([span.start for span in self._voiced], (end - TIMESTAMP_ERROR) * SAMPLE_RATE) - 1
        if first <= last:
            return first, last
        # It is about as short as the error, or all in silence.
        between = self._span_at((start + end) / 2, is_end=False)
        return between, between

    def _spans_of_words(self, words: Sequence[Word], first: int, last: int, earliest: int) -> list[int]:
        """The span of each word of a segment, which is in the spans from `first` to `last`; none before `earliest`."""
        found = [self._span_of_voice(word) for word in words]
        known = [index for index in found if index is not None]
        indices: list[int] = []
        following: int | None = None
        for position in reversed(range(len(words))):
            word, index = words[position], found[position]
            if index is None:
                index = self._span_at((word.start + word.end) / 2, is_end=False)
                if word.start == word.end and following is not None and word.end == words[position + 1].start:
                    index = following  # the time that it lacks is in the word after it
                elif known:
                    # Nobody speaks there: it is spoken where the segment's other words are.
                    index = min(max(index, min(known)), max(known))
            following = min(max(index, first), last)
            indices.insert(0, following)
        return list(accumulate(indices, max, initial=earliest))[1:]

    def _span_of_voice(self, word: Word) -> int | None:
        """The span whose speech has most of a word; None where the word is in silence beside a cut, or has no time."""
        start, end = word.start * SAMPLE_RATE, word.end * SAMPLE_RATE
        first = bisect_right(self._ends, start)
        shared: dict[int, float] = {}
        for index in range(first, len(self._spans)):
            voice = self._voiced[index]
            if voice.start >= end:
                break
            shared[index] = min(end, voice.stop) - max(start, voice.start)
        best = max(shared, key=shared.__getitem__, default=None)
        return best if best is not None and shared[best] > 0 else None

    def _restore_words(
        self, spoken: Sequence[Spoken], indices: Sequence[Sequence[int]], after: float
    ) -> list[tuple[Word, ...]]:
        """The words of each segment; those of a span share its time, whichever segments they are of."""
        words = [word for entry in spoken for word in entry.segment.words or ()]
        # What comes after the window's last word and timestamp is left to the words of the next window.
        until = max([word.end for word in words[-1:]] + [entry.written[1] for entry in spoken], default=0.0)
        spans = [index for of_segment in indices for index in of_segment]
        restored: list[Word] = []
        for index in sorted(set(spans)):
            of_span = [word for word, span in zip(words, spans, strict=True) if span == index]
            restored += self._words_in_span(of_span, index, after, until)
        remaining = iter(restored)
        return [tuple(next(remaining) for _ in entry.segment.words or ()) for entry in spoken]

    def _words_in_span(self, words: Sequence[Word], index: int, after: float, until: float) -> list[Word]:
        """after: seconds of the recording. until: seconds of the speech; words may need the time behind it too."""
        unit, per_second = SAMPLE_RATE // 100, 100
        low, stop = self._spans[index]
        begin = max(low, round(after * SAMPLE_RATE))
        if stop - begin < len(words):  # those before have taken all of the span
            begin = max(low, stop - max(unit, len(words)))
        low = begin
        high = round(self._in_span(until, index) * SAMPLE_RATE)
        if len(words) > high // unit - -(-low // unit):
            high = stop
        if len(words) > high // unit - -(-low // unit):
            unit, per_second = 1, SAMPLE_RATE  # more words than hundredths of a second
        times = [
            (round(self._in_span(word.start, index) * per_second), round(self._in_span(word.end, index) * per_second))
            for word in words
        ]
        letters = [max(1, len(word.word.strip())) for word in words]
        placed = with_lengths(times, letters, -(-low // unit), high // unit, per_second)
        return [
            replace(word, start=start / per_second, end=end / per_second)
            for word, (start, end) in zip(words, placed, strict=True)
        ]

    def _without_padding(self, padding: int) -> list[Span]:
        """The spans in the speech, in its samples, without the silence beside their cuts."""
        starts = [0, *self._ends[:-1]]
        stops = list(self._ends)
        for index, (span, following) in enumerate(pairwise(self._spans)):
            if following.start - span.stop > 1:  # spans that touch share a silence that is shorter
                stops[index] = max((starts[index] + stops[index]) // 2, stops[index] - padding)
                starts[index + 1] = min((starts[index + 1] + stops[index + 1]) // 2, starts[index + 1] + padding)
        return [Span(start, stop) for start, stop in zip(starts, stops, strict=True)]

    def _span_at(self, seconds: float, *, is_end: bool) -> int:
        sample = round(seconds * SAMPLE_RATE)
        index = bisect_left(self._ends, sample) if is_end else bisect_right(self._ends, sample)
        return min(index, len(self._spans) - 1)

    def _in_span(self, seconds: float, index: int) -> float:
        span = self._spans[index]
        silence_before = span.stop - self._ends[index]  # samples of the recording that are not in the speech
        time = silence_before / SAMPLE_RATE + seconds
        return min(max(time, span.start / SAMPLE_RATE), span.stop / SAMPLE_RATE)

    def _rounded(self, seconds: float, index: int) -> float:
        """A time in the speech to one in a span of the recording, rounded to 10 ms within the span."""
        unit = SAMPLE_RATE // 100
        low, high = -(-self._spans[index].start // unit), self._spans[index].stop // unit
        return min(max(round(self._in_span(seconds, index) * 100), low), max(low, high)) / 100

    def _first_after(self, seconds: float) -> int:
        """The first span that has more than 10 ms after a time of the recording."""
        stops = [span.stop for span in self._spans[:-1]]
        return bisect_right(stops, seconds * SAMPLE_RATE + SAMPLE_RATE // 100)


def _in_order(segments: list[Segment], after: float) -> list[Segment]:
    """The segments, those without words put between those with words.

    The next window may begin at the end of the last word, so what is emptied after it goes no further.
    """
    has_words = False
    for index, segment in enumerate(segments):
        has_words = has_words or bool(segment.words)
        if not segment.words:
            start, end = (after, after) if has_words else (max(segment.start, after), max(segment.end, after))
            segments[index] = segment = replace(segment, start=start, end=max(end, start))
        after = segment.end
    for index in reversed(range(len(segments) - 1)):
        segment, before = segments[index], segments[index + 1].start
        if not segment.words and segment.end > before:
            segments[index] = replace(segment, start=min(segment.start, before), end=before)
    return segments
