"""Options drawn from their definitions: values that their forms take, and some that they do not."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from max_whisper.audio.vad.parameters import VadParameters
from max_whisper.definitions import Option, options_of
from max_whisper.errors import OptionError
from max_whisper.options import TranscribeOptions
from max_whisper.results.formats import SubtitleOptions

Generator = np.random.Generator

# Values by the kind of a form; whether one can be, the form says. Larger counts only take longer.
_VALUES: dict[type, tuple[Any, ...]] = {
    bool: (True, False),
    int: (0, 1, 2, 3, 4, 5, 6, 7, 8, np.int64(3)),
    float: (0, 0.0, 1e-9, 0.01, 0.1, 0.2, 0.35, 0.5, 0.6, 0.9, 1, 1.0, 1.5, 2.4, 10.0, 30.0, np.float32(0.7), math.inf),
    str: ("", "0", "1", "none", "a text"),
}
_WRONG: tuple[Any, ...] = (
    -1,
    -0.5,
    math.nan,
    math.inf,
    -math.inf,
    1e300,
    True,
    "yes",
    "",
    " ",
    "3",
    None,
    [],
    {},
    b"x",
    object(),
    10**30,
)

# What no form of its kind can draw.
_OWN: dict[str, tuple[Any, ...]] = {
    "language": ("en", "de", "German", "ENGLISH", "zh", "yue", "haw"),
    "temperature": (0, 0.0, 0.5, 1.0, (0.0, 0.4), (0.2, 1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], np.array([0.0, 1.0])),
    "suppress_tokens": ("-1", "", "50257", [-1], [0, 1, 2], [50256, 50257], "11,13,-1", (10**9,), None),
    "initial_prompt": ("good morning", "", " ", "ü 漢字 \U0001f600", "word " * 400, [50, 60], [51000], "a\0b\n\t"),
    "prefix": ("the weather", "", " ", "é", [50, 60, 70], "seven " * 300),
    "hotwords": ("seattle", "", "x " * 500, "漢字"),
    "clip_timestamps": ("0", "", "0,1", "1,2,2,3.5", [0.5], [0, 100], "2", "1000,2000", [0, 0.001], "0,1e9"),
    "prepend_punctuations": ("", "\"'", "«", "abc"),
    "append_punctuations": ("", ".,", "abc "),
    "sample_len": (1, 2, 10, 224, 448, 10_000),
    "max_new_tokens": (1, 2, 10, 224, 448, 10_000),
    "seed": (0, 1, 2**31, 2**64, 10**30),
    "max_speech_duration_s": (1.0, 2.5, 30.0, math.inf),
    "min_silence_duration_ms": (0, 1, 100, 500.5, 1e9),
    "speech_pad_ms": (0, 1, 30, 400, 1e9),
    "min_speech_duration_ms": (0, 1, 250, 1e9),
    "audio_track": (1, 2, "1", "eng", "und"),
    "channel": (1, 2, "left", "FR", "FC"),
    "input_format": ("s16le", "u8", "f32le", "mulaw"),
    "sample_rate": (1000, 8000, 16_000, 44_100, 768_000),
    "max_line_width": (1, 2, 20, 42, 10**9),
}


def drawn_value(rng: Generator, option: Option) -> Any:
    """A value that the option's form takes."""
    for _ in range(50):
        value = _any_value(rng, option)
        try:
            option.form.check(option.name, value)
        except OptionError:
            continue
        return value
    return option.default


def wrong_value(rng: Generator, option: Option) -> Any:
    """A value of which most forms take none."""
    return _WRONG[rng.integers(len(_WRONG))]


def _any_value(rng: Generator, option: Option) -> Any:
    if option.name == "vad_parameters":
        return drawn_keywords(rng, VadParameters, VadParameters)
    values = _OWN.get(option.name) or option.form.choices or _VALUES[option.form.kind]
    return values[rng.integers(len(values))] if rng.random() < 0.95 else option.default


def drawn_keywords(rng: Generator, options: type[Any], accept: Callable[..., Any], tries: int = 40) -> dict[str, Any]:
    """Up to six options of a dataclass that `accept` takes together; none where it takes nothing that was drawn."""
    definitions = options_of(options)
    for _ in range(tries):
        chosen = rng.permutation(len(definitions))[: rng.integers(0, 7)]
        keywords = {definitions[index].name: drawn_value(rng, definitions[index]) for index in chosen}
        try:
            accept(**keywords)
        except OptionError:
            continue
        return keywords
    return {}


def transcribe_keywords(rng: Generator) -> dict[str, Any]:
    """Options of a transcription that go together."""
    return drawn_keywords(rng, TranscribeOptions, TranscribeOptions)


def wrong_keywords(rng: Generator) -> dict[str, Any]:
    """Options of a transcription one of which is, most probably, wrong."""
    keywords = transcribe_keywords(rng)
    definitions = options_of(TranscribeOptions)
    option = definitions[rng.integers(len(definitions))]
    name = option.name if rng.random() < 0.9 else f"{option.name}s"
    return keywords | {name: wrong_value(rng, option)}


def subtitle_keywords(rng: Generator) -> dict[str, Any]:
    """Options of the writers."""
    return drawn_keywords(rng, SubtitleOptions, SubtitleOptions)
