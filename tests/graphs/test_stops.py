"""The fused graphs, stopped after each of their blocks, against PyTorch's blocks: the graphs that users run."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks.parity import LIMITS
from max_whisper.backends.fused import FusedModel
from max_whisper.backends.torch import reference_model
from max_whisper.checkpoint import Checkpoint

# What rounding does to x, of a standard deviation of 1 and more, and to logits, doubled.
ROUNDING = {"float32": (LIMITS["features"], LIMITS["logits"]), "int8": (0.4, 0.5)}


@torch.no_grad()
def expected_layers(checkpoint: Checkpoint, log_mel: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """As `FusedModel.layers`, by openai-whisper's modules."""
    model = reference_model(checkpoint, torch.device("cpu"))
    encoder, decoder = model.encoder, model.decoder
    values = {}
    x = torch.nn.functional.gelu(encoder.conv1(torch.from_numpy(log_mel)))
    x = torch.nn.functional.gelu(encoder.conv2(x)).permute(0, 2, 1) + encoder.positional_embedding
    for i, block in enumerate(encoder.blocks):
        values[f"encoder.x.{i}"] = x
        x = block(x)
    features = values["encoder.ln_post"] = encoder.ln_post(x)
    x = decoder.token_embedding(torch.from_numpy(tokens)) + decoder.positional_embedding[: tokens.shape[1]]
    for i, block in enumerate([*decoder.blocks, None]):
        values[f"decoder.logits.{i}"] = decoder.ln(x) @ decoder.token_embedding.weight.T
        if block is not None:
            x = block(x, features, mask=decoder.mask)
    return {name: value.float().numpy() for name, value in values.items()}


def test_what_each_block_gives_is_the_references(
    fused_tiny: FusedModel, tiny: Checkpoint, noise: Callable[..., np.ndarray]
) -> None:
    log_mel = noise(2)
    tokens = np.random.default_rng(5).integers(0, tiny.dims.n_vocab, (2, 9))
    expected = expected_layers(tiny, log_mel, tokens)
    given = fused_tiny.layers(log_mel, tokens)
    assert list(given) == list(expected)
    for name, value in given.items():
        limit = ROUNDING[fused_tiny.compute_type][name.startswith("decoder")]
        assert value.shape == expected[name].shape
        assert np.abs(value - expected[name]).max() < limit, name
    names = list(expected)
    for before, after in pairwise(names):
        if expected[before].shape == expected[after].shape:  # a block does something
            assert np.abs(expected[before] - expected[after]).max() > 1


def test_all_blocks_are_what_a_transcription_runs(fused_tiny: FusedModel, noise: Callable[..., np.ndarray]) -> None:
    log_mel, tokens = noise(1), np.array([[50258, 50259, 50359]])
    layers = fused_tiny.layers(log_mel, tokens)
    features = fused_tiny.encode(log_mel)
    np.testing.assert_array_equal(layers["encoder.ln_post"], features.features.to_numpy())
    logits = fused_tiny.start(features).advance(tokens, range(3))
    np.testing.assert_array_equal(layers[f"decoder.logits.{fused_tiny.dims.n_text_layer}"], logits)


@pytest.mark.parametrize("n_blocks", [-1, 3])
def test_a_block_that_is_not_there_is_refused(
    fused_tiny: FusedModel, noise: Callable[..., np.ndarray], n_blocks: int
) -> None:
    features = fused_tiny.encode(noise(1))
    with pytest.raises(ValueError, match=f"decoder_step: n_blocks is {n_blocks}, and must be from 0 to 2"):
        fused_tiny.start(features, n_blocks=n_blocks).advance(np.array([[50258]]), [0])
