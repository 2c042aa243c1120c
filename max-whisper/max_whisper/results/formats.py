"""Transcriptions as text files, byte for byte as openai-whisper's writers give them (whisper/utils.py)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeAlias

from max_whisper.checks import integer, optional, truth
from max_whisper.definitions import OPENAI, Options, check_options, option
from max_whisper.errors import OptionError
from max_whisper.results.segment import Segment, Word

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from max_whisper.results.keywords import SubtitleKeywords

LONG_PAUSE = 3.0  # seconds between the starts of two words, after which a new cue begins
NO_LIMIT = 1000  # the limit of openai-whisper where none is set
GROUP = "subtitles (with word_timestamps)"  # the part of the help and of the page of options in which they stand

_LIMIT = optional(integer("a number of at least 1, or None", 1))


class Transcript(Protocol):
    """What a format is written from: a `Transcription`."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, in the order of the recording."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """openai-whisper's dictionary of all of it."""
        ...


# The start of a cue, its end and its text.
_Cue: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True)
class SubtitleOptions(Options):
    """How words become the lines and cues of subtitles, in srt and vtt; the other formats have no lines to shape.

    A limit is checked as the object is made: OptionError for one below 1.
    """

    max_line_width: int | None = option(
        None,
        help="the most characters of a line; a longer word has a line to itself",
        group=GROUP,
        form=_LIMIT,
        origin=(OPENAI,),
    )
    max_line_count: int | None = option(
        None,
        help="the most lines of a subtitle; with max_line_width, and subtitles then no longer follow the segments",
        group=GROUP,
        form=_LIMIT,
        origin=(OPENAI,),
    )
    max_words_per_line: int | None = option(
        None,
        help="the most words of a line, and so of a subtitle, where max_line_width is not given",
        group=GROUP,
        form=_LIMIT,
        origin=(OPENAI,),
    )
    highlight_words: bool = option(
        False,
        help="whether each word is underlined as it is spoken, in a cue of its own",
        group=GROUP,
        form=truth(),
        origin=(OPENAI,),
    )

    def __post_init__(self) -> None:
        check_options(self)

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> SubtitleOptions:
        """Options from keyword arguments. Raises OptionError, with the nearest name, for one that does not exist."""
        return cls(**keywords)

    @property
    def follows_segments(self) -> bool:
        """Whether each segment begins a cue."""
        return self.max_line_count is None or self.max_line_width is None

    def check(self, transcription: Transcript) -> None:
        """Raises OptionError for any option where the transcription has no words."""
        for name, value in asdict(self).items():
            if value not in (None, False) and transcription.segments and not _has_words(transcription):
                raise OptionError(f"{name} needs the times of words; transcribe with word_timestamps=True")


def write(transcription: Transcript, file: TextIO, format: str, **subtitles: Unpack[SubtitleKeywords]) -> None:
    """Write a transcription to an open text file.

    Args:
        transcription: segments, and words where subtitles are shaped by them.
        file: opened for text, as UTF-8 where it is to equal openai-whisper's.
        format: one of `FORMATS`.
        subtitles: fields of `SubtitleOptions`, which shape subtitles of words, in srt and vtt.

    Raises:
        OptionError: the format is not one of `FORMATS`, an option does not exist, a limit is less than 1, or the
            transcription has no words for the options.
    """
    if format not in _WRITERS:
        raise OptionError(f"unknown output format '{format}'; choose one of {', '.join(FORMATS)}")
    options = SubtitleOptions.from_keywords(subtitles)
    options.check(transcription)
    _WRITERS[format](transcription, file, options)


def format_timestamp(seconds: float, *, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    """A time as [hh:]mm:ss.mmm, rounded to the nearest millisecond; the hours stay away while they are 0."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    hours_marker = f"{hours:02d}:" if always_include_hours or hours > 0 else ""
    return f"{hours_marker}{minutes:02d}:{milliseconds // 1000:02d}{decimal_marker}{milliseconds % 1000:03d}"


def _write_txt(transcription: Transcript, file: TextIO, options: SubtitleOptions) -> None:
    for segment in transcription.segments:
        file.write(f"{segment.text.strip()}\n")


def _write_vtt(transcription: Transcript, file: TextIO, options: SubtitleOptions) -> None:
    file.write("WEBVTT\n\n")
    for start, end, text in _cues(transcription, options, format_timestamp):
        file.write(f"{start} --> {end}\n{text}\n\n")


def _write_srt(transcription: Transcript, file: TextIO, options: SubtitleOptions) -> None:
    format_time = partial(format_timestamp, always_include_hours=True, decimal_marker=",")
    for number, (start, end, text) in enumerate(_cues(transcription, options, format_time), start=1):
        file.write(f"{number}\n{start} --> {end}\n{text}\n\n")


def _write_tsv(transcription: Transcript, file: TextIO, options: SubtitleOptions) -> None:
    file.write("start\tend\ttext\n")
    for segment in transcription.segments:
        text = segment.text.strip().replace("\t", " ")
        file.write(f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{text}\n")


def _write_json(transcription: Transcript, file: TextIO, options: SubtitleOptions) -> None:
    json.dump(transcription.to_dict(), file)


def _has_words(transcription: Transcript) -> bool:
    """Whether the words were timed; a segment that was emptied has none in any case."""
    return all(segment.words is not None or not segment.tokens for segment in transcription.segments)


def _cues(transcription: Transcript, options: SubtitleOptions, format_time: Callable[[float], str]) -> Iterator[_Cue]:
    """The cues of a transcription: those of its words where they were timed, else its segments."""
    if not _has_words(transcription):
        for segment in transcription.segments:
            # '-->' inside a cue would end it: both subtitle formats reserve the arrow for the timing line.
            text = segment.text.strip().replace("-->", "->")
            yield format_time(segment.start), format_time(segment.end), text
        return
    for words in _split_into_cues(transcription.segments, options):
        if options.highlight_words:
            yield from _highlight(words, format_time)
        else:
            yield format_time(words[0].start), format_time(words[-1].end), "".join(word.word for word in words)


def _split_into_cues(segments: Iterable[Segment], options: SubtitleOptions) -> Iterator[list[Word]]:
    """The words of each cue, with the line breaks before them."""
    width, chunk = options.max_line_width or NO_LIMIT, options.max_words_per_line or NO_LIMIT
    cue: list[Word] = []
    length, n_lines = 0, 1
    for segment in segments:
        for index, word in enumerate(segment.words or ()):
            starts_cue = bool(cue) and options.follows_segments and index % chunk == 0
            after_pause = bool(cue) and not options.follows_segments and word.start - cue[-1].start > LONG_PAUSE
            if length > 0 and length + len(word.word) <= width and not after_pause and not starts_cue:
                length += len(word.word)
                cue.append(word)
                continue
            text = word.word.strip()
            is_full = options.max_line_count is not None and (after_pause or n_lines >= options.max_line_count)
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


def _highlight(words: Sequence[Word], format_time: Callable[[float], str]) -> Iterator[_Cue]:
    """A cue for each word of a cue, the word underlined, and one without underlining for each gap between words."""
    texts = [word.word for word in words]
    shown_until = format_time(words[0].start)
    for index, word in enumerate(words):
        start, end = format_time(word.start), format_time(word.end)
        if shown_until != start:
            yield shown_until, start, "".join(texts)
        underlined = re.sub(r"^(\s*)(.*)$", r"\1<u>\2</u>", word.word)
        yield start, end, "".join([*texts[:index], underlined, *texts[index + 1 :]])
        shown_until = end


_WRITERS: dict[str, Callable[[Transcript, TextIO, SubtitleOptions], None]] = {
    "txt": _write_txt,
    "vtt": _write_vtt,
    "srt": _write_srt,
    "tsv": _write_tsv,
    "json": _write_json,
}
FORMATS = tuple(_WRITERS)
