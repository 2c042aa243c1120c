"""Choosing tokens at temperature 0: the most probable one."""

import numpy as np

from max_whisper.backends.interface import Hypothesis
from max_whisper.decoding.search import Choice


class GreedySearch:
    """Takes the most probable token; of equal ones the first."""

    def __init__(self, eot: int) -> None:
        self._eot = eot
        self.rows = [Hypothesis()]

    @property
    def finished(self) -> bool:
        """Whether the end of the text has been chosen."""
        return self.rows[0].finished

    def choose(self, logits: np.ndarray) -> Choice:
        """Extend the one hypothesis. logits: float32 [1, n_vocab]."""
        hypothesis, row = self.rows[0], logits[0]
        token = int(row.argmax())
        # The chosen token has the greatest logit, so its log probability is -log sum exp(logit - greatest).
        hypothesis.sum_logprob -= float(np.log(np.exp(row - row[token]).sum()))
        if token == self._eot:
            hypothesis.finished = True
        else:
            hypothesis.tokens.append(token)
        return Choice([token], [0])

    def candidates(self) -> list[Hypothesis]:
        """The one hypothesis."""
        return self.rows
