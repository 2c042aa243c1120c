"""Messages of the library in the words of the command line: --vad-filter True for vad_filter=True."""

from __future__ import annotations

import re

from max_whisper.audio.vad.parameters import VadParameters
from max_whisper.cli.options import VAD_PREFIX, OutputOptions, TemperatureOptions, WorkerOptions
from max_whisper.definitions import options_of
from max_whisper.options import LoadOptions, TranscribeOptions
from max_whisper.options.parser import option_of
from max_whisper.results.formats import SubtitleOptions

_CLASSES = (TranscribeOptions, LoadOptions, SubtitleOptions, OutputOptions, WorkerOptions, TemperatureOptions)
_NAMES = {option.name for options in _CLASSES for option in options_of(options) if option.command_line is not None}
_VAD_NAMES = {option.name for option in options_of(VadParameters)}

# Names that are words of a sentence too: they are options at the beginning of a message and before a = only.
_WORDS = {name for name in _NAMES if "_" not in name} - {"chunking", "hotwords"}
_ANYWHERE = "|".join(sorted(_NAMES - _WORDS, key=len, reverse=True))
_WITH_VALUE = re.compile(rf"(?<![\w'\"/.-])({'|'.join(sorted(_NAMES, key=len, reverse=True))})=(['\"]?)([\w.-]+)\2")
_QUOTED = re.compile(r"((?<!\w)'[^']*')")
_NAMED = re.compile(rf"(?<![\w'\"/.-])({_ANYWHERE})(?![\w'\"/=])")


def command_line_words(message: str) -> str:
    """A message about options, with their names as the command line has them. What stands in quotes is the user's."""
    if vad := re.match(r"vad_parameters: (no field )?'?(\w+)'?", message):
        if vad[2] in _VAD_NAMES:
            message = option_of(VAD_PREFIX + vad[2]) + ":" + message[vad.end() :]
        else:
            message = message.replace("vad_parameters:", "--vad-...:", 1)
    beginning = re.match(r"(\w+)(?=:|,| requires| has no effect)", message)
    if beginning and beginning[1] in _NAMES:
        message = option_of(beginning[1]) + message[beginning.end() :]
    return "".join(part if part.startswith("'") else _translated(part) for part in _QUOTED.split(message))


def _translated(text: str) -> str:
    text = _WITH_VALUE.sub(lambda found: f"{option_of(found[1])} {found[3]}", text)
    return _NAMED.sub(lambda found: option_of(found[1]), text)
