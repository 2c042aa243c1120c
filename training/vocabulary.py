"""Whisper's tokens as training uses them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from whisper.tokenizer import Tokenizer, get_tokenizer

TIMESTAMP_STEP = 5
"""Timestamps are learnt in steps of 0.1 s, five of Whisper's 0.02 s."""
LAST_TIMESTAMP = 1500
FIRST_TIMESTAMPS = 51
"""A window may start at 0.00 to 1.00 s (openai-whisper's `max_initial_timestamp`)."""


@cache
def tokenizer() -> Tokenizer:
    """The multilingual tokenizer, English, transcribing."""
    return get_tokenizer(multilingual=True, num_languages=99, language="en", task="transcribe")


@cache
def encode(text: str) -> tuple[int, ...]:
    """The tokens of a text inside a transcript (which begins with a space)."""
    return tuple(tokenizer().encode(" " + text))


def language_token() -> int:
    """`<|en|>`."""
    return tokenizer().sot_sequence[1]


def timestamp(frame: float) -> int:
    """The timestamp token nearest to a frame of 10 ms, in steps of 0.1 s."""
    place = round(frame / (2 * TIMESTAMP_STEP)) * TIMESTAMP_STEP
    return tokenizer().timestamp_begin + max(0, min(LAST_TIMESTAMP, place))


def used_tokens(texts: Iterable[str]) -> list[int]:
    """The tokens of `texts`, the special tokens of an English transcript and the timestamps that training uses."""
    tok = tokenizer()
    tokens = {token for text in texts for token in encode(text)}
    tokens.update(tok.sot_sequence)
    tokens.update([tok.eot, tok.no_speech, tok.no_timestamps, tok.sot_prev])
    places = {*range(FIRST_TIMESTAMPS), *range(0, LAST_TIMESTAMP + 1, TIMESTAMP_STEP)}
    tokens.update(tok.timestamp_begin + place for place in places)
    return sorted(tokens)
