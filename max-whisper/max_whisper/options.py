"""The options of a transcription, under openai-whisper's names."""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, cast

from max_whisper.dimensions import ModelDimensions
from max_whisper.errors import OptionError
from max_whisper.tokenizer import LANGUAGES, language_code

TASKS = ("transcribe", "translate")


@dataclass(frozen=True)
class TranscribeOptions:
    """What to write down and how to decode it; the defaults are openai-whisper's at temperature 0.

    Values are checked as the object is made, and against a model's vocabulary by `resolve`; both raise OptionError
    with one line that begins with the option's name.
    """

    # language spoken: a code or an English name in any case, kept as the code; None detects it from the first 30 s
    language: str | None = None

    # "transcribe" writes the language spoken, "translate" writes English
    task: str = "transcribe"

    # softmax temperature; 0.0 takes the most probable token
    temperature: float = 0.0

    # True forbids timestamps: one segment for each window of 30 s
    without_timestamps: bool = False

    # whether the text of earlier windows is the prompt of the next one
    condition_on_previous_text: bool = True

    # probability of <|nospeech|> above which a window is silence, unless its avg_logprob is above logprob_threshold;
    # None never skips a window
    no_speech_threshold: float | None = 0.6

    # natural logarithm, mean over the tokens of a window; None lets no_speech_threshold decide alone
    logprob_threshold: float | None = -1.0

    # bytes of text for each byte of it compressed by zlib, above which a further temperature is tried; with a single
    # temperature it changes nothing, as in openai-whisper
    compression_ratio_threshold: float | None = 2.4

    # tokens that are never chosen: numbers, or a string of them with commas; -1 stands for what is written but not
    # spoken (Tokenizer.non_speech_tokens); None or "" forbids nothing, not even the special tokens
    suppress_tokens: str | Iterable[int] | None = "-1"

    # whether a window may not begin with a blank or with the end of the text
    suppress_blank: bool = True

    # seconds from the window's start; the first timestamp is at most this; None or 0 sets no limit
    max_initial_timestamp: float | None = 1.0

    # tokens; the most that are chosen in a window; None is half of the decoder's context (224)
    sample_len: int | None = None

    def __post_init__(self) -> None:
        if self.language is not None:
            if not isinstance(self.language, str):
                raise OptionError(f"language: a code or a name, got {self.language!r}")
            object.__setattr__(self, "language", language_code(self.language))
        if self.task not in TASKS:
            raise OptionError(f"task: 'transcribe' or 'translate', got {self.task!r}")
        if not _is_number(self.temperature) or self.temperature != 0:
            raise OptionError(f"temperature: only 0.0 (greedy) is available, got {self.temperature!r}")
        object.__setattr__(self, "temperature", 0.0)
        for name in ("without_timestamps", "condition_on_previous_text", "suppress_blank"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name}: True or False, got {getattr(self, name)!r}")
        for name in ("no_speech_threshold", "logprob_threshold", "compression_ratio_threshold"):
            value = getattr(self, name)
            if value is not None and not _is_number(value):
                raise OptionError(f"{name}: a number or None, got {value!r}")
        object.__setattr__(self, "suppress_tokens", _token_list(self.suppress_tokens))
        limit = self.max_initial_timestamp
        if limit is not None and not (_is_number(limit) and 0 <= limit <= 30):
            raise OptionError(f"max_initial_timestamp: seconds from 0 to 30, or None, got {limit!r}")
        length = self.sample_len
        if length is not None and not (isinstance(length, int) and not isinstance(length, bool) and length >= 1):
            raise OptionError(f"sample_len: a number of tokens of at least 1, or None, got {length!r}")

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> "TranscribeOptions":
        """Options from keyword arguments. Raises OptionError, with the nearest name, for one that does not exist."""
        names = [field.name for field in fields(cls)]
        for name in keywords:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]}?" if near else f"available are {', '.join(names)}"
                raise OptionError(f"{name}: no such option; {hint}")
        return cls(**keywords)

    def resolve(self, dims: ModelDimensions) -> "TranscribeOptions":
        """These options for a model of `dims`: the language of an English-only model is `en`.

        Raises OptionError for what the model's vocabulary does not have: a language, a task, a token.
        """
        for token in self.suppressed:
            if token >= dims.n_vocab:
                raise OptionError(f"suppress_tokens: this model's tokens end at {dims.n_vocab - 1}, got {token}")
        if not dims.is_multilingual:
            if self.language not in (None, "en"):
                name = LANGUAGES[self.language]
                raise OptionError(
                    f"language: this model knows English only, got {self.language!r} ({name}); take one without .en"
                )
            if self.task != "transcribe":
                raise OptionError(f"task: an English-only model cannot {self.task}; take one without .en")
            return replace(self, language="en")
        if self.language is not None and self.language not in tuple(LANGUAGES)[: dims.num_languages]:
            name = LANGUAGES[self.language]
            raise OptionError(f"language: this model has no {name} ({self.language}); large-v3 and turbo have it")
        return self

    @property
    def suppressed(self) -> tuple[int, ...]:
        """`suppress_tokens` as numbers, -1 among them where it was given."""
        return cast(tuple[int, ...], self.suppress_tokens)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def _token_list(value: str | Iterable[int] | None) -> tuple[int, ...]:
    """`suppress_tokens` as numbers; empty for None."""
    error = OptionError(f"suppress_tokens: token numbers, -1 for the usual ones, or None, got {value!r}")
    try:
        if isinstance(value, str):
            tokens = [int(number) for number in value.split(",")] if value.strip() else []
        else:
            tokens = list(value or ())
    except (TypeError, ValueError):
        raise error from None
    if not all(isinstance(token, Integral) and not isinstance(token, bool) and token >= -1 for token in tokens):
        raise error
    return tuple(int(token) for token in tokens)
