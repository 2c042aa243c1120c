"""The options that the command line has beside the package's own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from max_whisper.checks import Form, did_you_mean, integer, number, optional, truth
from max_whisper.definitions import OPENAI, CommandLine, check_options, option
from max_whisper.errors import OptionError
from max_whisper.options.transcribe import AT_ONCE, TOKENS
from max_whisper.results.formats import FORMATS

ALL_FORMATS = "all"
STANDARD_OUTPUT = "-"  # as --output-dir
VAD_PREFIX = "vad_"  # before the names of VadParameters on the command line
LEAST_INCREMENT = 0.01  # the smallest step from one temperature to the next: 101 temperatures

_OUTPUT = "output"


def _folder(name: str, value: object) -> str:
    return str(value)


def _formats(name: str, value: object) -> tuple[str, ...]:
    """The formats in one or several values, each once, in the order of the first mention."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, Iterable):
        raise ValueError
    given = [part.strip().lower() for text in values for part in str(text).split(",") if part.strip()]
    known = (*FORMATS, ALL_FORMATS)
    for part in given:
        if part not in known:
            hint = did_you_mean(part, known) or f"there are {', '.join(known)}"
            raise OptionError(f"{name}: no format is called {part!r}; {hint}")
    if not given:
        raise ValueError
    return tuple(dict.fromkeys(format for part in given for format in (FORMATS if part == ALL_FORMATS else (part,))))


@dataclass(frozen=True)
class OutputOptions:
    """The files that `max-whisper transcribe` writes, and the lines that it prints."""

    output_dir: str = option(
        ".",
        help="folder for the files, made where it is missing; - prints the one format that is given instead",
        group=_OUTPUT,
        form=Form("a folder", Path, "FOLDER", _folder),
        origin=(OPENAI,),
        command_line=CommandLine(flags=("-o",)),
    )
    output_format: str | tuple[str, ...] = option(
        ALL_FORMATS,
        help=f"formats of the files, with commas or given several times: {', '.join(FORMATS)} or {ALL_FORMATS}",
        group=_OUTPUT,
        form=Form(f"one or several of {', '.join((*FORMATS, ALL_FORMATS))}", str, "FORMAT,...", _formats),
        origin=(OPENAI,),
        command_line=CommandLine(flags=("-f",), is_repeatable=True),
    )
    skip_existing: bool = option(
        False,
        help="whether a recording whose files are all there is left out",
        group=_OUTPUT,
        form=truth(),
        command_line=CommandLine(is_flag=True),
    )
    verbose: bool = option(
        True,
        help="whether the segments are printed as they come",
        group=_OUTPUT,
        form=truth(),
        origin=(OPENAI,),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.output_dir == STANDARD_OUTPUT:
            if len(self.formats) > 1:
                raise OptionError("output_dir: - prints one format; choose it, such as -f txt")
            if self.skip_existing:
                raise OptionError("skip_existing: - writes no files; give a folder as --output-dir")

    @property
    def formats(self) -> tuple[str, ...]:
        """`output_format` as the formats to write, at least one."""
        return self.output_format if isinstance(self.output_format, tuple) else (self.output_format,)


@dataclass(frozen=True)
class WorkerOptions:
    """The processes of `max-whisper transcribe`."""

    workers: int = option(
        1,
        help="processes that transcribe several files side by side, each on its share of the cores",
        group=AT_ONCE,
        form=integer("a number of at least 1", 1),
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class TemperatureOptions:
    """How the command line makes several temperatures of one."""

    temperature_increment_on_fallback: float | None = option(
        0.2,
        help="step to the next temperature, up to 1, where a text is a repetition or improbable; None tries no other",
        group=TOKENS,
        form=optional(
            number(
                f"a number of at least {LEAST_INCREMENT:g}, or None",
                lambda number: LEAST_INCREMENT <= number < math.inf,
            )
        ),
        origin=(OPENAI,),
    )

    def __post_init__(self) -> None:
        check_options(self)
