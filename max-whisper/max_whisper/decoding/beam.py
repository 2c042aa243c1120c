"""Choosing tokens by beam search (whisper/decoding.py, BeamSearchDecoder)."""

import numpy as np

from max_whisper.backends.interface import Hypothesis
from max_whisper.decoding.search import Choice, log_softmax


class BeamSearch:
    """Goes on with the `beam_size` most probable texts; ends when enough of them have ended.

    Enough is beam_size * patience (Kasai et al. 2022, "A Call for Clarity in Beam Search"; 1.0 is the usual search).
    """

    def __init__(self, eot: int, beam_size: int, patience: float | None = None) -> None:
        self._eot = eot
        self._beam_size = beam_size
        self._enough = enough_texts(beam_size, patience)
        self._ended: dict[tuple[int, ...], float] = {}  # texts without the end, and their log probabilities with it
        self.rows = [Hypothesis() for _ in range(beam_size)]

    @property
    def finished(self) -> bool:
        """Whether enough texts have ended."""
        return len(self._ended) >= self._enough

    def choose(self, logits: np.ndarray) -> Choice:
        """Keep the best texts that go on, and collect those that end. logits: float32 [beam_size, n_vocab]."""
        # Texts that two rows arrive at, as all do in the first step, count once.
        scores: dict[tuple[int, ...], np.float32] = {}
        sources: dict[tuple[int, ...], int] = {}
        logprobs = log_softmax(logits)
        for source, hypothesis in enumerate(self.rows):
            prefix = tuple(hypothesis.tokens)
            for token in most_probable(logits[source], self._beam_size + 1):
                text = (*prefix, token)
                scores[text] = np.float32(hypothesis.sum_logprob) + logprobs[source, token]
                sources[text] = source

        going_on: list[tuple[int, ...]] = []
        for text in sorted(scores, key=scores.__getitem__, reverse=True):
            if text[-1] != self._eot:
                going_on.append(text)
                if len(going_on) == self._beam_size:
                    break
            elif not self.finished:
                self._ended[text[:-1]] = float(scores[text])
        self.rows = [Hypothesis(list(text), float(scores[text])) for text in going_on]
        return Choice([text[-1] for text in going_on], [sources[text] for text in going_on])

    def candidates(self) -> list[Hypothesis]:
        """The texts that have ended; where they are fewer than the beams, the best of the others with them."""
        ended = [Hypothesis(list(text), score, finished=True) for text, score in self._ended.items()]
        return candidates(ended, self.rows, self._beam_size)


def enough_texts(beam_size: int, patience: float | None) -> int:
    """How many texts have to end."""
    return round(beam_size * (patience or 1.0))


def candidates(ended: list[Hypothesis], going_on: list[Hypothesis], beam_size: int) -> list[Hypothesis]:
    """The texts that have ended; where they are fewer than the beams, the best of the others with them."""
    others = [going_on[i] for i in np.argsort([row.sum_logprob for row in going_on])[::-1]]
    return ended + others[: max(0, beam_size - len(ended))]


def most_probable(logits: np.ndarray, count: int) -> list[int]:
    """The `count` tokens of the greatest logits [n_vocab], descending; of equal ones the first come first."""
    possible = np.flatnonzero(logits > -np.inf)  # a partition of many equal values is slow: 4 ms for 50,000
    if len(possible) < count:
        possible = np.arange(len(logits))
    values = logits[possible]
    best = possible[values >= np.partition(values, -count)[-count]]
    return best[np.argsort(-logits[best], kind="stable")][:count].tolist()
