"""The options that the command line has beside the package's own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from max_whisper.checks import Form, integer, number, optional, truth, word
from max_whisper.definitions import OPENAI, CommandLine, check_options, option
from max_whisper.options.transcribe import AT_ONCE, TOKENS
from max_whisper.results.formats import FORMATS

ALL_FORMATS = "all"
LEAST_INCREMENT = 0.01  # the smallest step from one temperature to the next: 101 temperatures

_OUTPUT = "output"


def _folder(name: str, value: object) -> str:
    return str(value)


@dataclass(frozen=True)
class OutputOptions:
    """The files that `max-whisper transcribe` writes, and the lines that it prints."""

    output_dir: str = option(
        ".",
        help="folder for the files, made where it is missing",
        group=_OUTPUT,
        form=Form("a folder", str, "FOLDER", _folder),
        origin=(OPENAI,),
        command_line=CommandLine(flags=("-o",)),
    )
    output_format: str = option(
        ALL_FORMATS,
        help="format of the files",
        group=_OUTPUT,
        form=word((*FORMATS, ALL_FORMATS)),
        origin=(OPENAI,),
        command_line=CommandLine(flags=("-f",)),
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
