"""Transcriptions as text files, byte for byte as openai-whisper's writers give them (whisper/utils.py)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from max_whisper.errors import OptionError

if TYPE_CHECKING:
    from max_whisper.results import Transcription


def write(transcription: Transcription, file: TextIO, format: str) -> None:
    """Write a transcription to an open text file.

    Args:
        transcription: what to write.
        file: opened for text, as UTF-8 where it is to equal openai-whisper's.
        format: one of `FORMATS`.

    Raises:
        OptionError: the format is not one of `FORMATS`.
    """
    if format not in _WRITERS:
        raise OptionError(f"unknown output format '{format}'; choose one of {', '.join(FORMATS)}")
    _WRITERS[format](transcription, file)


def format_timestamp(seconds: float, *, always_include_hours: bool = False, decimal_marker: str = ".") -> str:
    """A time as [hh:]mm:ss.mmm, rounded to the nearest millisecond; the hours stay away while they are 0."""
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    hours_marker = f"{hours:02d}:" if always_include_hours or hours > 0 else ""
    return f"{hours_marker}{minutes:02d}:{milliseconds // 1000:02d}{decimal_marker}{milliseconds % 1000:03d}"


def _write_txt(transcription: Transcription, file: TextIO) -> None:
    for segment in transcription.segments:
        file.write(f"{segment.text.strip()}\n")


def _write_vtt(transcription: Transcription, file: TextIO) -> None:
    file.write("WEBVTT\n\n")
    for segment in transcription.segments:
        start, end = format_timestamp(segment.start), format_timestamp(segment.end)
        file.write(f"{start} --> {end}\n{_cue_text(segment.text)}\n\n")


def _write_srt(transcription: Transcription, file: TextIO) -> None:
    for number, segment in enumerate(transcription.segments, start=1):
        start, end = (
            format_timestamp(time, always_include_hours=True, decimal_marker=",")
            for time in (segment.start, segment.end)
        )
        file.write(f"{number}\n{start} --> {end}\n{_cue_text(segment.text)}\n\n")


def _write_tsv(transcription: Transcription, file: TextIO) -> None:
    file.write("start\tend\ttext\n")
    for segment in transcription.segments:
        text = segment.text.strip().replace("\t", " ")
        file.write(f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{text}\n")


def _write_json(transcription: Transcription, file: TextIO) -> None:
    json.dump(transcription.to_dict(), file)


def _cue_text(text: str) -> str:
    # '-->' inside a cue would end it: both subtitle formats reserve the arrow for the timing line.
    return text.strip().replace("-->", "->")


_WRITERS: dict[str, Callable[[Transcription, TextIO], None]] = {
    "txt": _write_txt,
    "vtt": _write_vtt,
    "srt": _write_srt,
    "tsv": _write_tsv,
    "json": _write_json,
}
FORMATS = tuple(_WRITERS)
