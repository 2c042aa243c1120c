"""Beam search and the rank of its texts at the edges, against openai-whisper's."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from whisper.decoding import BeamSearchDecoder, MaximumLikelihoodRanker

from max_whisper.backends.interface import Hypothesis
from max_whisper.decoding.beam import BeamSearch, most_probable
from max_whisper.decoding.ranking import most_likely

EOT = 9


class _Reordered:
    """openai-whisper's inference, of which its beam search asks only to reorder the cache."""

    def rearrange_kv_cache(self, source_indices: list[int]) -> None:
        self.sources = source_indices


class Both:
    """openai-whisper's beam search and ours, step by step on the same logits."""

    def __init__(self, beam_size: int, patience: float | None = None) -> None:
        self.inference = _Reordered()
        self.reference = BeamSearchDecoder(beam_size, EOT, self.inference, patience)
        self.ours = BeamSearch(EOT, beam_size, patience)
        self.tokens = torch.full((beam_size, 1), 1)
        self.sum_logprobs = torch.zeros(beam_size)

    def step(self, logits: np.ndarray) -> bool:
        """A token more; whether both have finished."""
        given = torch.from_numpy(logits.copy())
        self.tokens, completed = self.reference.update(self.tokens, given, self.sum_logprobs)
        choice = self.ours.choose(logits)
        assert choice.tokens == self.tokens[:, -1].tolist()
        assert choice.sources == self.inference.sources
        assert [row.tokens for row in self.ours.rows] == self.tokens[:, 1:].tolist()
        assert [row.sum_logprob for row in self.ours.rows] == pytest.approx(self.sum_logprobs.tolist(), abs=1e-5)
        assert self.ours.finished == bool(completed)
        return self.ours.finished

    def assert_equal_candidates(self) -> None:
        tokens, sum_logprobs = self.reference.finalize(self.tokens[None], self.sum_logprobs[None])
        # openai-whisper's texts begin with the prompt, and cut at the end of the text later.
        expected = [[token for token in text.tolist()[1:] if token != EOT] for text in tokens[0]]
        candidates = self.ours.candidates()
        assert [candidate.tokens for candidate in candidates] == expected
        assert [candidate.sum_logprob for candidate in candidates] == pytest.approx(sum_logprobs[0], abs=1e-4)


def random_logits(rng: np.random.Generator, beam_size: int, n_vocab: int = 30) -> np.ndarray:
    """Logits that differ, under which texts end now and then."""
    logits = 2 * rng.standard_normal((beam_size, n_vocab), dtype=np.float32)
    logits[:, EOT] += np.float32(2)
    return logits


@pytest.mark.parametrize(
    ("beam_size", "patience"), [(1, None), (1, 3.3), (2, None), (2, 0.4), (2, 2.0), (5, None), (5, 0.4), (5, 3.3)]
)
def test_steps_equal_the_reference(beam_size: int, patience: float | None) -> None:
    n_finished = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        both = Both(beam_size, patience)
        # All beams begin with the same text, so their first logits are equal.
        finished = both.step(np.repeat(random_logits(rng, 1), beam_size, axis=0))
        steps = 1
        while not finished and steps < 12:
            finished = both.step(random_logits(rng, beam_size))
            steps += 1
        n_finished += finished
        both.assert_equal_candidates()
    assert n_finished


def test_all_beams_begin_with_different_tokens() -> None:
    both = Both(3)
    both.step(np.repeat(np.array([[0, 5, 4, 3, 2, 1, 0, 0, 0, -9]], dtype=np.float32), 3, axis=0))
    assert [row.tokens for row in both.ours.rows] == [[1], [2], [3]]


def test_few_tokens_are_allowed() -> None:
    """Fewer than beams: the rows that are left over are of what is forbidden, and no such text is the outcome."""
    search = BeamSearch(EOT, 3)
    logits = np.full((3, 10), -np.inf, dtype=np.float32)
    logits[:, [4, EOT]] = [[2.0, 1.0]] * 3
    for _ in range(4):
        search.choose(logits)
        if search.finished:
            break
    outcome = most_likely(search.candidates(), None)
    assert set(outcome.tokens) <= {4}
    assert np.isfinite(outcome.sum_logprob)


def test_where_few_have_ended_the_best_of_the_others_are_candidates_too() -> None:
    search = BeamSearch(EOT, 3)
    logits = np.zeros((3, 10), dtype=np.float32)
    logits[:, [2, 3, 4, EOT]] = [[9, 8, 7, 8.5]] * 3
    search.choose(logits)
    assert not search.finished
    assert [(candidate.tokens, candidate.finished) for candidate in search.candidates()] == [
        ([], True),
        ([2], False),
        ([3], False),
    ]


def test_little_patience_ends_with_the_first_text() -> None:
    search = BeamSearch(EOT, 4, 0.25)
    logits = np.zeros((4, 10), dtype=np.float32)
    logits[:, EOT] = 5
    search.choose(logits)
    assert search.finished
    # All candidates but the first are what goes on, as many as there are beams.
    assert [candidate.finished for candidate in search.candidates()] == [True, False, False, False]


def test_much_patience_waits_for_more_texts_than_beams() -> None:
    both = Both(2, 2.0)
    logits = np.zeros((2, 10), dtype=np.float32)
    logits[:, [3, 4, EOT]] = [[2, 1, 4]] * 2
    finished_after = next(step for step in range(1, 10) if both.step(logits + np.float32(0.01) * step))
    assert len(both.ours.candidates()) == 4
    assert finished_after == 3  # one text ends in the first step, two in each later one
    both.assert_equal_candidates()


def test_the_most_probable_tokens_are_in_order() -> None:
    logprobs = np.array([-3, -1, -np.inf, -2, -1.5], dtype=np.float32)
    assert most_probable(logprobs, 3) == [1, 4, 3]
    assert sorted(most_probable(logprobs, 5)) == [0, 1, 2, 3, 4]


def hypotheses(*texts: tuple[int, float]) -> list[Hypothesis]:
    """Texts of so many tokens with such log probabilities."""
    return [Hypothesis(list(range(length)), logprob, finished=True) for length, logprob in texts]


@pytest.mark.parametrize("length_penalty", [None, 0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    "texts",
    [
        [(3, -4.0), (6, -5.0), (1, -2.0)],
        [(2, -4.0), (4, -8.0), (1, -2.0)],  # the same log probability for each token
        [(3, -1.0), (3, -1.0)],
        [(5, -0.1)],
    ],
    ids=str,
)
def test_the_rank_equals_the_reference(length_penalty: float | None, texts: Sequence[tuple[int, float]]) -> None:
    candidates = hypotheses(*texts)
    (expected,) = MaximumLikelihoodRanker(length_penalty).rank(
        [[torch.tensor(candidate.tokens) for candidate in candidates]],
        [[candidate.sum_logprob for candidate in candidates]],
    )
    assert most_likely(candidates, length_penalty) is candidates[expected]


def test_an_empty_text_can_be_ranked() -> None:
    """openai-whisper divides by its length of zero."""
    empty, short = hypotheses((0, -0.5), (1, -2.0))
    assert most_likely([short, empty], None) is empty
    assert most_likely([short, empty], 1.0) is empty
