"""Which values an option may have, the one form in which each is kept."""

import math
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from max_whisper.checks import is_integer, is_number, wrong_value
from max_whisper.errors import OptionError
from max_whisper.models.whisper.languages import language_code

# Takes an option's name and value and returns the value in its form; raises OptionError for one that cannot be.
Form = Callable[[str, Any], Any]

# What a vocabulary has a token for, and what therefore cannot be part of a text.
_SPECIAL_TOKEN = re.compile(
    r"<\|(endoftext|startoftranscript|translate|transcribe|startoflm|startofprev|nospeech|notimestamps"
    r"|[a-z]{2,3}|\d\d?\.\d\d)\|>"
)


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong_value(name, "True or False", value)
    return value


def _number(expected: str, accepts: Callable[[float], bool] = lambda number: True) -> Form:
    def form(name: str, value: Any) -> float:
        if not (is_number(value) and accepts(float(value))):
            raise wrong_value(name, expected, value)
        return float(value)

    return form


def _integer(expected: str, least: int) -> Form:
    def form(name: str, value: Any) -> int:
        if not (is_integer(value) and value >= least):
            raise wrong_value(name, expected, value)
        return int(value)

    return form


def _optional(form: Form) -> Form:
    return lambda name, value: None if value is None else form(name, value)


def _language(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_value(name, "a code or a name", value)
    return language_code(value)


def _task(name: str, value: Any) -> str:
    if value not in ("transcribe", "translate"):
        raise wrong_value(name, "'transcribe' or 'translate'", value)
    return str(value)


def _temperature(name: str, value: Any) -> tuple[float, ...]:
    wrong = wrong_value(name, "a number of at least 0, or a list of them", value)
    try:
        numbers = (value,) if is_number(value) else tuple(value)
    except TypeError:
        raise wrong from None
    if not numbers or not all(is_number(number) and 0 <= number < math.inf for number in numbers):
        raise wrong
    return tuple(float(number) for number in numbers)


def _clip_timestamps(name: str, value: Any) -> tuple[float, ...]:
    wrong = wrong_value(name, "seconds as 'start,end,start,end' or a list of them", value)
    try:
        seconds = _comma_separated(value, float) if isinstance(value, str) else list(value)
    except (TypeError, ValueError):
        raise wrong from None
    if not all(is_number(time) and 0 <= time < math.inf for time in seconds):
        raise wrong
    for index, (before, after) in enumerate(pairwise(seconds)):
        is_clip = index % 2 == 0
        if after < before or (is_clip and after == before):
            what = f"the clip from {before:g} ends at {after:g}" if is_clip else f"{after:g} comes after {before:g}"
            raise OptionError(f"{name}: times in seconds must ascend, but {what}")
    return tuple(float(time) for time in seconds) or (0.0,)


def _suppress_tokens(name: str, value: Any) -> tuple[int, ...]:
    wrong = wrong_value(name, "token numbers, -1 for the usual ones, or None", value)
    try:
        tokens = _comma_separated(value, int) if isinstance(value, str) else list(() if value is None else value)
    except (TypeError, ValueError):
        raise wrong from None
    if not all(is_integer(token) and token >= -1 for token in tokens):
        raise wrong
    return tuple(int(token) for token in tokens)


def _comma_separated(text: str, of: type[int] | type[float]) -> list[Any]:
    return [of(number) for number in text.split(",")] if text.strip() else []


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_value(name, "a string", value)
    special = _SPECIAL_TOKEN.search(value)
    if special:
        raise OptionError(f"{name}: a text cannot contain the special token {special[0]}; leave it away")
    return value


def _text_or_tokens(name: str, value: Any) -> str | tuple[int, ...] | None:
    if isinstance(value, str):
        return _text(name, value)
    wrong = wrong_value(name, "a string or token numbers", value)
    try:
        tokens = tuple(value)
    except TypeError:
        raise wrong from None
    if not all(is_integer(token) and token >= 0 for token in tokens):
        raise wrong
    return tuple(int(token) for token in tokens) or None


def _prefix(name: str, value: Any) -> str | tuple[int, ...] | None:
    # An empty prefix is none, as in openai-whisper; an empty initial_prompt is a space there.
    return _text_or_tokens(name, value) or None


def _hotwords(name: str, value: Any) -> str | None:
    return _text(name, value).strip() or None


def _characters(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_value(name, "a string of characters", value)
    return value


_THRESHOLD = _optional(_number("a number or None"))
_TOKENS = _optional(_integer("a number of tokens of at least 1, or None", 1))

# The form of each option; every field of TranscribeOptions has one, but for vad_parameters, whose defaults depend on
# another (`vad_form`).
FORMS: dict[str, Form] = {
    "language": _optional(_language),
    "task": _task,
    "multilingual": _boolean,
    "language_detection_segments": _integer("a number of windows of at least 1", 1),
    "temperature": _temperature,
    "best_of": _optional(_integer("a number of samples of at least 1, or None", 1)),
    "beam_size": _optional(_integer("a number of beams of at least 1, or None", 1)),
    "patience": _optional(_number("a number above 0, or None", lambda number: 0 < number < math.inf)),
    "length_penalty": _optional(_number("a number from 0 to 1, or None", lambda number: 0 <= number <= 1)),
    "top_p": _optional(_number("a probability above 0 and at most 1, or None", lambda number: 0 < number <= 1)),
    "repetition_penalty": _number("a number above 0; 1 changes nothing", lambda number: 0 < number < math.inf),
    "no_repeat_ngram_size": _integer("a number of tokens; 0 forbids nothing", 0),
    "seed": _integer("a whole number of at least 0", 0),
    "sample_len": _TOKENS,
    "max_new_tokens": _TOKENS,
    "compression_ratio_threshold": _THRESHOLD,
    "logprob_threshold": _THRESHOLD,
    "no_speech_threshold": _THRESHOLD,
    "initial_prompt": _optional(_text_or_tokens),
    "carry_initial_prompt": _boolean,
    "condition_on_previous_text": _boolean,
    "prompt_reset_on_temperature": _number("a temperature of at least 0", lambda number: number >= 0),
    "prefix": _optional(_prefix),
    "hotwords": _optional(_hotwords),
    "suppress_tokens": _suppress_tokens,
    "suppress_blank": _boolean,
    "without_timestamps": _boolean,
    "max_initial_timestamp": _optional(_number("seconds from 0 to 30, or None", lambda number: 0 <= number <= 30)),
    "word_timestamps": _boolean,
    "prepend_punctuations": _characters,
    "append_punctuations": _characters,
    "hallucination_silence_threshold": _optional(
        _number("seconds of at least 0, or None", lambda number: 0 <= number < math.inf)
    ),
    "clip_timestamps": _clip_timestamps,
    "vad_filter": _boolean,
    "batch_size": _optional(_integer("a number of windows of at least 1, or None", 1)),
}


def vad_form(value: Any, *, in_batches: bool) -> Any:
    """`vad_parameters` as VadParameters: what is given, over the defaults of its use; None stays."""
    if value is None:
        return None
    from max_whisper.audio.vad import BATCHED, VadParameters

    return VadParameters.from_value(value, BATCHED if in_batches else None)
