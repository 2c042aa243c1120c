"""What has been chosen so far, and how the next token is: one search for each window."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from max_whisper.backends.interface import Hypothesis


@dataclass(frozen=True)
class Choice:
    """What the decoder is fed next, for each row of a window."""

    tokens: list[int]
    sources: list[int]  # row i goes on from row sources[i] of the window


class Search(Protocol):
    """How the tokens of one window are chosen, over `group` rows of the batch."""

    @property
    def rows(self) -> list[Hypothesis]:
        """What each row holds now, for the rules."""
        ...

    @property
    def finished(self) -> bool:
        """Whether no further token can change the outcome."""
        ...

    def choose(self, logits: np.ndarray) -> Choice:
        """Extend the hypotheses by a token.

        logits: float32 [group, n_vocab] after the rules; minus infinity where forbidden.
        """
        ...

    def candidates(self) -> list[Hypothesis]:
        """The hypotheses of which one is the outcome."""
        ...


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Natural logarithms of the softmax over the last dimension, float32."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
