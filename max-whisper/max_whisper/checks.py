"""Checks of what a user gives, and the words in which a wrong value is told.

Every message is one line that begins with the name of what is wrong.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, TypeGuard

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
    """`text` with its white space folded, at most `limit` characters: foreign words inside one of our messages.

    It is cut after a whole word, unless a single word takes more than half of the line.
    """
    folded = " ".join(str(text).split())
    if len(folded) <= limit:
        return folded
    kept = folded[: limit - 3]
    if not folded[limit - 3].isspace() and kept.rfind(" ") > limit // 2:
        kept = kept[: kept.rfind(" ")]
    return f"{kept.rstrip()}..."


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number: not a truth value, and not NaN; infinite ones are numbers."""
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, and not a truth value; NumPy's integers are whole numbers."""
    return isinstance(value, Integral) and not isinstance(value, bool)


@dataclass(frozen=True)
class Form:
    """The values that an option may have, and the one form in which each is kept.

    convert: takes the option's name and a value, and returns the value in its form. It raises ValueError or TypeError
        for a value that cannot be, or OptionError where it has words of its own for that.
    """

    expected: str  # the values that may be, for a message: 'a number of tokens of at least 1, or None'
    kind: type  # bool, int, float, str or Path: how a command line reads the option
    metavar: str  # the value's name in the help of a command line: 'N', 'SECONDS'
    convert: Callable[[str, Any], Any]
    choices: tuple[str, ...] = ()  # every value, where they are words
    takes_none: bool = False  # whether None is a value too; a command line reads it from the word None

    def check(self, name: str, value: Any) -> Any:
        """The value in its form. Raises OptionError, `name: expected, got value`, for one that cannot be."""
        try:
            return self.convert(name, value)
        except OptionError:
            raise
        except (TypeError, ValueError):
            raise wrong_value(name, self.expected, value) from None


def truth() -> Form:
    """True or False, and nothing that stands for them."""

    def convert(name: str, value: Any) -> bool:
        return _accepted(value, isinstance(value, bool))

    return Form("True or False", bool, "True|False", convert)


def number(expected: str, accepts: Callable[[float], bool] = lambda number: True, metavar: str = "NUMBER") -> Form:
    """A real number, kept as float. expected: in words. accepts: whether a number is one of them."""

    def convert(name: str, value: Any) -> float:
        return float(_accepted(value, is_number(value) and accepts(float(value))))

    return Form(expected, float, metavar, convert)


def integer(expected: str, least: int, metavar: str = "N") -> Form:
    """A whole number of at least `least`, kept as int."""

    def convert(name: str, value: Any) -> int:
        return int(_accepted(value, is_integer(value) and value >= least))

    return Form(expected, int, metavar, convert)


def word(choices: tuple[str, ...], expected: str = "") -> Form:
    """One of a few words. expected: in a message, where it is more than the list of them."""

    def convert(name: str, value: Any) -> str:
        return str(_accepted(value, isinstance(value, str) and value in choices))

    return Form(expected or f"one of {', '.join(choices)}", str, "WORD", convert, choices)


def optional(form: Form) -> Form:
    """None, which stays, or a value of another form, whose words already say so."""
    return replace(
        form, convert=lambda name, value: None if value is None else form.convert(name, value), takes_none=True
    )


def _accepted(value: Any, is_accepted: bool) -> Any:
    if not is_accepted:
        raise ValueError
    return value
