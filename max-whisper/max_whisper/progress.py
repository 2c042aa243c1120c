"""How long work tells whoever called it how far it is."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Step:
    """A piece of work under way.

    `total` is None where the amount of work is not known ahead (a compile); else `done` of `total` units are finished.
    """

    message: str  # one line for a person: 'downloading tiny', 'loading the model'
    done: int = 0
    total: int | None = None
    unit: str = ""  # 'B' for bytes, 's' for seconds of audio


class Progress(Protocol):
    """Called with each step as it begins and advances; returns at once and never raises."""

    def __call__(self, step: Step, /) -> None: ...


def silent(step: Step, /) -> None:
    """Ignore progress: the library's default."""
