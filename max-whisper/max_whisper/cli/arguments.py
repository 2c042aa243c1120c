"""The arguments of the command line, made from the definitions of the package's options, and their values.

Names and defaults are those of openai-whisper's command line where it has them (whisper/transcribe.py, cli). Only the
definitions are imported at the top, so that `--help` and a mistake in an option answer at once.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from max_whisper.audio.reading import ReadingOptions
from max_whisper.audio.url import is_url
from max_whisper.audio.vad.parameters import VadParameters
from max_whisper.checks import Form, did_you_mean, integer
from max_whisper.cli.options import VAD_PREFIX, OutputOptions, TemperatureOptions, WorkerOptions
from max_whisper.definitions import OPENAI, CommandLine, Option, options_of
from max_whisper.errors import MaxWhisperError, OptionError
from max_whisper.options import LoadOptions, TranscribeOptions
from max_whisper.options.parser import CommandParser, option_of, path_of
from max_whisper.results.cues import Layout
from max_whisper.results.formats import SubtitleOptions
from max_whisper.version import __version__

STANDARD_INPUT = "-"

# The options of the command line, class by class; `transcribe` has all of them.
LOADING, OUTPUT, SUBTITLES = (
    tuple(option.name for option in options_of(options)) for options in (LoadOptions, OutputOptions, SubtitleOptions)
)
LINES = tuple(field.name for field in fields(Layout))  # options of subtitles that need words


class WrongOptionError(OptionError):
    """An option of the command line with a value that cannot be, whatever the model and the files."""


def parse(arguments: Sequence[str], comparisons: Mapping[str, str]) -> dict[str, Any]:
    """The values of a command line; `command` is the command's name.

    arguments: options with hyphens. comparisons: further commands and what they do, for the help.
    Raises SystemExit once help, the version or one line about a mistake has been printed.
    """
    parser = CommandParser(prog="max-whisper", description="OpenAI Whisper speech recognition on MAX Graph.")
    parser.add_argument("--version", action="version", version=f"max-whisper {__version__}")
    commands: Any = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    transcribing = commands.add_parser("transcribe", help="write down what recordings say")
    _add_transcribe(transcribing)
    language = commands.add_parser("language", help="tell the language of recordings")
    _add_language(language)
    compiling = commands.add_parser("compile", help="compile ahead what transcribe needs, with no network")
    _add_compile(compiling)
    models = commands.add_parser("models", help="list the known models and what the cache holds")
    models.add_argument("list", nargs="?", choices=["list"], help=argparse.SUPPRESS)
    caching = commands.add_parser("cache", help="show, check or clear what is kept on this machine")
    _add_cache(caching)
    for command in (transcribing, language, compiling, models, caching):
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for name, purpose in comparisons.items():
        commands.add_parser(name, help=purpose)
    if mistake := _wrong_command(arguments, [*commands.choices]):
        parser.error(mistake)
    return vars(parser.parse_args(_with_values_of_flags(arguments)))


def _with_values_of_flags(arguments: Sequence[str]) -> list[str]:
    """`--flag=True` for a flag, which may also be followed by True or False, as every other option of truth is."""
    flags = {option_of(option.name) for option in options_of(OutputOptions) if _is_flag(option)}
    given: list[str] = []
    for argument in arguments:
        if given and given[-1] in flags:
            given[-1] += f"={argument}" if argument in ("True", "False") else "=True"
            if argument in ("True", "False"):
                continue
        given.append(argument)
    if given and given[-1] in flags:
        given[-1] += "=True"
    return given


def _is_flag(option: Option) -> bool:
    return option.command_line is not None and option.command_line.is_flag


def _wrong_command(arguments: Sequence[str], commands: Sequence[str]) -> str | None:
    """What is wrong with the word where a command belongs, or None."""
    first = arguments[0] if arguments else "--help"
    if first in (*commands, "-h", "--help", "--version"):
        return None
    is_file = first == STANDARD_INPUT or is_url(first) or os.path.exists(first)  # noqa: PTH110
    if is_file or (Path(first).suffix and not first.startswith("-")):
        return f"no command before {first!r}; to write down what it says: max-whisper transcribe {first}"
    if first.startswith("-"):
        return f"no command before {first}; options follow a command: max-whisper transcribe {first} ..."
    return f"no command is called {first!r}; {did_you_mean(first, commands) or 'there are ' + ', '.join(commands)}"


def decoding_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `TranscribeOptions` that the values of `transcribe`'s decoding options stand for.

    Raises WrongOptionError for an increment that leads to no temperature.
    """
    options = dict(values)
    temperatures = _temperatures(options.pop("temperature"), options.pop("temperature_increment_on_fallback"))
    options["temperature"] = temperatures
    has_a_use = {"beam_size": 0 in temperatures, "best_of": max(temperatures) > 0}
    for option in options_of(TranscribeOptions):
        if option.name in has_a_use:
            options.setdefault(option.name, option.command_line_default if has_a_use[option.name] else None)
    given = {option.name: options.pop(VAD_PREFIX + option.name) for option in options_of(VadParameters)}
    options["vad_parameters"] = {name: value for name, value in given.items() if value is not None} or None
    return options


def subtitle_options(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The options of the writers that are given, and warnings of those without effect.

    Raises WrongOptionError where one of them cannot be or lacks the words that it needs.
    """
    options = {name: values[name] for name in SUBTITLES if values[name] not in (None, False)}
    for name in options:
        if name in LINES and not values["word_timestamps"]:
            raise WrongOptionError(f"{name} requires word_timestamps=True")
    checked(SubtitleOptions, options)
    warnings = []
    if "max_line_count" in options and "max_line_width" not in options:
        warnings.append("max_line_count has no effect without max_line_width")
    if "max_words_per_line" in options and "max_line_width" in options:
        warnings.append("max_words_per_line has no effect with max_line_width")
    return options, warnings


def checked(options: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """An object of options. Raises WrongOptionError for values that cannot be."""
    try:
        return options(**values)
    except OptionError as error:
        raise WrongOptionError(str(error)) from error


def check_reading(options: ReadingOptions) -> None:
    """Raises WrongOptionError for options of reading that no file could take."""
    if options.sample_rate is not None and options.input_format is None:
        raise WrongOptionError("sample_rate: files state their own; it is for raw samples, give input_format too")


def _temperatures(first: float, increment: float | None) -> tuple[float, ...]:
    """From the first one up to 1.0 in steps of `increment`, as openai-whisper's command line counts them."""
    if increment is None or not math.isfinite(first) or first > 1:
        return (first,)
    checked(TemperatureOptions, {"temperature_increment_on_fallback": increment})
    import numpy as np

    return tuple(np.arange(first, 1.0 + 1e-6, increment).tolist())


def _add_transcribe(parser: CommandParser) -> None:
    parser.description = (
        "Write down what recordings say. Option names may be written with - or _; they and their defaults are "
        "openai-whisper's where it has them."
    )
    _add_files(parser)
    _add_options(parser, options_of(LoadOptions), at_once=True)
    options = [*options_of(OutputOptions), *options_of(TranscribeOptions), *options_of(WorkerOptions)]
    options += [_as_vad_option(option) for option in options_of(VadParameters)]
    options += options_of(SubtitleOptions)
    after = [option.name for option in options].index("temperature") + 1
    options[after:after] = options_of(TemperatureOptions)
    _add_options(parser, options)
    parser.preferred = {option.name for option in options if OPENAI in option.origin}
    parser.add_foreign_names()


def _add_language(parser: CommandParser) -> None:
    parser.description = "Tell which languages recordings are most probably in."
    _add_files(parser)
    _add_options(parser, options_of(LoadOptions), at_once=True)
    windows = _checking(int, integer("a number of windows of at least 1", 1))
    parser.add_argument(
        "--segments", type=windows, default=1, metavar="N", help="windows of 30 s to listen to (default: 1)"
    )
    _add_options(parser, options_of(ReadingOptions))
    parser.add_foreign_names()


def _add_compile(parser: CommandParser) -> None:
    parser.description = (
        "Compile for this machine what transcribe needs, and keep it in the cache folder. Official models need not be "
        "downloaded for it, and models of the same sizes share what is compiled."
    )
    parser.usage = "%(prog)s [OPTION ...] [MODEL ...]"
    parser.add_argument("models", nargs="*", metavar="MODEL", type=path_of, help="as --model of transcribe")
    by_name = {option.name: option for option in options_of(LoadOptions)}
    _add_options(parser, [by_name["device"]])
    types = by_name["compute_type"]
    several = f"one, or several with commas, of {', '.join(types.form.choices)}"
    form = replace(types.form, choices=(), metavar="TYPE,...")
    _add_options(parser, [replace(types, command_line=CommandLine(form=form, help=several))])


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show what the cache folder holds. MAX_WHISPER_CACHE names the folder, and MAX_WHISPER_CACHE_LIMIT its largest"
        " size (default: 20GB), beyond which what was used longest ago is removed. Downloaded models are removed only"
        " by --clear --all."
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--verify", action="store_true", help="read all files, and remove damaged ones; exit status 1 where one was"
    )
    action.add_argument("--clear", action="store_true", help="remove what is made again when it is needed")
    parser.add_argument("--all", action="store_true", help="with --clear: downloaded models too")


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [OPTION ...] FILE [FILE ...]"
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="audio or video file, folder of them or URL; - is standard input"
    )


def _as_vad_option(option: Option) -> Option:
    """A field of `vad_parameters` as an option: None where it is not given, with its default in the help."""
    default = "" if option.default in (None, math.inf) else f" (default: {option.default})"
    command_line = CommandLine(default=None, help=option.help + default)
    return replace(option, name=VAD_PREFIX + option.name, command_line=command_line)


def _add_options(parser: argparse.ArgumentParser, options: Iterable[Option], *, at_once: bool = False) -> None:
    """Add options to a parser, in the groups of their definitions.

    at_once: whether a value is checked as it is read, not only where it is used.
    """
    groups: dict[str, Any] = {}
    for option in options:
        if option.command_line is None:
            continue
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        form, default = option.command_line.form or option.form, option.command_line_default
        text = (option.command_line.help or option.help) + ("" if default is None else f" (default: {default})")
        groups[option.group].add_argument(
            option_of(option.name),
            *option.command_line.flags,
            default=argparse.SUPPRESS if option.command_line.is_late else default,
            help=text.replace("%", "%%"),
            **_reading(option.command_line, form, at_once),
        )


def _reading(command_line: CommandLine, form: Form, at_once: bool) -> dict[str, Any]:
    """How argparse reads an option's value, as keywords of `add_argument`."""
    read = _READERS[form.kind]
    if form.takes_none and form.kind in (str, Path):
        read = _or_none(read)
    if form.choices:
        return {"type": _checking(read, form), "metavar": f"{{{','.join(form.choices)}}}"}
    reading: dict[str, Any] = {"type": _checking(read, form) if at_once else read, "metavar": form.metavar}
    return {**reading, "action": _Collected} if command_line.is_repeatable else reading


class _Collected(argparse.Action):
    """The values of an option that may be given several times, as a list; its default is none of them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*(before if before is not self.default else ()), values])


def _checking(read: Callable[[str], Any], form: Form) -> Callable[[str], Any]:
    """Reads a value and checks it, with argparse's own message."""

    def checked_value(text: str) -> Any:
        try:
            return form.convert("", read(text))
        except ValueError:
            near = f"; {did_you_mean(text, form.choices)}" if did_you_mean(text, form.choices) else ""
            raise argparse.ArgumentTypeError(f"{form.expected}, got {text!r}{near}") from None
        except MaxWhisperError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked_value


def _true_or_false(text: str) -> bool:
    if text not in ("True", "False"):
        raise argparse.ArgumentTypeError(f"True or False, got {text!r}")
    return text == "True"


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text == "None" else read(text)


def _number_or_none(text: str) -> float | None:
    return None if text == "None" else float(text)


def _whole_or_none(text: str) -> int | None:
    return None if text == "None" else int(text)


# argparse's message: invalid number value: 'x'
_number_or_none.__name__ = "number"
_whole_or_none.__name__ = "whole number"

_READERS: dict[type, Callable[[str], Any]] = {
    bool: _true_or_false,
    float: _number_or_none,
    int: _whole_or_none,
    str: str,
    Path: path_of,
}
