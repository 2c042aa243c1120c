"""Texts and numbers that every reader of a file can take."""

from __future__ import annotations

import math
from typing import Any

_LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # where `str.splitlines` and so some readers end a line
_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if code != ord("\t")]
_SURROGATES = range(0xD800, 0xE000)  # halves of characters, which UTF-8 does not have
_WHOLE_CHARACTERS = dict.fromkeys(_SURROGATES, "\ufffd")
_TABLE: dict[int, str | None] = {
    **dict.fromkeys(_CONTROLS),
    **_WHOLE_CHARACTERS,
    **dict.fromkeys(map(ord, _LINE_BREAKS), "\n"),
}


def without_controls(text: str) -> str:
    r"""A text whose control characters are tabs and `\n`, which stands for whatever ends a line; others are left out.

    Half a character, which cannot be written as UTF-8, becomes U+FFFD.
    """
    return text.translate(_TABLE)


def valid_json(value: Any) -> Any:
    """A value that JSON has a way to write: None stands for NaN and infinite numbers, U+FFFD for half a character."""
    if isinstance(value, str):
        return value.translate(_WHOLE_CHARACTERS)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: valid_json(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [valid_json(entry) for entry in value]
    return value
