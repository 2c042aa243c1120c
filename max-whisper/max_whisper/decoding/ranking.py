"""Which of several texts for one window is taken."""

from collections.abc import Sequence

import numpy as np

from max_whisper.backends.interface import Hypothesis


def most_likely(candidates: Sequence[Hypothesis], length_penalty: float | None) -> Hypothesis:
    """The candidate of the highest log probability for its length; of equal ones the first.

    length_penalty: the alpha of Wu et al. 2016, "Google's Neural Machine Translation System", equation 14; None divides
    by the number of tokens (whisper/decoding.py, MaximumLikelihoodRanker). A text without tokens counts as one of one
    token, where openai-whisper divides by zero.
    """

    def score(candidate: Hypothesis) -> float:
        length = len(candidate.tokens)
        divisor = max(length, 1) if length_penalty is None else ((5 + length) / 6) ** length_penalty
        return candidate.sum_logprob / divisor

    return candidates[int(np.argmax([score(candidate) for candidate in candidates]))]
