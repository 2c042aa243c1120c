"""The arguments of the command line: their names, defaults and help, and the package's options that they stand for.

Names and defaults are those of openai-whisper's command line where it has them (whisper/transcribe.py, cli). Nothing
but the standard library is imported at the top, so that `--help` and a mistake in an option answer at once.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

from max_whisper.errors import OptionError
from max_whisper.options.parser import CommandParser
from max_whisper.version import __version__

DEMONSTRATION_MODEL = "nano"
STANDARD_INPUT = "-"

# What beam_size and best_of are where they are not given and the temperatures have a use for them.
DEFAULT_GROUP = 5

# The smallest step from one temperature to the next: 101 temperatures.
LEAST_INCREMENT = 0.01

VAD_PARAMETERS = (
    "threshold",
    "neg_threshold",
    "min_speech_duration_ms",
    "max_speech_duration_s",
    "min_silence_duration_ms",
    "speech_pad_ms",
    "min_silence_at_max_speech",
    "use_max_poss_sil_at_max_speech",
)
SUBTITLE_OPTIONS = ("highlight_words", "max_line_count", "max_line_width", "max_words_per_line")


class WrongOptionError(OptionError):
    """An option of the command line with a value that cannot be, whatever the model and the files."""


def parse(arguments: Sequence[str], measurements: Mapping[str, str]) -> dict[str, Any]:
    """The values of a command line; `command` is the command's name.

    arguments: options with hyphens. measurements: further commands and what they do, for the help.
    Raises SystemExit once help, the version or one line about a mistake has been printed.
    """
    parser = CommandParser(prog="max-whisper", description="OpenAI Whisper speech recognition on MAX Graph.")
    parser.add_argument("--version", action="version", version=f"max-whisper {__version__}")
    commands: Any = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    transcribing = commands.add_parser("transcribe", help="write down what recordings say", formatter_class=_Formatter)
    _add_transcribe(transcribing)
    language = commands.add_parser("language", help="tell the language of recordings", formatter_class=_Formatter)
    _add_language(language)
    compiling = commands.add_parser(
        "compile", help="compile ahead what transcribe needs, with no network", formatter_class=_Formatter
    )
    _add_compile(compiling)
    models = commands.add_parser("models", help="list the known models and what the cache holds")
    models.add_argument("list", nargs="?", choices=["list"], help=argparse.SUPPRESS)
    for command in (transcribing, language, compiling, models):
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for name, purpose in measurements.items():
        commands.add_parser(name, help=purpose)
    return vars(parser.parse_args(arguments))


def decoding_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `options.TranscribeOptions` that the values of `transcribe`'s decoding options stand for.

    Raises WrongOptionError for an increment that leads to no temperature.
    """
    options = dict(values)
    temperatures = _temperatures(options.pop("temperature"), options.pop("temperature_increment_on_fallback"))
    options["temperature"] = temperatures
    options.setdefault("beam_size", DEFAULT_GROUP if 0 in temperatures else None)
    options.setdefault("best_of", DEFAULT_GROUP if max(temperatures) > 0 else None)
    given = {name: options.pop(f"vad_{name}") for name in VAD_PARAMETERS}
    options["vad_parameters"] = {name: value for name, value in given.items() if value is not None} or None
    return options


def subtitle_options(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Which options of the writers are given, and warnings of those without effect.

    Raises WrongOptionError where one of them lacks the words that it needs.
    """
    options = {name: values[name] for name in SUBTITLE_OPTIONS if values[name]}
    for name in options:
        if not values["word_timestamps"]:
            raise WrongOptionError(f"{name} requires word_timestamps; add --word-timestamps True")
        if options[name] < 1:
            raise WrongOptionError(f"{name}: a number of at least 1, or None, got {options[name]}")
    warnings = []
    if "max_line_count" in options and "max_line_width" not in options:
        warnings.append("max_line_count has no effect without max_line_width")
    if "max_words_per_line" in options and "max_line_width" in options:
        warnings.append("max_words_per_line has no effect with max_line_width")
    return options, warnings


def _temperatures(first: float, increment: float | None) -> tuple[float, ...]:
    """From the first one up to 1.0 in steps of `increment`, as openai-whisper's command line counts them."""
    if increment is None or not math.isfinite(first) or first > 1:
        return (first,)
    if not LEAST_INCREMENT <= increment < math.inf:
        expected = f"a number of at least {LEAST_INCREMENT:g}, or None"
        raise WrongOptionError(f"temperature_increment_on_fallback: {expected}, got {increment:g}")
    import numpy as np

    return tuple(np.arange(first, 1.0 + 1e-6, increment).tolist())


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help with the defaults, except where there is nothing by default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def _true_or_false(text: str) -> bool:
    if text not in ("True", "False"):
        raise argparse.ArgumentTypeError(f"True or False, got {text!r}")
    return text == "True"


def _number_or_none(text: str) -> float | None:
    return None if text == "None" else float(text)


def _whole_or_none(text: str) -> int | None:
    return None if text == "None" else int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a number of at least 1, or 0 for as many as there are cores, got {text!r}")
    return int(text)


# argparse's message: invalid number value: 'x'
_number_or_none.__name__ = "number"
_whole_or_none.__name__ = "whole number"

_BOOLEAN: dict[str, Any] = {"type": _true_or_false, "metavar": "True|False"}
_NUMBER: dict[str, Any] = {"type": _number_or_none, "metavar": "NUMBER"}
_WHOLE: dict[str, Any] = {"type": _whole_or_none, "metavar": "N"}
_SECONDS: dict[str, Any] = {"type": _number_or_none, "metavar": "SECONDS"}
_MILLISECONDS: dict[str, Any] = {"type": _number_or_none, "metavar": "MS"}
_TEXT: dict[str, Any] = {"default": None, "metavar": "TEXT"}


def _add_model(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    parser.usage = "%(prog)s [OPTION ...] FILE [FILE ...]"
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio or video file; - is standard input")
    add = parser.add_argument_group("model").add_argument
    help_text = "name, .pt file, Hugging Face folder or repository id"
    if not required:
        help_text += f" (default: {DEMONSTRATION_MODEL}, a small model for demonstration)"
    add("--model", default=argparse.SUPPRESS, required=required, help=help_text)
    add(
        "--backend",
        default="max",
        choices=["max", "hybrid", "torch"],
        help="encoder and decoder on MAX, the encoder alone, or openai-whisper itself",
    )
    add("--device", default="auto", choices=["auto", "cpu", "gpu"], help="auto is a GPU where there is one")
    add("--compute-type", default="auto", choices=["auto", "float32", "bfloat16", "int8"], help="auto is float32 today")
    add("--threads", type=_count, default=0, metavar="N", help="most threads of the CPU; 0 is one for each core")


def _add_language(parser: CommandParser) -> None:
    parser.description = "Tell which languages recordings are most probably in."
    _add_model(parser, required=True)
    parser.add_argument("--segments", type=int, default=1, metavar="N", help="windows of 30 s to listen to")
    parser.add_foreign_names()


def _add_compile(parser: CommandParser) -> None:
    parser.description = (
        "Compile for this machine what transcribe needs, and keep it in the cache folder. Official models need not be "
        "downloaded for it, and models of the same sizes share what is compiled."
    )
    parser.usage = "%(prog)s [OPTION ...] MODEL [MODEL ...]"
    parser.add_argument("models", nargs="+", metavar="MODEL", help="as --model of transcribe")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "gpu"], help="as of transcribe")
    help_text = "one, or several with commas, of float32, bfloat16 and int8; auto is float32 today"
    parser.add_argument("--compute-type", default="auto", metavar="TYPE,...", help=help_text)


def _add_transcribe(parser: CommandParser) -> None:
    parser.description = (
        "Write down what recordings say. Option names may be written with - or _; they and their defaults are "
        "openai-whisper's where it has them."
    )
    _add_model(parser)

    add = parser.add_argument_group("output").add_argument
    add("--output-dir", "-o", default=".", metavar="FOLDER", help="folder for the files, made where it is missing")
    formats = ["txt", "vtt", "srt", "tsv", "json", "all"]
    add("--output-format", "-f", default="all", choices=formats, help="format of the files")
    add("--verbose", default=True, **_BOOLEAN, help="print the segments as they come")

    add = parser.add_argument_group("language").add_argument
    add(
        "--task", default="transcribe", choices=["transcribe", "translate"], help="write the language spoken or English"
    )
    add("--language", default=None, help="code or English name of the language spoken; detected where it is not given")
    add("--multilingual", default=False, **_BOOLEAN, help="detect the language again every 30 s")
    add("--language-detection-segments", default=1, **_WHOLE, help="detect it in the first N windows of 30 s")

    _add_choosing(parser.add_argument_group("choosing tokens").add_argument)

    add = parser.add_argument_group("repetition and silence (None switches a threshold off)").add_argument
    add(
        "--compression-ratio-threshold",
        default=2.4,
        **_NUMBER,
        help="a text that compresses better is a repetition: try the next temperature",
    )
    add(
        "--logprob-threshold",
        default=-1.0,
        **_NUMBER,
        help="a text with a lower mean log probability is improbable: try the next temperature",
    )
    add(
        "--no-speech-threshold",
        default=0.6,
        **_NUMBER,
        help="a window more probably without speech is silence, unless its text is probable",
    )

    add = parser.add_argument_group("prompts").add_argument
    add("--initial-prompt", "--prompt", **_TEXT, help="what was said before: names, words and style to expect")
    add("--carry-initial-prompt", default=False, **_BOOLEAN, help="repeat the initial prompt before every window")
    help_text = "the text so far is the prompt of the next window"
    add("--condition-on-previous-text", default=True, **_BOOLEAN, help=help_text)
    help_text = "forget the text so far after a window decoded at a higher temperature"
    add("--prompt-reset-on-temperature", default=0.5, **_NUMBER, help=help_text)
    add("--prefix", **_TEXT, help="how the text of every window begins")
    add("--hotwords", **_TEXT, help="words to expect, in the prompt of every window")

    _add_times(parser)

    add = parser.add_argument_group("parts of the recording").add_argument
    help_text = "start,end,start,end,... in seconds of what to transcribe; without the last end to the end of the file"
    add("--clip-timestamps", default="0", metavar="LIST", help=help_text)
    add(
        "--batch-size",
        default=None,
        **_WHOLE,
        help="decode N windows at once: of several files, each as it is alone, or stretches of one file's speech",
    )
    help_text = "processes that transcribe several files side by side, each on its share of the cores"
    add("--workers", type=_count, default=1, metavar="N", help=help_text)
    add("--vad-filter", default=False, **_BOOLEAN, help="cut out what is no speech (Silero VAD)")
    add("--vad-threshold", **_NUMBER, help="probability from which on a sound is speech (0.5)")
    add("--vad-neg-threshold", **_NUMBER, help="probability below which speech ends (0.15 less)")
    add("--vad-min-speech-duration-ms", **_MILLISECONDS, help="speech not longer is left out (0)")
    add("--vad-max-speech-duration-s", **_SECONDS, help="longer speech is cut at a silence (no limit)")
    add("--vad-min-silence-duration-ms", **_MILLISECONDS, help="shorter silence ends no speech (2000; in a batch 160)")
    add("--vad-speech-pad-ms", **_MILLISECONDS, help="kept before and after speech (400)")
    add("--vad-min-silence-at-max-speech", **_MILLISECONDS, help="a silence at which longer speech may be cut (98)")
    add("--vad-use-max-poss-sil-at-max-speech", **_BOOLEAN, help="at its longest silence, not its last (True)")
    parser.add_foreign_names()


def _add_choosing(add: Any) -> None:
    add("--temperature", type=float, default=0.0, metavar="NUMBER", help="0 takes the most probable tokens")
    add(
        "--temperature-increment-on-fallback",
        default=0.2,
        **_NUMBER,
        help="step to the next temperature, up to 1, where a text is a repetition or improbable; None tries no other",
    )
    default = f"; None takes one (default: {DEFAULT_GROUP})"
    help_text = "hypotheses of the beam search at temperature 0" + default
    add("--beam-size", default=argparse.SUPPRESS, **_WHOLE, help=help_text)
    help_text = "texts drawn at a temperature above 0, the most probable of which is kept" + default
    add("--best-of", default=argparse.SUPPRESS, **_WHOLE, help=help_text)
    add("--patience", default=None, **_NUMBER, help="search until beam size times this many texts have ended")
    add("--length-penalty", default=None, **_NUMBER, help="0 to 1; the higher, the more a longer text is preferred")
    add("--top-p", default=None, **_NUMBER, help="draw from the most probable tokens that reach this probability")
    add("--repetition-penalty", default=1.0, **_NUMBER, help="above 1, tokens that were there before are less probable")
    add("--no-repeat-ngram-size", default=0, **_WHOLE, help="no run of N tokens comes twice in a window; 0 allows all")
    add("--seed", default=0, **_WHOLE, help="of the random numbers; the same gives the same text again")
    add("--sample-len", default=None, **_WHOLE, help="most tokens of a window (default: half of the context, 224)")
    add("--max-new-tokens", default=None, **_WHOLE, help="the same, but never shortens the prefix")
    help_text = "token numbers never chosen, with commas; -1 is what is written but not spoken"
    add("--suppress-tokens", default="-1", metavar="LIST", help=help_text)
    add("--suppress-blank", default=True, **_BOOLEAN, help="no window begins with a blank or ends at once")


def _add_times(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("times and words").add_argument
    add("--without-timestamps", default=False, **_BOOLEAN, help="one segment for each 30 s, without times inside it")
    help_text = "the first timestamp of a window is at most this; None sets no limit"
    add("--max-initial-timestamp", default=1.0, **_SECONDS, help=help_text)
    add("--word-timestamps", default=False, **_BOOLEAN, help="find the times of each word")
    help_text = "characters that belong to the next word"
    add("--prepend-punctuations", default="\"'“¿([{-", metavar="TEXT", help=help_text)
    help_text = "characters that belong to the word before"
    add("--append-punctuations", default="\"'.。,，!！?？:：”)]}、", metavar="TEXT", help=help_text)  # noqa: RUF001
    add(
        "--hallucination-silence-threshold",
        default=None,
        **_SECONDS,
        help="skip a longer silence around words that look made up (needs --word-timestamps True)",
    )
    add = parser.add_argument_group("subtitles (with --word-timestamps True)").add_argument
    add("--highlight-words", default=False, **_BOOLEAN, help="underline each word as it is spoken, in srt and vtt")
    add("--max-line-width", default=None, **_WHOLE, help="most characters of a line")
    add("--max-line-count", default=None, **_WHOLE, help="most lines of a subtitle (with --max-line-width)")
    add("--max-words-per-line", default=None, **_WHOLE, help="most words of a subtitle (without --max-line-width)")
