"""Greedy decoding by the model itself: it is told the rules once and gives whole texts back, not logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from max_whisper.decoding.hypothesis import Hypothesis
from max_whisper.decoding.rules import LogitRule, SuppressBlank, SuppressTokens, TimestampRules


@dataclass(frozen=True)
class ChoiceRules:
    """What may come next, as numbers."""

    end: int  # the token that ends a text
    forbidden: np.ndarray  # int64 [n], tokens that never come
    forbidden_first: np.ndarray  # int64 [n], tokens that do not come first
    timestamps: TimestampRules | None

    @classmethod
    def of(cls, rules: Sequence[LogitRule], end: int) -> "ChoiceRules | None":
        """The rules as numbers; None where there are others than those that can be told so."""
        forbidden, first, timestamps = [], [], None
        for rule in rules:
            if isinstance(rule, SuppressTokens):
                forbidden += rule.tokens.tolist()
            elif isinstance(rule, SuppressBlank):
                first += rule.tokens.tolist()
            elif isinstance(rule, TimestampRules):
                timestamps = rule
            else:
                return None
        return cls(end, np.array(forbidden, dtype=np.int64), np.array(first, dtype=np.int64), timestamps)


@runtime_checkable
class GreedyDecoder(Protocol):
    """A DecoderState that can go on by itself."""

    def finish_greedily(self, logits: np.ndarray, limits: Sequence[int], rules: ChoiceRules) -> list[Hypothesis]:
        """Each window's text to its end, always with the most probable token; of equal ones the first.

        The state has one hypothesis for each window, and can do nothing afterwards.

        logits: float32 [windows, n_vocab], after the tokens that the caches hold.
        limits: for each window, the most tokens to choose.
        """
        ...
