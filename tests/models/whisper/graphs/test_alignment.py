"""How texts lie on their audio: scores of the alignment heads and probabilities against openai-whisper on PyTorch."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from max.driver import Buffer
from whisper.model import disable_sdpa

from max_whisper.backends import word_alignment
from max_whisper.backends.graph_model import GraphFeatures
from max_whisper.backends.max_graph import MaxGraphModel
from max_whisper.backends.reference import reference_model
from max_whisper.diagnostics.random_models import random_checkpoint
from max_whisper.models.whisper.checkpoint import Checkpoint, load_checkpoint
from max_whisper.progress import Step, silent
from max_whisper.runtime.devices import select_device

Noise = Callable[..., np.ndarray]
HEADS = [(0, 2), (1, 0), (1, 4)]
N_TEXT = 50257
LENGTHS = [41, 23]


@pytest.fixture(scope="module")
def checkpoint(tiny: Checkpoint) -> Checkpoint:
    return replace(tiny, alignment_heads=np.array([[1, 4], [0, 2], [1, 0]]))


@pytest.fixture(scope="module")
def aligner(checkpoint: Checkpoint, compiled_tiny: MaxGraphModel) -> MaxGraphModel:
    return MaxGraphModel(checkpoint, select_device("cpu"))


@pytest.fixture(scope="module")
def features(aligner: MaxGraphModel, noise: Noise) -> GraphFeatures:
    return aligner.encode(noise(2))


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(0, N_TEXT, (2, max(LENGTHS)))


@pytest.fixture(scope="module")
def expected(checkpoint: Checkpoint, tokens: np.ndarray, noise: Noise) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each window, of its own text alone, the scores and the probabilities as whisper/timing.py has them."""
    model = reference_model(checkpoint, torch.device("cpu"))
    scores: dict[int, torch.Tensor] = {}
    for i, block in enumerate(model.decoder.blocks):
        block.cross_attn.register_forward_hook(lambda _, ins, outs, i=i: scores.update({i: outs[-1][0]}))
    pairs = []
    for window, length in enumerate(LENGTHS):
        text = torch.from_numpy(tokens[window : window + 1, :length])
        with torch.no_grad(), disable_sdpa():
            logits = model(torch.from_numpy(noise(2)[window : window + 1]), text)[0]
        probabilities = logits[:-1, :N_TEXT].softmax(dim=-1)
        of_heads = torch.stack([scores[layer][head] for layer, head in HEADS])
        pairs.append((of_heads.numpy(), probabilities[torch.arange(length - 1), text[0, 1:]].numpy()))
    return pairs


def test_scores_and_probabilities_are_the_references(
    aligner: MaxGraphModel, features: GraphFeatures, tokens: np.ndarray, expected: list
) -> None:
    seen = aligner.cross_attention(features, tokens, N_TEXT)
    assert seen.scores.shape == (2, len(HEADS), 41, 1500)
    assert seen.probabilities.shape == (2, 40)
    for window, (scores, probabilities) in enumerate(expected):
        length = LENGTHS[window]
        assert scores.std() > 0.5
        np.testing.assert_allclose(seen.scores[window, :, :length], scores, atol=1e-3, rtol=0)
        # Those of random tokens are small: equal in proportion.
        np.testing.assert_allclose(seen.probabilities[window, : length - 1], probabilities, atol=0, rtol=1e-3)


def test_a_large_batch_is_aligned_in_parts(
    aligner: MaxGraphModel, features: GraphFeatures, tokens: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = aligner.cross_attention(features, tokens, N_TEXT)
    monkeypatch.setattr(word_alignment, "LOGITS_AT_ONCE", 1)
    apart = aligner.cross_attention(features, tokens, N_TEXT)
    np.testing.assert_allclose(apart.scores, together.scores, atol=1e-4, rtol=0)
    np.testing.assert_allclose(apart.probabilities, together.probabilities, atol=1e-6, rtol=0)


def test_tokens_beyond_the_text_take_nothing_from_the_others(
    aligner: MaxGraphModel, features: GraphFeatures, tokens: np.ndarray
) -> None:
    together = aligner.cross_attention(features, tokens, N_TEXT)
    changed = tokens.copy()
    changed[1, 30:] = 51864  # the last timestamp
    seen = aligner.cross_attention(features, changed, N_TEXT)
    assert np.isfinite(seen.probabilities).all()
    np.testing.assert_array_equal(seen.scores[1, :, :30], together.scores[1, :, :30])
    np.testing.assert_array_equal(seen.probabilities[1, :29], together.probabilities[1, :29])


def test_a_state_goes_on_after_an_alignment(
    aligner: MaxGraphModel, features: GraphFeatures, tokens: np.ndarray
) -> None:
    state = aligner.start(features)
    state.advance(tokens[:, :5], [4])
    aligner.cross_attention(features, tokens, N_TEXT)
    logits = state.advance(tokens[:, 5:6], [0])
    undisturbed = aligner.start(features)
    undisturbed.advance(tokens[:, :5], [4])
    np.testing.assert_array_equal(logits, undisturbed.advance(tokens[:, 5:6], [0]))


def test_the_context_is_the_limit(aligner: MaxGraphModel, features: GraphFeatures) -> None:
    with pytest.raises(ValueError, match="449 tokens do not fit into a context of 448"):
        aligner.cross_attention(features, np.zeros((2, 449), dtype=np.int64), N_TEXT)


def test_it_is_compiled_once(
    aligner: MaxGraphModel, features: GraphFeatures, tokens: np.ndarray, checkpoint: Checkpoint, noise: Noise
) -> None:
    aligner.cross_attention(features, tokens, N_TEXT)
    messages: list[str] = []

    def progress(step: Step, /) -> None:
        messages.append(step.message)

    again = MaxGraphModel(checkpoint, select_device("cpu"), progress)
    again.cross_attention(again.encode(noise(1)), tokens[:1], N_TEXT)
    assert messages == ["loading the model"]


@pytest.mark.parametrize(("name", "layers"), [("tiny", 2), ("tiny", 3)])
def test_without_alignment_heads_the_upper_half_of_the_decoder_is_taken(
    name: str, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = load_checkpoint(random_checkpoint(name, layers=layers))
    assert checkpoint.alignment_heads is None
    asked: list[list[tuple[int, int]]] = []

    def load_alignment(checkpoint: object, device: object, weights: object, heads: list, *_: object) -> None:
        asked.append(heads)
        raise InterruptedError

    monkeypatch.setattr(word_alignment, "load_alignment", load_alignment)
    aligner = word_alignment.WordAligner(checkpoint, select_device("cpu"), silent)
    with pytest.raises(InterruptedError):
        aligner.cross_attention(Buffer.from_numpy(np.zeros((1, 1500, 384), np.float32)), np.zeros((1, 2)), N_TEXT)
    reference = reference_model(checkpoint, torch.device("cpu")).alignment_heads.indices()
    assert asked == [[(layer, head) for layer, head in reference.T.tolist()]]
