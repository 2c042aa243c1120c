"""Weights as the fused operations of kernels/ read them: each layer's parameters as one block of bytes.

What a block of the encoder or decoder consists of, in which order and of what sizes, is defined here alone
(`encoder_block`, `decoder_block`). The offsets of its parts are packed with them; an operation reads the parts by them
and raises an error where they are not those of its own sizes (kernels/operations/block_parameters.mojo).

The matrices are cut into tiles of 1 KB (kernels/matmul/tiles.mojo). For int8 each row of a weight, which is a column of
the result, is rounded to 127 steps to either side of zero, as CTranslate2 does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.runtime.packed_weights import ALIGNMENT, PackedArray

COMPUTE_TYPES = ("int8", "bfloat16", "float32")
FORMATS = ("int8", "bfloat16", "float16", "float32", "bfloat16x2", "bfloat16x3")
"""How a weight is kept; in the last two it is the sum of so many bfloat16: exactly a float16, or a float32."""
ROW_BYTES = 64  # of a row of a tile
PANEL = 16  # rows of a weight, which are columns of the result, in a tile
BLOCK = 32  # columns of the result that are computed together; positions in a block of keys and values


@dataclass(frozen=True)
class Packing:
    """The format of each kind of weights, one of FORMATS."""

    convolutions: str
    windows: str  # of the encoder's blocks, and of cross-attention's keys and values
    tokens: str  # of the decoder's blocks and the vocabulary

    @classmethod
    def of(cls, compute_type: str, *, is_float16: bool, has_amx: bool) -> "Packing":
        """compute_type: one of COMPUTE_TYPES. is_float16: whether all weights are float16 as published.

        In bfloat16 the convolutions are so for int8 too: they are a small part of the work, and all that follows
        depends on them.
        """
        if compute_type != "float32":
            return cls("bfloat16", compute_type, compute_type)
        tokens = "float16" if is_float16 else "float32"
        windows = tokens if not has_amx else "bfloat16x2" if is_float16 else "bfloat16x3"
        return cls(windows, windows, tokens)


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 rounded to the nearest bfloat16, to even where two are as near, as their bits in uint16."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def to_tiles(weight: np.ndarray) -> np.ndarray:
    """A weight [columns, k] of int8, or of bfloat16 as uint16, as uint8 [columns / 16, k tiles, 1024].

    k is filled up with zeros to whole tiles, whose rows have 64 bytes.
    """
    columns, k = weight.shape
    tile_k = ROW_BYTES // weight.itemsize
    together = 4 // weight.itemsize  # values of k that lie side by side
    k_tiles = -(-k // tile_k)
    filled = np.zeros((columns, k_tiles * tile_k), dtype=weight.dtype)
    filled[:, :k] = weight
    tiles = filled.reshape(columns // PANEL, PANEL, k_tiles, tile_k // together, together).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(tiles).view(np.uint8).reshape(columns // PANEL, k_tiles, ROW_BYTES * PANEL)


def to_panels(weight: np.ndarray) -> np.ndarray:
    """A weight [columns, k] as [columns / 16, k, 16], k filled up with zeros to a multiple of 16."""
    columns, k = weight.shape
    filled = np.pad(weight, ((0, 0), (0, -k % PANEL)))
    return np.ascontiguousarray(filled.reshape(columns // PANEL, PANEL, -1).transpose(0, 2, 1))


def split_bfloat16(values: np.ndarray, parts: int) -> list[np.ndarray]:
    """So many bfloat16, as their bits in uint16, whose sum is float32 values: each is what is left of them, rounded."""
    rest, given = np.ascontiguousarray(values, dtype=np.float32), []
    for _ in range(parts):
        given.append(to_bfloat16(rest))
        rest = rest - (given[-1].astype(np.uint32) << 16).view(np.float32)
    return given


def pack_linear(weight: np.ndarray, bias: np.ndarray | None, form: str) -> list[np.ndarray]:
    """A linear layer's weight float32 [columns, k] and bias [columns] as the kernels' `Linear` reads them.

    See kernels/matmul/linear.mojo. The columns are filled up with zeros to a multiple of 32. form: one of FORMATS.
    """
    columns, _ = weight.shape
    filling = -columns % BLOCK
    weight = np.pad(weight.astype(np.float32, copy=False), ((0, filling), (0, 0)))
    bias = np.zeros(columns, np.float32) if bias is None else bias.astype(np.float32, copy=False)
    bias = np.pad(bias, (0, filling))
    if form == "int8":
        scale = np.abs(weight).max(axis=1) / 127
        quantized = np.rint(weight / np.where(scale > 0, scale, 1)[:, None]).astype(np.int8)
        weight_sums = quantized.sum(axis=1, dtype=np.int32) * scale
        return [bias, scale.astype(np.float32), weight_sums.astype(np.float32), to_tiles(quantized)]
    if form in ("float16", "float32"):
        return [bias, to_panels(weight.astype(np.dtype(form), copy=False))]
    # The parts of a tile lie one after the other.
    return [bias, np.stack([to_tiles(part) for part in split_bfloat16(weight, _parts(form))], axis=2)]


def linear_size(columns: int, k: int, form: str) -> int:
    """Bytes that `pack_linear` gives."""
    columns += -columns % BLOCK
    if form == "int8":
        return columns * (12 + -(-k // ROW_BYTES) * ROW_BYTES)
    if form in ("float16", "float32"):
        return columns * (4 + -(-k // PANEL) * PANEL * np.dtype(form).itemsize)
    return columns * (4 + _parts(form) * -(-2 * k // ROW_BYTES) * ROW_BYTES)


def _parts(form: str) -> int:
    return {"bfloat16": 1, "bfloat16x2": 2, "bfloat16x3": 3}[form]


Weights = Mapping[str, np.ndarray]
WITHOUT_BIAS = ("key", "token_embedding")  # linear layers of Whisper that have none


@dataclass(frozen=True)
class NormPart:
    """A layer normalization: gamma, then beta, float32 [width] each."""

    name: str  # in the checkpoint and in the kernels
    width: int

    def size(self, form: str) -> int:
        return 2 * self.width * 4

    def pack(self, weights: Weights, prefix: str, form: str) -> list[np.ndarray]:
        return [weights[f"{prefix}{self.name}.{name}"].astype(np.float32) for name in ("weight", "bias")]


@dataclass(frozen=True)
class LinearPart:
    """Linear layers of the same input as one, of weights [out_features, in_features] together."""

    name: str  # in the kernels
    sources: tuple[str, ...]  # in the checkpoint
    out_features: int
    in_features: int

    def size(self, form: str) -> int:
        return linear_size(self.out_features, self.in_features, form)

    def pack(self, weights: Weights, prefix: str, form: str) -> list[np.ndarray]:
        matrices = [weights[f"{prefix}{source}.weight"] for source in self.sources]
        biases = [
            np.zeros(len(matrix), np.float32) if source.endswith(WITHOUT_BIAS) else weights[f"{prefix}{source}.bias"]
            for source, matrix in zip(self.sources, matrices, strict=True)
        ]
        return pack_linear(np.concatenate(matrices), np.concatenate(biases), form)


@dataclass(frozen=True)
class ConvolutionPart:
    """A convolution of 3 frames as a linear layer of 3 * channels features: weights [out, in, 3] as [out, 3 * in]."""

    name: str
    out_features: int
    channels: int

    def size(self, form: str) -> int:
        return linear_size(self.out_features, 3 * self.channels, form)

    def pack(self, weights: Weights, prefix: str, form: str) -> list[np.ndarray]:
        weight = weights[f"{prefix}{self.name}.weight"]
        matrix = weight.transpose(0, 2, 1).reshape(len(weight), -1)
        return pack_linear(matrix, weights[f"{prefix}{self.name}.bias"], form)


Part = NormPart | LinearPart | ConvolutionPart


@dataclass(frozen=True)
class Layout:
    """Parts that lie one after the other in one block of bytes."""

    parts: tuple[Part, ...]

    @property
    def names(self) -> str:
        """Those of the parts, as kernels compare them."""
        return " ".join(part.name for part in self.parts)

    def size(self, form: str) -> int:
        return sum(part.size(form) for part in self.parts)

    def offsets(self, form: str) -> np.ndarray:
        """Where each part begins, then where the last one ends, repeated to whole ALIGNMENTs: int64."""
        ends = np.cumsum([0, *(part.size(form) for part in self.parts)], dtype=np.int64)
        return np.pad(ends, (0, -len(ends) % (ALIGNMENT // ends.itemsize)), mode="edge")

    def pack(self, weights: Weights, prefix: str, form: str) -> np.ndarray:
        """The parts of a checkpoint, uint8 [bytes]."""
        arrays = [array for part in self.parts for array in part.pack(weights, prefix, form)]
        return np.concatenate([np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays])


def encoder_block(width: int) -> Layout:
    """A block of the encoder, in the order in which it uses its parts."""
    return Layout((*_self_attention(width), *_mlp(width)))


def decoder_block(width: int) -> Layout:
    """A block of the decoder, without cross-attention's keys and values."""
    cross_attention = (
        NormPart("cross_attn_ln", width),
        LinearPart("cross_attn.query", ("cross_attn.query",), width, width),
        LinearPart("cross_attn.out", ("cross_attn.out",), width, width),
    )
    return Layout((*_self_attention(width), *cross_attention, *_mlp(width)))


def _self_attention(width: int) -> tuple[Part, ...]:
    return (
        NormPart("attn_ln", width),
        LinearPart("attn.query_key_value", ("attn.query", "attn.key", "attn.value"), 3 * width, width),
        LinearPart("attn.out", ("attn.out",), width, width),
    )


def _mlp(width: int) -> tuple[Part, ...]:
    return (
        NormPart("mlp_ln", width),
        LinearPart("mlp.fc1", ("mlp.0",), 4 * width, width),
        LinearPart("mlp.fc2", ("mlp.2",), width, 4 * width),
    )


def packed_arrays(dims: ModelDimensions, packing: Packing) -> dict[str, PackedArray]:
    """Every weight of the graphs of `build_fused_graphs`, by its name; their sizes are multiples of ALIGNMENT."""
    audio, text = dims.n_audio_state, dims.n_text_state
    conv = Layout((ConvolutionPart("conv1", audio, dims.n_mels), ConvolutionPart("conv2", audio, audio)))
    key_value = Layout((LinearPart("key_value", ("key", "value"), 2 * text, text),))
    vocabulary = Layout((NormPart("ln", text), LinearPart("token_embedding", ("token_embedding",), dims.n_vocab, text)))
    encoder, decoder = encoder_block(audio), decoder_block(text)
    windows, tokens = packing.windows, packing.tokens

    def block(layout: Layout, prefix: str, form: str) -> PackedArray:
        return PackedArray((layout.size(form),), "uint8", lambda weights: layout.pack(weights, prefix, form))

    def blocks(layout: Layout, prefixes: list[str], form: str) -> PackedArray:
        return PackedArray(
            (len(prefixes), layout.size(form)),
            "uint8",
            lambda weights: np.stack([layout.pack(weights, prefix, form) for prefix in prefixes]),
        )

    def offsets(layout: Layout, form: str) -> PackedArray:
        values = layout.offsets(form)
        return PackedArray(values.shape, "int64", lambda weights: values)

    def float32(name: str, *shape: int) -> PackedArray:
        return PackedArray(shape, "float32", lambda weights: weights[name].astype(np.float32))

    encoder_prefixes = [f"encoder.blocks.{i}." for i in range(dims.n_audio_layer)]
    decoder_prefixes = [f"decoder.blocks.{i}." for i in range(dims.n_text_layer)]
    ln_post = NormPart("ln_post", audio)
    return {
        "encoder.convolutions": block(conv, "encoder.", packing.convolutions),
        "encoder.positional_embedding": float32("encoder.positional_embedding", dims.n_audio_ctx, audio),
        "encoder.blocks": blocks(encoder, encoder_prefixes, windows),
        "encoder.offsets": offsets(encoder, windows),
        "encoder.ln_post": PackedArray(
            (2, audio), "float32", lambda weights: np.stack(ln_post.pack(weights, "encoder.", "float32"))
        ),
        "cross_attention": blocks(key_value, [f"{prefix}cross_attn." for prefix in decoder_prefixes], windows),
        "decoder.blocks": blocks(decoder, decoder_prefixes, tokens),
        "decoder.offsets": offsets(decoder, tokens),
        "decoder.embedding": block(vocabulary, "decoder.", tokens),
        "decoder.positional_embedding": float32("decoder.positional_embedding", dims.n_text_ctx, text),
    }
