"""Checks of what a user gives, and the words in which a wrong value is told.

Every message is one line that begins with the name of what is wrong.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import TypeGuard

from max_whisper.errors import OptionError

_LONGEST_SHOWN = 100  # characters of a wrong value in a message


def wrong_value(name: str, expected: str, value: object) -> OptionError:
    """The error for a value that cannot be: `name: expected, got value`."""
    return OptionError(f"{name}: {expected}, got {one_line(repr(value), _LONGEST_SHOWN)}")


def did_you_mean(given: object, known: Iterable[str], count: int = 1) -> str:
    """`did you mean this or that?` with the nearest of the known names; nothing where none is near.

    given: the name that is not known. count: the most names to propose.
    """
    near = difflib.get_close_matches(str(given), list(known), n=count)
    return f"did you mean {' or '.join(near)}?" if near else ""


def one_line(text: object, limit: int = 200) -> str:
    """`text` with its white space folded, cut at `limit` characters: foreign words inside one of our messages."""
    folded = " ".join(str(text).split())
    return folded if len(folded) <= limit else folded[: limit - 3] + "..."


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number: not a truth value, and not NaN; infinite ones are numbers."""
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, and not a truth value; NumPy's integers are whole numbers."""
    return isinstance(value, Integral) and not isinstance(value, bool)
