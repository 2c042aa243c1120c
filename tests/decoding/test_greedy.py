"""The greedy chooser against openai-whisper's GreedyDecoder."""

import numpy as np
import pytest
import torch
from whisper.decoding import GreedyDecoder

from max_whisper.decoding.greedy import GreedyChooser, Hypothesis

EOT = 50257


def test_tokens_and_probabilities_equal_the_reference() -> None:
    rng = np.random.default_rng(0)
    reference, chooser = GreedyDecoder(0.0, EOT), GreedyChooser(EOT)
    tokens, sum_logprobs = torch.tensor([[1], [1], [1]]), torch.zeros(3)
    hypotheses = [Hypothesis() for _ in range(3)]
    for step in range(12):
        logits = (3 * rng.standard_normal((3, 51865), dtype=np.float32)).astype(np.float32)
        logits[:, rng.random(51865) < 0.9] = -np.inf
        logits[:, 7] = 0
        if step >= 4:
            logits[step % 4 - 1, EOT] = 40  # the rows end one after the other, and keep on choosing
        tokens, completed = reference.update(tokens, torch.from_numpy(logits.copy()), sum_logprobs)
        fed = chooser.choose(logits, hypotheses)
        assert fed == tokens[:, -1].tolist()
        assert bool(completed) == all(hypothesis.finished for hypothesis in hypotheses)
    assert all(hypothesis.finished for hypothesis in hypotheses)
    for hypothesis, row, sum_logprob in zip(hypotheses, tokens[:, 1:].tolist(), sum_logprobs.tolist(), strict=True):
        assert hypothesis.tokens == row[: row.index(EOT)]
        assert hypothesis.sum_logprob == pytest.approx(sum_logprob, abs=1e-4)


def test_of_equal_tokens_the_first() -> None:
    hypothesis = Hypothesis()
    logits = np.zeros((1, 10), dtype=np.float32)
    logits[0, [4, 6]] = 2
    assert GreedyChooser(9).choose(logits, [hypothesis]) == [4]
    assert (hypothesis.tokens, hypothesis.finished) == ([4], False)
    assert hypothesis.sum_logprob == pytest.approx(np.log(np.exp(2) / (2 * np.exp(2) + 8)))


def test_large_logits_do_not_overflow() -> None:
    hypothesis = Hypothesis()
    GreedyChooser(9).choose(np.array([[3e4, -3e4, 3e4]], dtype=np.float32), [hypothesis])
    assert hypothesis.sum_logprob == pytest.approx(-np.log(2))
