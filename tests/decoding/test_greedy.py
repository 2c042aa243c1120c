"""Greedy search against openai-whisper's GreedyDecoder."""

import numpy as np
import pytest
import torch
from whisper.decoding import GreedyDecoder

from max_whisper.decoding.greedy import GreedySearch

EOT = 50257


def test_tokens_and_probabilities_equal_the_reference() -> None:
    for end in (4, 9):
        rng = np.random.default_rng(end)
        reference, search = GreedyDecoder(0.0, EOT), GreedySearch(EOT)
        tokens, sum_logprobs = torch.tensor([[1]]), torch.zeros(1)
        for step in range(end + 1):
            logits = 3 * rng.standard_normal((1, 51865), dtype=np.float32)
            logits[:, rng.random(51865) < 0.9] = -np.inf
            logits[:, 7] = 0
            if step == end:
                logits[0, EOT] = 40
            tokens, completed = reference.update(tokens, torch.from_numpy(logits.copy()), sum_logprobs)
            assert search.choose(logits).tokens == tokens[:, -1].tolist()
            assert bool(completed) == search.finished
        (hypothesis,) = search.candidates()
        assert hypothesis.tokens == tokens[0, 1:-1].tolist()
        assert hypothesis.sum_logprob == pytest.approx(float(sum_logprobs), abs=1e-4)


def test_of_equal_tokens_the_first() -> None:
    search = GreedySearch(9)
    logits = np.zeros((1, 10), dtype=np.float32)
    logits[0, [4, 6]] = 2
    assert search.choose(logits).tokens == [4]
    assert (search.rows[0].tokens, search.finished) == ([4], False)
    assert search.rows[0].sum_logprob == pytest.approx(np.log(np.exp(2) / (2 * np.exp(2) + 8)))


def test_large_logits_do_not_overflow() -> None:
    search = GreedySearch(9)
    search.choose(np.array([[3e4, -3e4, 3e4]], dtype=np.float32))
    assert search.rows[0].sum_logprob == pytest.approx(-np.log(2))
