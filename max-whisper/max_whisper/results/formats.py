"""Transcriptions as text files: valid ones, or byte for byte those of openai-whisper's writers (whisper/utils.py)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from max_whisper.checks import integer, optional, truth
from max_whisper.definitions import OPENAI, Options, check_options, option
from max_whisper.errors import OptionError
from max_whisper.results.cues import Cue, Layout, compatible_cues_of, cues_of, have_words
from max_whisper.results.plain_text import valid_json, without_controls
from max_whisper.results.segment import Segment

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from max_whisper.results.keywords import SubtitleKeywords

# The parts of the help in which the options stand.
GROUP = "subtitles (with word_timestamps)"
FILES = "output"

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


@dataclass(frozen=True)
class SubtitleOptions(Options):
    """How a transcription is written: as openai-whisper does or valid, and how words become lines of subtitles.

    The options of lines are for srt and vtt; the other formats have no lines to shape. A limit is checked as the object
    is made: OptionError for one below 1.
    """

    compatible: bool = option(
        False,
        help="whether files are openai-whisper's byte for byte, even where other programs cannot read those",
        group=FILES,
        form=truth(),
    )

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

    @property
    def layout(self) -> Layout:
        """The options of lines and cues."""
        return Layout(self.max_line_width, self.max_line_count, self.max_words_per_line, self.highlight_words)

    def check(self, transcription: Transcript) -> None:
        """Raises OptionError for an option of lines where the transcription has no words."""
        for name, value in asdict(self.layout).items():
            if value not in (None, False) and transcription.segments and not have_words(transcription.segments):
                raise OptionError(f"{name} needs the times of words; transcribe with word_timestamps=True")


def write(transcription: Transcript, file: TextIO, format: str, **subtitles: Unpack[SubtitleKeywords]) -> None:
    """Write a transcription to an open text file.

    Args:
        transcription: segments, and words where subtitles are shaped by them.
        file: opened for text, as UTF-8.
        format: one of `FORMATS`.
        subtitles: fields of `SubtitleOptions`: `compatible`, and those that shape subtitles of words.

    Raises:
        OptionError: the format is not one of `FORMATS`, an option does not exist, a limit is less than 1, or the
            transcription has no words for the options.
    """
    if format not in _WRITERS:
        raise OptionError(f"unknown output format '{format}'; choose one of {', '.join(FORMATS)}")
    options = SubtitleOptions(**subtitles)
    options.check(transcription)
    _WRITERS[format](transcription, file, options)


def format_timestamp(seconds: float, *, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    """A time as [hh:]mm:ss.mmm, rounded to the nearest millisecond; the hours stay away while they are 0."""
    return _format_milliseconds(round(seconds * 1000), always_include_hours, decimal_marker)


def _format_milliseconds(milliseconds: int, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    hours_marker = f"{hours:02d}:" if always_include_hours or hours > 0 else ""
    return f"{hours_marker}{minutes:02d}:{milliseconds // 1000:02d}{decimal_marker}{milliseconds % 1000:03d}"


def _write_txt(transcription: Transcript, file: TextIO, options: SubtitleOptions) -> None:
    for segment in transcription.segments:
        text = segment.text if options.compatible else without_controls(segment.text)
        file.write(f"{text.strip()}\n")


def _write_vtt(transcription: Transcript, file: TextIO, options: SubtitleOptions) -> None:
    file.write("WEBVTT\n\n")
    for start, end, text in _cues(transcription, options, _escaped):
        file.write(f"{_format_milliseconds(start)} --> {_format_milliseconds(end)}\n{text}\n\n")


def _write_srt(transcription: Transcript, file: TextIO, options: SubtitleOptions) -> None:
    for number, (start, end, text) in enumerate(_cues(transcription, options, str), start=1):
        begins, ends = (_format_milliseconds(time, True, ",") for time in (start, end))
        file.write(f"{number}\n{begins} --> {ends}\n{text}\n\n")


def _write_tsv(transcription: Transcript, file: TextIO, options: SubtitleOptions) -> None:
    file.write("start\tend\ttext\n")
    for segment in transcription.segments:
        text = segment.text.strip()
        if not options.compatible:
            text = " ".join(without_controls(text).split("\n"))
        text = text.replace("\t", " ")
        file.write(f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{text}\n")


def _write_json(transcription: Transcript, file: TextIO, options: SubtitleOptions) -> None:
    result = transcription.to_dict()
    json.dump(result if options.compatible else valid_json(result), file)


def _cues(transcription: Transcript, options: SubtitleOptions, markup: Callable[[str], str]) -> Iterable[Cue]:
    if options.compatible:
        return compatible_cues_of(transcription.segments, options.layout)
    return cues_of(transcription.segments, options.layout, markup)


def _escaped(text: str) -> str:
    """A text as WebVTT writes it, where tags begin with `<` and names of characters with `&`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_WRITERS: dict[str, Callable[[Transcript, TextIO, SubtitleOptions], None]] = {
    "txt": _write_txt,
    "vtt": _write_vtt,
    "srt": _write_srt,
    "tsv": _write_tsv,
    "json": _write_json,
}
FORMATS = tuple(_WRITERS)
