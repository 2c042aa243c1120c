"""Choosing tokens above temperature 0: drawn by their probability, several times over."""

import numpy as np

from max_whisper.backends.interface import Hypothesis
from max_whisper.decoding.search import Choice, log_softmax


class SamplingSearch:
    """Draws every token from the softmax of logits / temperature, in `best_of` independent rows."""

    def __init__(
        self, eot: int, temperature: float, best_of: int, top_p: float | None, generator: np.random.Generator
    ) -> None:
        """top_p: draw from the smallest set of most probable tokens whose probabilities sum up to this (Holtzman et
        al. 2020, "The Curious Case of Neural Text Degeneration"); None draws from all.
        """
        self._eot = eot
        self._temperature = temperature
        self._top_p = top_p
        self._generator = generator
        self.rows = [Hypothesis() for _ in range(best_of)]

    @property
    def finished(self) -> bool:
        """Whether every row has come to the end of the text."""
        return all(row.finished for row in self.rows)

    def choose(self, logits: np.ndarray) -> Choice:
        """Draw a token for each row. logits: float32 [best_of, n_vocab]."""
        # Drawn for finished rows too, so that a row's tokens do not depend on when the others end.
        draws = self._generator.random(len(self.rows))
        tokens = []
        for hypothesis, row, draw in zip(self.rows, logits, draws, strict=True):
            if hypothesis.finished:
                tokens.append(self._eot)
                continue
            token = draw_token(row, self._temperature, draw, self._top_p)
            hypothesis.sum_logprob += float(log_softmax(row)[token])
            if token == self._eot:
                hypothesis.finished = True
            else:
                hypothesis.tokens.append(token)
            tokens.append(token)
        return Choice(tokens, list(range(len(tokens))))

    def candidates(self) -> list[Hypothesis]:
        """All rows."""
        return self.rows


def draw_token(logits: np.ndarray, temperature: float, draw: float, top_p: float | None = None) -> int:
    """The token at which the cumulated softmax of float32 logits [n_vocab] / temperature passes `draw`, in [0, 1)."""
    weights = np.exp((logits - logits.max()).astype(np.float64) / temperature)
    if top_p is not None:
        weights[~nucleus(weights, top_p)] = 0.0
    cumulated = weights.cumsum()
    return int(cumulated.searchsorted(draw * cumulated[-1], side="right"))


def nucleus(weights: np.ndarray, top_p: float) -> np.ndarray:
    """Which of the weights [n] are in the smallest set of the greatest ones that holds `top_p` of their sum."""
    order = np.argsort(-weights, kind="stable")
    cumulated = weights[order].cumsum()
    size = int(cumulated.searchsorted(top_p * cumulated[-1])) + 1
    inside = np.zeros(len(weights), bool)
    inside[order[:size]] = True
    return inside
