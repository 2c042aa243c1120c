"""`nano` while it is trained: openai-whisper's own modules, with what training adds around them.

Three things differ from the finished model. The rows of tokens that no text uses are one shared row, so that the
vocabulary of 51,865 costs what its few used tokens cost. The encoder's features also feed a CTC head over characters,
which makes the encoder learn to listen. And windows may be shorter than 30 s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from whisper.model import ModelDimensions, MultiHeadAttention, Whisper, sinusoids

from training.attention import attention

DIMENSIONS = ModelDimensions(
    n_mels=80,
    n_audio_ctx=1500,
    n_audio_state=192,
    n_audio_head=3,
    n_audio_layer=4,
    n_vocab=51865,
    n_text_ctx=448,
    n_text_state=192,
    n_text_head=3,
    n_text_layer=2,
)
CHARACTERS = " abcdefghijklmnopqrstuvwxyz'"
HEAD_WIDTH = 64


class TrainableWhisper(nn.Module):
    """Whisper with a shared row for unused tokens and a CTC head.

    Args:
        used_tokens: the tokens that texts, timestamps and prompts use; everything here counts tokens by their place in
            this list ('compact' tokens).
    """

    def __init__(self, used_tokens: Sequence[int]) -> None:
        super().__init__()
        self.used_tokens = list(used_tokens)
        self.compact = {token: place for place, token in enumerate(self.used_tokens)}
        whisper = Whisper(DIMENSIONS)
        self.encoder, self.decoder = whisper.encoder, whisper.decoder
        self.decoder.token_embedding = nn.Identity()
        for module in whisper.modules():
            if isinstance(module, MultiHeadAttention):
                module.qkv_attention = _attend
            elif isinstance(module, nn.LayerNorm):
                module.forward = partial(_layer_norm, module)  # type: ignore[method-assign]
        state = DIMENSIONS.n_text_state
        self.embedding = nn.Parameter(torch.randn(len(self.used_tokens) + 1, state) * 0.02)
        self.ctc = nn.Linear(DIMENSIONS.n_audio_state, len(CHARACTERS) + 1)
        self.log_unused = math.log(DIMENSIONS.n_vocab - len(self.used_tokens))
        self._initialize()

    @torch.no_grad()
    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for stack in (self.encoder, self.decoder):
            shrink = (2 * len(stack.blocks)) ** -0.5
            for block in stack.blocks:
                block.attn.out.weight.mul_(shrink)
                block.mlp[2].weight.mul_(shrink)
                if block.cross_attn is not None:
                    block.cross_attn.out.weight.mul_(shrink)
        state = DIMENSIONS.n_text_state
        self.decoder.positional_embedding.copy_(sinusoids(DIMENSIONS.n_text_ctx, state) * 0.02)
        for layer, block in enumerate(self.encoder.blocks):
            _look_nearby(block.attn.query.weight, block.attn.key.weight, layer)

    @torch.no_grad()
    def initialize_timestamps(self, timestamp_begin: int) -> None:
        """Give timestamp tokens an order from the start: the encoder's positions, scaled down."""
        positions = sinusoids(DIMENSIONS.n_audio_ctx + 1, DIMENSIONS.n_text_state) * 0.03
        for place, token in enumerate(self.used_tokens):
            if token >= timestamp_begin:
                self.embedding[place] = positions[token - timestamp_begin]

    @torch.no_grad()
    def scale_stem(self, log_mel: Tensor) -> None:
        """Scale the convolutions so that their output on `log_mel` has an RMS near 1.

        Otherwise it is some twenty times smaller than the positions added to it, which drown the sound.
        """
        encoder = self.encoder
        encoder.conv1.weight.div_(functional.gelu(encoder.conv1(log_mel)).std())
        encoder.conv2.weight.div_(functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(log_mel)))).std())

    def encode(self, log_mel: Tensor, offsets: Tensor) -> Tensor:
        """Features [batch, frames // 2, state] of windows [batch, 80, frames] at positions `offsets` [batch]."""
        encoder = self.encoder
        x = functional.gelu(encoder.conv1(log_mel))
        x = functional.gelu(encoder.conv2(x)).permute(0, 2, 1).contiguous()
        positions = offsets[:, None] + torch.arange(x.shape[1])
        x = x + encoder.positional_embedding[positions].to(x.dtype)
        for block in encoder.blocks:
            x = block(x)
        return encoder.ln_post(x)

    def decode(self, tokens: Tensor, features: Tensor) -> Tensor:
        """Hidden states [batch, length, state] for compact `tokens` [batch, length]."""
        decoder = self.decoder
        x = functional.embedding(tokens, self.embedding) + decoder.positional_embedding[: tokens.shape[1]]
        x = x.to(features.dtype)
        for block in decoder.blocks:
            x = block(x, features, mask=decoder.mask)
        return decoder.ln(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Compact logits: the shared row stands for all unused tokens, so it counts as often as there are."""
        logits = functional.linear(hidden, self.embedding.to(hidden.dtype)).float()
        return torch.cat([logits[..., :-1], logits[..., -1:] + self.log_unused], dim=-1)

    def whisper_state(self) -> dict[str, Tensor]:
        """The weights under openai-whisper's names, with the embedding of the whole vocabulary."""
        state = {
            name: tensor.detach().clone()
            for name, tensor in self.state_dict().items()
            if name.startswith(("encoder.", "decoder."))
        }
        embedding = self.embedding.detach()
        full = embedding[-1].repeat(DIMENSIONS.n_vocab, 1)
        full[torch.tensor(self.used_tokens)] = embedding[:-1]
        state["decoder.token_embedding.weight"] = full
        return state


def _layer_norm(module: nn.LayerNorm, x: Tensor) -> Tensor:
    """openai-whisper's `LayerNorm` without its detour through a float32 copy: the sums are float32 anyway."""
    return functional.layer_norm(x, module.normalized_shape, module.weight, module.bias, module.eps)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, None]:
    """openai-whisper's `MultiHeadAttention.qkv_attention`, with an attention that trains faster."""
    q, k, v = (x.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2) for x in (q, k, v))
    out = attention(q, k, v, causal=mask is not None and q.shape[1] > 1)
    return out.transpose(1, 2).flatten(2), None


def _look_nearby(query: Tensor, key: Tensor, layer: int, strength: float = 1.25) -> None:
    """Make each head start by attending to its own position, a bit before or a bit after it.

    With sinusoidal positions a rotation of the query moves the peak of its product with the keys by a fixed offset. The
    offset grows with the layer. A random start needs long to find that speech is local.
    """
    state = query.shape[1]
    half, pairs = state // 2, HEAD_WIDTH // 2
    frequencies = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half))
    offset, first = (2, 4, 8, 14)[layer % 4], (0, 0, 6, 10)[layer % 4]
    query.mul_(0.5)
    key.mul_(0.5)
    for head in range(state // HEAD_WIDTH):
        shift = (0, -offset, offset)[head % 3]
        for pair in range(pairs):
            i, row = first + pair, head * HEAD_WIDTH + pair
            angle = float(frequencies[i]) * shift
            cosine, sine = strength * math.cos(angle), strength * math.sin(angle)
            key[row, i] += strength
            key[row + pairs, i + half] += strength
            query[row, i] += cosine
            query[row, i + half] += sine
            query[row + pairs, i + half] += cosine
            query[row + pairs, i] -= sine


def save_checkpoint(state: dict[str, Tensor], path: Path) -> None:
    """Write weights under openai-whisper's names as float16 safetensors with the model's dimensions."""
    metadata = {
        "format": "max-whisper",
        "name": "nano",
        "dims": json.dumps(asdict(DIMENSIONS)),
    }
    partial = path.with_suffix(".partial")
    tensors = {name: tensor.half().contiguous() for name, tensor in state.items()}
    save_file(tensors, partial, metadata=metadata)
    partial.rename(path)
