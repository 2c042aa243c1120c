"""Repetition penalty and n-grams that may not repeat, against transformers' processors."""

import numpy as np
import pytest
import torch
from transformers import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

from max_whisper.decoding.rules import NoRepeatNgrams, RepetitionPenalty

EOT = 40  # text before it, timestamps and other special tokens after it
N_VOCAB = 60


def texts(rng: np.random.Generator, length: int) -> list[list[int]]:
    """Three rows of three words, so that they repeat."""
    return rng.integers(0, 3, (3, length)).tolist()


def logits(rng: np.random.Generator) -> np.ndarray:
    """Positive and negative ones, some forbidden and some zero."""
    values = 4 * rng.standard_normal((3, N_VOCAB), dtype=np.float32)
    values[:, rng.integers(0, N_VOCAB, 5)] = -np.inf
    values[:, rng.integers(0, N_VOCAB, 5)] = 0
    return values


@pytest.mark.parametrize("penalty", [0.5, 1.1, 1.5, 3.0])
@pytest.mark.parametrize("length", [0, 1, 8, 40])
def test_the_repetition_penalty_is_that_of_transformers(penalty: float, length: int) -> None:
    rng = np.random.default_rng(length)
    for _ in range(5):
        ours, rows = logits(rng), texts(rng, length)
        processor = RepetitionPenaltyLogitsProcessor(penalty)
        expected = processor(torch.tensor(rows, dtype=torch.int64), torch.from_numpy(ours.copy())).numpy()
        RepetitionPenalty(penalty, EOT).apply(ours, rows)
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_the_repetition_penalty_leaves_timestamps_alone() -> None:
    ours = np.tile(np.linspace(-3, 3, N_VOCAB, dtype=np.float32), (1, 1))
    before = ours.copy()
    RepetitionPenalty(2.0, EOT).apply(ours, [[50, 3, 30, 51, 51, EOT]])
    changed = np.flatnonzero(ours[0] != before[0])
    assert changed.tolist() == [3, 30]
    assert ours[0, 3] == pytest.approx(2 * before[0, 3])
    assert ours[0, 30] == pytest.approx(before[0, 30] / 2)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [0, 1, 2, 7, 40])
def test_ngrams_that_may_not_repeat_are_those_of_transformers(size: int, length: int) -> None:
    rng = np.random.default_rng([size, length])
    for _ in range(10):
        ours, rows = logits(rng), texts(rng, length)
        before = ours.copy()
        expected = NoRepeatNGramLogitsProcessor(size)(torch.tensor(rows, dtype=torch.int64), torch.from_numpy(ours))
        NoRepeatNgrams(size, EOT).apply(ours, rows)
        np.testing.assert_array_equal(ours, expected.numpy())
        if length == 40 and size <= 3:
            assert (ours != before).any()


def test_a_phrase_in_a_loop_is_found_between_timestamps() -> None:
    """Its times differ each time, so that the row with its timestamps never repeats itself."""
    ours = np.zeros((2, N_VOCAB), np.float32)
    phrases = [[41, 7, 8, 9, 45, 45, 7, 8], [41, 7, 8, 9, 45, 45, 8]]
    NoRepeatNgrams(3, EOT).apply(ours, phrases)
    assert np.flatnonzero(np.isneginf(ours[0])).tolist() == [9]
    assert np.flatnonzero(np.isneginf(ours[1])).tolist() == []


def test_the_penalties_leave_the_other_rows_alone() -> None:
    ours = np.ones((2, N_VOCAB), np.float32)
    RepetitionPenalty(2.0, EOT).apply(ours, [[1, 1], [2]])
    NoRepeatNgrams(1, EOT).apply(ours, [[3], []])
    assert ours[0, [1, 2, 3]].tolist() == [0.5, 1.0, -np.inf]
    assert ours[1, [1, 2, 3]].tolist() == [1.0, 0.5, 1.0]
