"""Choosing tokens: the most probable one, at temperature 0."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass
class Hypothesis:
    """The tokens chosen so far in one row of the batch."""

    tokens: list[int] = field(default_factory=list)  # without the prompt and the end of the text
    sum_logprob: float = 0.0  # natural logarithm, the end of the text counted in
    finished: bool = False  # whether the end of the text has been chosen


class TokenChooser(Protocol):
    """How the next token of each row is picked from its logits."""

    def choose(self, logits: np.ndarray, hypotheses: list[Hypothesis]) -> list[int]:
        """Extend each hypothesis by a token and return the tokens to feed to the decoder, one for each row.

        logits: float32 [batch, n_vocab] after the rules; minus infinity where forbidden.
        A finished hypothesis stays as it is.
        """
        ...


class GreedyChooser:
    """Takes the most probable token; of equal ones the first."""

    def __init__(self, eot: int) -> None:
        self._eot = eot

    def choose(self, logits: np.ndarray, hypotheses: list[Hypothesis]) -> list[int]:
        chosen = logits.argmax(axis=-1)
        for row, token, hypothesis in zip(logits, chosen.tolist(), hypotheses, strict=True):
            if hypothesis.finished:
                continue
            # The chosen token has the greatest logit, so its log probability is -log sum exp(logit - greatest).
            hypothesis.sum_logprob -= float(np.log(np.exp(row - row[token]).sum()))
            if token == self._eot:
                hypothesis.finished = True
            else:
                hypothesis.tokens.append(token)
        return [
            self._eot if hypothesis.finished else token
            for token, hypothesis in zip(chosen.tolist(), hypotheses, strict=True)
        ]
