"""What every program is asked to do, and how each of them is known."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from ..idle import wait_until_idle

BEAMS = 5
STEPS = 64  # tokens in each measurement of a token
FIRST_STEPS = 8  # tokens of the shorter text, where a token is measured by the difference of two
WINDOW_SAMPLES = 30 * 16_000


class NotInstalledError(Exception):
    """A program that is not there, or not as it has to be; the message says what to do."""


@dataclass(frozen=True)
class Work:
    """The same for all programs."""

    threads: int
    n_mels: int
    multilingual: bool
    prompt: list[int]  # what a text in English without timestamps begins with
    long_prompt: list[int]  # the same after text said before
    end: int  # the token that ends a text
    timestamps: bool  # whether a recording is transcribed with them
    max_tokens: int | None  # of text in each window of a recording; None is the program's own limit
    batch_size: int  # windows at a time


class Text(NamedTuple):
    """A part of a transcription."""

    text: str
    tokens: int  # of the text alone


class Peer(ABC):
    """A program with a model loaded. Every method that measures returns seconds."""

    # By the method: how a row is measured, where not by a call of just that; why a row cannot be had.
    how: ClassVar[dict[str, str]] = {}
    missing: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def __init__(self, path: str, precision: str, work: Work) -> None:
        """path: the model in the program's format. Raises NotInstalledError."""

    @property
    def about(self) -> str:
        """The program's build, where the version of its package does not tell it."""
        return ""

    @abstractmethod
    def log_mel(self, window: np.ndarray) -> float:
        """The log-mel spectrogram of float32 [480000]."""

    @abstractmethod
    def encoder(self, window: np.ndarray) -> float:
        """The encoder alone on a window."""

    @abstractmethod
    def prompt(self, window: np.ndarray, tokens: list[int]) -> float:
        """The decoder on the tokens before a window's text, up to the logits of the first of its own."""

    @abstractmethod
    def token(self, window: np.ndarray) -> float:
        """One of `STEPS` tokens after the prompt, each the most probable."""

    @abstractmethod
    def beam_token(self, window: np.ndarray) -> float:
        """One of `STEPS` tokens with `BEAMS` beams."""

    @abstractmethod
    def transcribe(self, samples: np.ndarray) -> Iterator[Text]:
        """A whole recording, window by window: greedy, no other temperature, no previous text.

        Gives texts as they are there.
        """

    @abstractmethod
    def transcribe_batched(self, samples: np.ndarray) -> Iterator[Text]:
        """As `transcribe`, several windows at a time."""


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes, once the threads of what ran before it in this process have come to rest."""
    wait_until_idle([os.getpid()])
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def for_each_token(text: Callable[[int], object]) -> float:
    """Seconds for each of `STEPS` tokens, from two texts that differ in length by so many.

    text: makes one of the given number of tokens.
    """
    short = seconds(lambda: text(FIRST_STEPS))
    return (seconds(lambda: text(FIRST_STEPS + STEPS)) - short) / STEPS


def windows(samples: np.ndarray) -> Iterator[np.ndarray]:
    """A recording in pieces of 30 s, the last one shorter."""
    for start in range(0, len(samples), WINDOW_SAMPLES):
        yield samples[start : start + WINDOW_SAMPLES]
