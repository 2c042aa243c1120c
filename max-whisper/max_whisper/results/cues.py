"""The cues of subtitles: a transcription as texts that are shown one after the other, in srt and vtt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from max_whisper.results.plain_text import without_controls
from max_whisper.results.segment import Segment, Word
from max_whisper.results.word_lengths import with_lengths

LONG_PAUSE = 3.0  # seconds between the starts of two words, after which a new cue begins
NO_LIMIT = 1000  # the limit of openai-whisper where none is set

_ARROW = re.compile(r"-{2,}>")


class Cue(NamedTuple):
    """A text and when it is shown."""

    start: int  # milliseconds from the beginning of the recording
    end: int
    text: str  # in the markup of its format


@dataclass(frozen=True)
class Layout:
    """How words become cues; the fields are those of `SubtitleOptions`."""

    max_line_width: int | None
    max_line_count: int | None
    max_words_per_line: int | None
    highlight_words: bool

    @property
    def follows_segments(self) -> bool:
        """Whether each segment begins a cue."""
        return self.max_line_count is None or self.max_line_width is None


def cues_of(segments: Sequence[Segment], layout: Layout, markup: Callable[[str], str]) -> list[Cue]:
    """The cues of valid subtitles: in order, each with a text of no empty line, and at least a millisecond long.

    markup: a text as the format writes it; it is given each word by itself.
    """
    cleaned = [_cleaned(segment) for segment in segments]
    valid = []
    for start, end, text in _of_words_or_text(cleaned, layout, markup):
        lines = (line.strip() for line in _ARROW.sub("->", text).split("\n"))
        if shown := "\n".join(line for line in lines if line):
            start = max(start, 0)
            valid.append(Cue(start, max(end, start + 1), shown))
    return sorted(valid, key=lambda cue: cue.start)


def compatible_cues_of(segments: Sequence[Segment], layout: Layout) -> Iterable[Cue]:
    """The cues of openai-whisper's writers (whisper/utils.py, SubtitlesWriter), valid or not."""
    if all(segment.words is not None or not segment.tokens for segment in segments):  # an emptied segment has no tokens
        return _of_words(segments, layout, str, compatible=True)
    return (
        Cue(_ms(segment.start), _ms(segment.end), segment.text.strip().replace("-->", "->")) for segment in segments
    )


def have_words(segments: Sequence[Segment]) -> bool:
    """Whether the words of some segment were timed, or no segment has text."""
    return any(segment.words is not None for segment in segments) or not any(map(_has_text, segments))


def _has_text(segment: Segment) -> bool:
    return bool(segment.text.strip())


def _of_words_or_text(segments: Sequence[Segment], layout: Layout, markup: Callable[[str], str]) -> Iterator[Cue]:
    """The cues of the words; a segment with text and no words is a cue of its own."""
    only_text = map(_has_only_text, segments, [None, *segments[:-1]])
    for is_only_text, neighbors in groupby(zip(segments, only_text, strict=True), itemgetter(1)):
        group = [segment for segment, _ in neighbors]
        if is_only_text:
            yield from (Cue(_ms(one.start), _ms(one.end), markup(one.text)) for one in group)
        else:
            yield from _of_words(group, layout, markup)


def _has_only_text(segment: Segment, before: Segment | None) -> bool:
    """Whether a segment has text that no word has."""
    if segment.words or not _has_text(segment):
        return False
    text = segment.text.strip()
    # Where a character begins in one segment and ends in the next, words are ahead of their segments.
    is_ahead = (
        before is not None
        and "".join(word.word for word in before.words or ()).rstrip().endswith(text)
        and not before.text.rstrip().endswith(text)
    )
    return not is_ahead


def _cleaned(segment: Segment) -> Segment:
    """A segment whose words have one line and some length each."""
    text = without_controls(segment.text)
    if not segment.words:
        return replace(segment, text=text)
    words = [replace(word, word=without_controls(word.word).replace("\n", " ")) for word in segment.words]
    times = [(_ms(word.start), _ms(word.end)) for word in words]
    if any(end <= start for start, end in times):
        low = times[0][0]
        high = max(times[-1][1], low + len(times))
        letters = [max(1, len(word.word.strip())) for word in words]
        times = with_lengths(times, letters, low, high, 1000)
        words = [
            replace(word, start=start / 1000, end=end / 1000) for word, (start, end) in zip(words, times, strict=True)
        ]
    return replace(segment, text=text, words=tuple(words))


def _of_words(
    segments: Iterable[Segment], layout: Layout, markup: Callable[[str], str], *, compatible: bool = False
) -> Iterator[Cue]:
    for words in _split_into_cues(segments, layout):
        texts = [markup(word.word) for word in words]
        if layout.highlight_words:
            yield from _highlight(words, texts, compatible)
        else:
            yield Cue(_ms(words[0].start), _ms(words[-1].end), "".join(texts))


def _split_into_cues(segments: Iterable[Segment], layout: Layout) -> Iterator[list[Word]]:
    """The words of each cue, with the line breaks before them."""
    width, chunk = layout.max_line_width or NO_LIMIT, layout.max_words_per_line or NO_LIMIT
    cue: list[Word] = []
    length, n_lines = 0, 1
    for segment in segments:
        for index, word in enumerate(segment.words or ()):
            starts_cue = bool(cue) and layout.follows_segments and index % chunk == 0
            after_pause = bool(cue) and not layout.follows_segments and word.start - cue[-1].start > LONG_PAUSE
            if length > 0 and length + len(word.word) <= width and not after_pause and not starts_cue:
                length += len(word.word)
                cue.append(word)
                continue
            text = word.word.strip()
            is_full = layout.max_line_count is not None and (after_pause or n_lines >= layout.max_line_count)
            if starts_cue or (cue and is_full):
                yield cue
                cue, n_lines = [], 1
            elif length > 0:
                n_lines += 1
                text = f"\n{text}"
            length = len(text.strip())
            cue.append(replace(word, word=text))
    if cue:
        yield cue


def _highlight(words: Sequence[Word], texts: Sequence[str], compatible: bool) -> Iterator[Cue]:
    """A cue for each word of a cue, the word underlined, and one without underlining for each gap between words."""
    shown_until = _ms(words[0].start)
    for index, word in enumerate(words):
        start, end = _ms(word.start), _ms(word.end)
        if shown_until < start or (compatible and shown_until != start):
            yield Cue(shown_until, start, "".join(texts))
        underlined = texts[index]
        if compatible:
            underlined = re.sub(r"^(\s*)(.*)$", r"\1<u>\2</u>", underlined)
        elif bare := underlined.strip():
            underlined = underlined.replace(bare, f"<u>{bare}</u>")
        yield Cue(start, end, "".join([*texts[:index], underlined, *texts[index + 1 :]]))
        shown_until = end


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
