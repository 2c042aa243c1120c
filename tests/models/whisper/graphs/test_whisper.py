"""The compiled graphs against openai-whisper on PyTorch: random weights in true shapes, text after text, layers."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
import whisper
from max.graph import DeviceRef
from rich.console import Console

import max_whisper.backends.reference
from max_whisper.backends.factory import load_max_model
from max_whisper.backends.graph_model import GraphModel
from max_whisper.backends.max_graph import MaxGraphModel
from max_whisper.backends.reference import TorchModel, reference_model
from max_whisper.diagnostics.parity import LIMITS, STEPS, compare, greedy_tokens, parity_table
from max_whisper.diagnostics.random_models import random_checkpoint
from max_whisper.models.whisper.checkpoint import Checkpoint, load_checkpoint
from max_whisper.models.whisper.graphs.whisper import build_graphs
from max_whisper.runtime.devices import select_device

Noise = Callable[..., np.ndarray]


@pytest.mark.parametrize(
    ("name", "load"),
    [("tiny", MaxGraphModel), ("tiny", load_max_model), ("base", load_max_model), ("turbo", load_max_model)],
)
def test_features_logits_and_tokens_are_the_references(
    name: str, load: Callable[..., GraphModel], noise: Noise
) -> None:
    checkpoint = load_checkpoint(random_checkpoint(name, layers=2))
    ours = load(checkpoint, select_device("cpu"))
    reference = TorchModel(reference_model(checkpoint, torch.device("cpu")))
    dims = checkpoint.dims
    log_mel = noise(1, dims.n_mels)
    tokens = np.random.default_rng(1).integers(0, dims.n_vocab, (1, 70))

    features, expected = ours.encode(log_mel), reference.encode(log_mel)
    assert np.abs(features.features.to_numpy() - expected.numpy()).max() < LIMITS["features"]
    state, expected_state = ours.start(features), reference.start(expected)
    positions = [0, 3, 69]
    logits, expected_logits = state.advance(tokens, positions), expected_state.advance(tokens, positions)
    assert logits.shape == (1, 3, dims.n_vocab)
    assert expected_logits.std() > 1
    assert np.abs(logits - expected_logits).max() < LIMITS["logits"]

    chosen = greedy_tokens(ours, log_mel)
    assert chosen == greedy_tokens(reference, log_mel)
    assert len(set(chosen)) > STEPS // 4  # not one token over and over


def test_a_prompt_at_once_is_a_prompt_token_by_token(
    compiled_tiny: MaxGraphModel, reference_tiny: TorchModel, noise: Noise
) -> None:
    log_mel = noise(1)
    tokens = np.random.default_rng(2).integers(0, 51865, (1, 9))
    expected = reference_tiny.start(reference_tiny.encode(log_mel)).advance(tokens, range(9))
    features = compiled_tiny.encode(log_mel)
    for pieces in ([9], [1] * 9, [4, 1, 3, 1]):
        state, logits, done = compiled_tiny.start(features), [], 0
        for n in pieces:
            logits.append(state.advance(tokens[:, done : done + n], range(n)))
            done += n
        np.testing.assert_allclose(np.concatenate(logits, axis=1), expected, atol=LIMITS["logits"], rtol=0)


def test_the_whole_context_can_be_filled(
    compiled_tiny: MaxGraphModel, reference_tiny: TorchModel, noise: Noise
) -> None:
    log_mel = noise(1)
    tokens = np.random.default_rng(4).integers(0, 51865, (1, 448))
    expected = reference_tiny.start(reference_tiny.encode(log_mel)).advance(tokens, [446, 447])
    state = compiled_tiny.start(compiled_tiny.encode(log_mel))
    state.advance(tokens[:, :447], [446])
    logits = state.advance(tokens[:, 447:], [0])
    np.testing.assert_allclose(logits, expected[:, 1:], atol=LIMITS["logits"], rtol=0)
    with pytest.raises(ValueError, match="449 tokens do not fit into a context of 448"):
        state.advance(tokens[:, :1], [0])


def test_features_can_be_started_again(compiled_tiny: MaxGraphModel, noise: Noise) -> None:
    features = compiled_tiny.encode(noise(1))
    tokens = np.array([[50258, 50259, 50359]])
    first = compiled_tiny.start(features).advance(tokens, [2])
    np.testing.assert_array_equal(compiled_tiny.start(features).advance(tokens, [2]), first)


def test_the_parity_lab_sees_every_layer(tiny: Checkpoint) -> None:
    parity = compare(tiny)
    assert parity.is_equal
    assert [layer.name for layer in parity.layers] == [
        *("encoder.conv1", "encoder.conv2", "encoder.blocks.0", "encoder.blocks.1", "encoder.ln_post"),
        *("decoder.blocks.0", "decoder.blocks.1", "decoder.ln", "decoder.logits"),
        *(f"product: encoder.{name}" for name in ("blocks.0.input", "blocks.0", "ln_post")),
        *(f"product: decoder.{name}.logits" for name in ("blocks.0.input", "blocks.0", "blocks.1")),
        *("product: features", "product: logits"),
    ]
    assert all(layer.cosine > 0.999999 and layer.deviation > 0.1 for layer in parity.layers)


def test_the_parity_lab_finds_the_first_layer_that_is_off(tiny: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_reference(checkpoint: Checkpoint, device: torch.device) -> whisper.Whisper:
        model = reference_model(checkpoint, device)
        bias = model.encoder.blocks[0].mlp[2].bias
        bias.data = bias.data + 0.01
        return model

    monkeypatch.setattr(max_whisper.backends.reference, "reference_model", wrong_reference)
    parity = compare(tiny)
    assert not parity.is_equal
    off = [layer.name for layer in parity.layers if not layer.is_equal]
    assert off[0] == "encoder.blocks.0"
    assert "encoder.conv2" not in off
    assert "product: encoder.blocks.0" in off
    assert "product: encoder.blocks.0.input" not in off
    table = io.StringIO()
    Console(file=table, width=160).print(parity_table(parity))
    assert "encoder.blocks.0 - first over the limit" in table.getvalue()


def test_the_same_graphs_are_built_for_a_gpu(tiny: Checkpoint) -> None:
    # Tracing needs no GPU; float16 weights and their kernel are for CPUs.
    program = str(build_graphs(tiny.dims, DeviceRef.GPU()).mlir_module)
    assert "few_rows_linear" not in program
    for name in ("encoder", "cross_attention", "decoder"):
        assert f"@{name}" in program
    assert program.count("gpu:0") > 100
