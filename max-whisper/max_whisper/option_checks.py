"""Which values an option may have, the one form in which each is kept, and which options go together."""

import math
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from max_whisper.errors import OptionError
from max_whisper.tokenizer import language_code

if TYPE_CHECKING:
    from max_whisper.options import TranscribeOptions

# Takes an option's name and value and returns the value in its form; raises OptionError for one that cannot be.
Form = Callable[[str, Any], Any]

# What a vocabulary has a token for, and what therefore cannot be part of a text.
_SPECIAL_TOKEN = re.compile(
    r"<\|(endoftext|startoftranscript|translate|transcribe|startoflm|startofprev|nospeech|notimestamps"
    r"|[a-z]{2,3}|\d\d?\.\d\d)\|>"
)


def _wrong(name: str, expected: str, value: object) -> OptionError:
    shown = " ".join(repr(value).split())
    return OptionError(f"{name}: {expected}, got {shown if len(shown) <= 100 else shown[:97] + '...'}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "True or False", value)
    return value


def _number(expected: str, accepts: Callable[[float], bool] = lambda number: True) -> Form:
    def form(name: str, value: Any) -> float:
        if not (_is_number(value) and accepts(float(value))):
            raise _wrong(name, expected, value)
        return float(value)

    return form


def _integer(expected: str, least: int) -> Form:
    def form(name: str, value: Any) -> int:
        if not (_is_integer(value) and value >= least):
            raise _wrong(name, expected, value)
        return int(value)

    return form


def _optional(form: Form) -> Form:
    return lambda name, value: None if value is None else form(name, value)


def _language(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "a code or a name", value)
    return language_code(value)


def _task(name: str, value: Any) -> str:
    if value not in ("transcribe", "translate"):
        raise _wrong(name, "'transcribe' or 'translate'", value)
    return str(value)


def _temperature(name: str, value: Any) -> tuple[float, ...]:
    wrong = _wrong(name, "a number of at least 0, or a list of them", value)
    try:
        numbers = (value,) if _is_number(value) else tuple(value)
    except TypeError:
        raise wrong from None
    if not numbers or not all(_is_number(number) and 0 <= number < math.inf for number in numbers):
        raise wrong
    return tuple(float(number) for number in numbers)


def _clip_timestamps(name: str, value: Any) -> tuple[float, ...]:
    wrong = _wrong(name, "seconds as 'start,end,start,end' or a list of them", value)
    try:
        seconds = _comma_separated(value, float) if isinstance(value, str) else list(value)
    except (TypeError, ValueError):
        raise wrong from None
    if not all(_is_number(time) and 0 <= time < math.inf for time in seconds):
        raise wrong
    for index, (before, after) in enumerate(pairwise(seconds)):
        is_clip = index % 2 == 0
        if after < before or (is_clip and after == before):
            what = f"the clip from {before:g} ends at {after:g}" if is_clip else f"{after:g} comes after {before:g}"
            raise OptionError(f"{name}: times in seconds must ascend, but {what}")
    return tuple(float(time) for time in seconds) or (0.0,)


def _suppress_tokens(name: str, value: Any) -> tuple[int, ...]:
    wrong = _wrong(name, "token numbers, -1 for the usual ones, or None", value)
    try:
        tokens = _comma_separated(value, int) if isinstance(value, str) else list(() if value is None else value)
    except (TypeError, ValueError):
        raise wrong from None
    if not all(_is_integer(token) and token >= -1 for token in tokens):
        raise wrong
    return tuple(int(token) for token in tokens)


def _comma_separated(text: str, of: type[int] | type[float]) -> list[Any]:
    return [of(number) for number in text.split(",")] if text.strip() else []


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "a string", value)
    special = _SPECIAL_TOKEN.search(value)
    if special:
        raise OptionError(f"{name}: a text cannot contain the special token {special[0]}; leave it away")
    return value


def _text_or_tokens(name: str, value: Any) -> str | tuple[int, ...] | None:
    if isinstance(value, str):
        return _text(name, value)
    wrong = _wrong(name, "a string or token numbers", value)
    try:
        tokens = tuple(value)
    except TypeError:
        raise wrong from None
    if not all(_is_integer(token) and token >= 0 for token in tokens):
        raise wrong
    return tuple(int(token) for token in tokens) or None


def _prefix(name: str, value: Any) -> str | tuple[int, ...] | None:
    # An empty prefix is none, as in openai-whisper; an empty initial_prompt is a space there.
    return _text_or_tokens(name, value) or None


def _hotwords(name: str, value: Any) -> str | None:
    return _text(name, value).strip() or None


def _characters(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "a string of characters", value)
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
    from max_whisper.vad import BATCHED, VadParameters

    return VadParameters.from_value(value, BATCHED if in_batches else None)


def conflicts(options: "TranscribeOptions") -> Iterator[str]:
    """What is wrong with options that are right one by one, a line for each."""
    greedy, sampling = 0 in options.temperatures, max(options.temperatures) > 0
    if options.beam_size is not None and not greedy:
        yield "beam_size: beams are searched at temperature 0; add it to temperature, or give best_of instead"
    if options.patience is not None:
        if options.beam_size is None:
            yield "patience: it is beam search's; give beam_size too"
        elif round(options.beam_size * options.patience) < 1:
            yield f"patience: {options.beam_size} beams times {options.patience:g} are less than one; give a higher one"
    for name in ("best_of", "top_p"):
        if getattr(options, name) is not None and not sampling:
            yield f"{name}: tokens are drawn at temperatures above 0; add one to temperature, or leave {name} away"
    if None not in (options.sample_len, options.max_new_tokens) and options.sample_len != options.max_new_tokens:
        yield f"max_new_tokens: it is {options.max_new_tokens}, but sample_len {options.sample_len}; give one of them"
    if options.carry_initial_prompt and options.initial_prompt is None:
        yield "carry_initial_prompt: there is none; give initial_prompt too"
    if options.hotwords is not None and options.prefix is not None:
        yield "hotwords: they do nothing where every text begins with a prefix; give one of them"
    if options.multilingual and options.language is not None:
        yield "multilingual: the language is detected in each window; leave language away"
    if options.hallucination_silence_threshold is not None and not options.word_timestamps:
        yield "hallucination_silence_threshold: it judges by the words; set word_timestamps to True too"
    if options.vad_parameters is not None and not options.vad_filter and options.batch_size is None:
        yield "vad_parameters: speech is not looked for; set vad_filter to True or give batch_size too"
    if options.clips != (0.0,):
        for name in ("vad_filter", "batch_size"):
            if getattr(options, name):
                yield f"clip_timestamps: the clips or speech that is found, not both; leave {name} away"
