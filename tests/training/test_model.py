"""The model in training is the model that is saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional
from whisper.model import Whisper

from training.model import DIMENSIONS, TrainableWhisper, save_checkpoint
from training.vocabulary import timestamp, tokenizer, used_tokens


@pytest.fixture(scope="module")
def model() -> TrainableWhisper:
    torch.manual_seed(0)
    model = TrainableWhisper(used_tokens(["turn on the lights", "seven two nine"]))
    model.initialize_timestamps(tokenizer().timestamp_begin)
    return model.eval()


@pytest.fixture(scope="module")
def log_mel() -> Tensor:
    return torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_whisper_itself_gives_the_same_probabilities(model: TrainableWhisper, log_mel: Tensor) -> None:
    whisper = Whisper(DIMENSIONS)
    whisper.load_state_dict(model.whisper_state())
    tokens = [*tokenizer().sot_sequence, timestamp(0), *tokenizer().encode(" seven two")]
    features = model.encode(log_mel, torch.tensor([0]))
    torch.testing.assert_close(features, whisper.encoder(log_mel), atol=1e-4, rtol=1e-4)

    compact = torch.tensor([[model.compact[token] for token in tokens]])
    ours = model.logits(model.decode(compact, features)).log_softmax(-1)
    theirs = whisper.decoder(torch.tensor([tokens]), features).log_softmax(-1)
    torch.testing.assert_close(ours[..., :-1], theirs[..., model.used_tokens], atol=1e-4, rtol=1e-4)
    unused = sorted(set(range(DIMENSIONS.n_vocab)) - set(model.used_tokens))
    torch.testing.assert_close(ours[..., -1], theirs[..., unused].logsumexp(-1), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_shifted_window_gets_the_positions_of_its_place(model: TrainableWhisper, log_mel: Tensor) -> None:
    short = log_mel[:, :, :200]
    here, there = (model.encode(short, torch.tensor([offset])) for offset in (0, 300))
    assert not torch.allclose(here, there, atol=1e-3)
    positions = model.encoder.positional_embedding.clone()
    model.encoder.positional_embedding.copy_(positions.roll(-300, dims=0))
    rolled = model.encode(short, torch.tensor([0]))
    model.encoder.positional_embedding.copy_(positions)
    torch.testing.assert_close(rolled, there)


@torch.no_grad()
def test_stem_is_scaled_to_the_size_of_the_positions(log_mel: Tensor) -> None:
    model = TrainableWhisper(used_tokens([]))
    model.scale_stem(log_mel)
    encoder = model.encoder
    out = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(log_mel))))
    assert 0.5 < float(out.std()) < 1.5


def test_heads_start_by_looking_nearby() -> None:
    torch.manual_seed(0)
    model = TrainableWhisper(used_tokens([]))
    positions = model.encoder.positional_embedding[:400]
    attend = model.encoder.blocks[0].attn
    with torch.no_grad():
        q, k = (layer(positions).view(400, 3, 64).transpose(0, 1) for layer in (attend.query, attend.key))
    peaks = (q @ k.transpose(1, 2))[:, 100:300].argmax(-1) - torch.arange(100, 300)
    assert [float(head.median()) for head in peaks.float()] == pytest.approx([0, -2, 2], abs=1)


def test_checkpoint_on_disk(model: TrainableWhisper, tmp_path: Path) -> None:
    path = tmp_path / "nano.safetensors"
    save_checkpoint(model.whisper_state(), path)
    whisper = Whisper(DIMENSIONS)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert metadata["format"] == "max-whisper"
    assert metadata["name"] == "nano"
    assert json.loads(metadata["dims"])["n_vocab"] == 51865
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
    whisper.load_state_dict(tensors)
    assert list(tmp_path.iterdir()) == [path]
