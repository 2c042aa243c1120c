"""The forms of the options that no other option shares: languages, temperatures, clips, tokens and texts."""

import math
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from max_whisper.checks import Form, is_integer, is_number
from max_whisper.errors import OptionError
from max_whisper.models.whisper.languages import language_code

# What a vocabulary has a token for, and what therefore cannot be part of a text.
_SPECIAL_TOKEN = re.compile(
    r"<\|(endoftext|startoftranscript|translate|transcribe|startoflm|startofprev|nospeech|notimestamps"
    r"|[a-z]{2,3}|\d\d?\.\d\d)\|>"
)


def _language(name: str, value: Any) -> str | None:
    if not isinstance(value, str):
        raise ValueError
    # Other programs write so that the language is to be detected.
    return None if value.strip().lower() == "auto" else language_code(value)


def _temperature(name: str, value: Any) -> tuple[float, ...]:
    numbers = (value,) if is_number(value) else tuple(value)
    if not numbers or not all(is_number(number) and 0 <= number < math.inf for number in numbers):
        raise ValueError
    return tuple(float(number) for number in numbers)


def _clip_timestamps(name: str, value: Any) -> tuple[float, ...]:
    seconds = _comma_separated(value, float) if isinstance(value, str) else list(value)
    if not all(is_number(time) and 0 <= time < math.inf for time in seconds):
        raise ValueError
    for index, (before, after) in enumerate(pairwise(seconds)):
        is_clip = index % 2 == 0
        if after < before or (is_clip and after == before):
            what = f"the clip from {before:g} ends at {after:g}" if is_clip else f"{after:g} comes after {before:g}"
            raise OptionError(f"{name}: times in seconds must ascend, but {what}")
    return tuple(float(time) for time in seconds) or (0.0,)


def _suppress_tokens(name: str, value: Any) -> tuple[int, ...]:
    tokens = _comma_separated(value, int) if isinstance(value, str) else list(() if value is None else value)
    return _whole_numbers(tokens, least=-1)


def _comma_separated(text: str, of: type[int] | type[float]) -> list[Any]:
    return [of(number) for number in text.split(",")] if text.strip() else []


def _whole_numbers(values: Iterable[Any], least: int) -> tuple[int, ...]:
    numbers = tuple(values)
    if not all(is_integer(number) and number >= least for number in numbers):
        raise ValueError
    return tuple(int(number) for number in numbers)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    special = _SPECIAL_TOKEN.search(value)
    if special:
        raise OptionError(f"{name}: a text cannot contain the special token {special[0]}; leave it away")
    return value


def _text_or_tokens(name: str, value: Any) -> str | tuple[int, ...] | None:
    return _text(name, value) if isinstance(value, str) else _whole_numbers(value, least=0) or None


def _prefix(name: str, value: Any) -> str | tuple[int, ...] | None:
    # An empty prefix is none, as in openai-whisper; an empty initial_prompt is a space there.
    return _text_or_tokens(name, value) or None


def _hotwords(name: str, value: Any) -> str | None:
    return _text(name, value).strip() or None


def _characters(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


LANGUAGE = Form("a code, a name, or auto", str, "LANGUAGE", _language)
TEMPERATURE = Form("a number of at least 0, or a list of them", float, "NUMBER", _temperature)
CLIPS = Form("seconds as 'start,end,start,end' or a list of them", str, "LIST", _clip_timestamps)
TOKEN_NUMBERS = Form("token numbers, -1 for the usual ones, or None", str, "LIST", _suppress_tokens, takes_none=True)
PROMPT = Form("a string or token numbers", str, "TEXT", _text_or_tokens)
PREFIX = Form("a string or token numbers", str, "TEXT", _prefix)
HOTWORDS = Form("a string", str, "TEXT", _hotwords)
CHARACTERS = Form("a string of characters", str, "TEXT", _characters)
