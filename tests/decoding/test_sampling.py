"""Sampling against PyTorch's softmax, and the nucleus against transformers."""

import numpy as np
import pytest
import torch
from transformers import TopPLogitsWarper

from max_whisper.decoding.sampling import SamplingSearch, draw_token, nucleus
from max_whisper.diagnostics.sampling_parity import chi_square_test

EOT = 999
N_DRAWS = 2000


def random_logits(seed: int, n_vocab: int = 1000) -> np.ndarray:
    """A few tokens that stand out, many that do not, and many that are forbidden."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal(n_vocab, dtype=np.float32)
    logits[rng.integers(0, n_vocab, 12)] += np.float32(7)
    logits[rng.random(n_vocab) < 0.3] = -np.inf
    logits[EOT] = 6
    return logits


def first_tokens(logits: np.ndarray, temperature: float, top_p: float | None = None) -> np.ndarray:
    """The first token of each of 2,000 rows, the end of the text among them."""
    search = SamplingSearch(EOT, temperature, N_DRAWS, top_p, np.random.default_rng(11))
    return np.array(search.choose(np.tile(logits, (N_DRAWS, 1))).tokens)


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """PyTorch's softmax of logits / temperature, float64."""
    return (torch.from_numpy(logits).double() / temperature).softmax(dim=-1).numpy()


def p_value(tokens: np.ndarray, expected: np.ndarray) -> float:
    """Of a chi-square test."""
    _, _, probability = chi_square_test(np.bincount(tokens, minlength=len(expected)), expected * len(tokens))
    return probability


@pytest.mark.parametrize("temperature", [0.2, 0.6, 1.0, 1.7])
def test_first_tokens_are_distributed_as_the_softmax(temperature: float) -> None:
    for seed in range(3):
        logits = random_logits(seed)
        tokens = first_tokens(logits, temperature)
        assert p_value(tokens, probabilities(logits, temperature)) > 0.01
        # The test has the power to tell a slightly wrong temperature.
        assert p_value(tokens, probabilities(logits, 1.5 * temperature)) < 1e-3


def test_first_tokens_are_distributed_as_openai_whisper_draws_them() -> None:
    logits = random_logits(5)
    torch.manual_seed(0)
    theirs = torch.distributions.Categorical(logits=torch.from_numpy(logits) / 0.8).sample((N_DRAWS,)).numpy()
    expected = probabilities(logits, 0.8)
    assert min(p_value(theirs, expected), p_value(first_tokens(logits, 0.8), expected)) > 0.01


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("temperature", [0.4, 1.0])
def test_the_nucleus_is_that_of_transformers(top_p: float, temperature: float) -> None:
    for seed in range(20):
        logits = random_logits(seed)
        warped = TopPLogitsWarper(top_p)(None, torch.from_numpy(logits / np.float32(temperature))[None])[0].numpy()
        expected = np.isfinite(warped)
        weights = np.exp((logits / temperature - (logits / temperature).max()).astype(np.float64))
        inside = nucleus(weights, top_p) & (weights > 0)
        if top_p < 1:
            np.testing.assert_array_equal(inside, expected)
        else:
            # transformers sums up in float32, where the least probable tokens may be lost.
            assert (inside >= expected).all()
            assert weights[inside].sum() == pytest.approx(weights.sum())


@pytest.mark.parametrize("top_p", [0.6, 0.9])
def test_what_is_drawn_is_in_the_nucleus_and_distributed_as_its_softmax(top_p: float) -> None:
    for seed in range(3):
        logits = random_logits(seed)
        warped = TopPLogitsWarper(top_p)(None, torch.from_numpy(logits)[None])[0].numpy()
        tokens = first_tokens(logits, 1.0, top_p)
        assert np.isfinite(warped[tokens]).all()
        assert len(set(tokens.tolist())) > 1
        expected = probabilities(warped, 1.0)
        common = np.flatnonzero(expected * N_DRAWS >= 5)
        assert set(common.tolist()) <= set(tokens.tolist())
        assert len(common) > 1
        assert p_value(tokens, expected) > 0.01


def test_the_least_that_a_nucleus_holds_is_the_most_probable_token() -> None:
    weights = np.array([1.0, 5.0, 3.0])
    assert nucleus(weights, 1e-9).tolist() == [False, True, False]
    # Of equal ones the first.
    assert nucleus(np.ones(4), 0.5).tolist() == [True, True, False, False]


def test_what_is_forbidden_is_never_drawn() -> None:
    logits = np.array([-np.inf, 1.0, -np.inf, 1.0, -np.inf], dtype=np.float32)
    draws = [0.0, 0.25, 0.4999, 0.5, np.nextafter(1.0, 0.0)]
    assert [draw_token(logits, 1.0, draw) for draw in draws] == [1, 1, 1, 3, 3]
    assert {draw_token(logits, 1.0, draw, 0.5) for draw in draws} == {1}


def test_near_temperature_0_the_most_probable_token_is_drawn() -> None:
    logits = random_logits(1)
    assert {draw_token(logits, 1e-40, draw) for draw in (0.0, 0.5, 0.999)} == {int(logits.argmax())}


def test_the_log_probability_is_of_the_model_without_temperature_or_nucleus() -> None:
    logits = random_logits(0)
    logprobs = torch.from_numpy(logits).log_softmax(dim=-1).numpy()
    search = SamplingSearch(EOT, 0.5, 3, 0.9, np.random.default_rng(0))
    drawn = search.choose(np.tile(logits, (3, 1))).tokens
    for row, token in zip(search.candidates(), drawn, strict=True):
        assert row.sum_logprob == pytest.approx(float(logprobs[token]), abs=1e-5)


def test_a_text_that_has_ended_goes_on_no_more() -> None:
    search = SamplingSearch(2, 1.0, 2, None, np.random.default_rng(0))
    ends = np.array([[0, 0, 50], [50, 0, 0]], dtype=np.float32)
    assert search.choose(ends).tokens == [2, 0]
    assert (search.finished, [row.finished for row in search.rows]) == (False, [True, False])
    assert search.choose(np.array([[50, 0, 0], [0, 50, 0]], dtype=np.float32)).tokens == [2, 1]
    assert [row.tokens for row in search.candidates()] == [[], [0, 1]]
    assert search.rows[0].sum_logprob == pytest.approx(0, abs=1e-6)
    search.choose(np.array([[50, 0, 0], [0, 0, 50]], dtype=np.float32))
    assert search.finished


def test_the_same_seed_draws_the_same_text_whenever_the_others_end() -> None:
    def texts(first_row_ends: bool) -> list[list[int]]:
        search = SamplingSearch(EOT, 1.0, 2, None, np.random.default_rng(3))
        for step in range(10):
            rows = np.stack([random_logits(step), random_logits(100 + step)])
            rows[:, EOT] = -np.inf
            if first_row_ends:
                rows[0, EOT] = 100
            search.choose(rows)
        return [row.tokens for row in search.rows]

    whole, ended = texts(False), texts(True)
    assert len(whole[1]) == 10
    assert (len(whole[0]), len(ended[0])) == (10, 0)
    assert ended[1] == whole[1]
