"""Weights as the fused operations of kernels/ read them: each layer's parameters as one block of bytes.

The matrices are cut into tiles of 1 KB (kernels/tiles.mojo, floats.mojo). For int8 each row of a weight, which is a
column of the result, is rounded to 127 steps to either side of zero, as CTranslate2 does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from max_whisper.models.whisper.dimensions import ModelDimensions

COMPUTE_TYPES = ("int8", "bfloat16", "float32")
FORMATS = ("int8", "bfloat16", "float16", "float32", "bfloat16x2", "bfloat16x3")
"""How a weight is kept; in the last two it is the sum of so many bfloat16: exactly a float16, or a float32."""
LINE = 64  # bytes along the depth in a line of a tile
LINES = 16  # columns of the result in a tile
SIDE = 32  # columns of the result that are computed together


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
    """A weight [columns, depth] of int8, or of bfloat16 as uint16, as uint8 [columns / 16, lines / 16, 1024].

    The depth is filled up with zeros to whole tiles' width of 64 bytes.
    """
    columns, depth = weight.shape
    in_line = LINE // weight.itemsize
    together = 4 // weight.itemsize  # values of the depth that lie side by side
    steps = -(-depth // in_line)
    filled = np.zeros((columns, steps * in_line), dtype=weight.dtype)
    filled[:, :depth] = weight
    tiles = filled.reshape(columns // LINES, LINES, steps, in_line // together, together).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(tiles).view(np.uint8).reshape(columns // LINES, steps, LINE * LINES)


def to_columns(weight: np.ndarray) -> np.ndarray:
    """A weight [columns, depth] as [columns / 16, depth, 16], the depth filled up with zeros to a multiple of 16."""
    columns, depth = weight.shape
    filled = np.pad(weight, ((0, 0), (0, -depth % LINES)))
    return np.ascontiguousarray(filled.reshape(columns // LINES, LINES, -1).transpose(0, 2, 1))


def split_bfloat16(values: np.ndarray, parts: int) -> list[np.ndarray]:
    """So many bfloat16, as their bits in uint16, whose sum is float32 values: each is what is left of them, rounded."""
    rest, given = np.ascontiguousarray(values, dtype=np.float32), []
    for _ in range(parts):
        given.append(to_bfloat16(rest))
        rest = rest - (given[-1].astype(np.uint32) << 16).view(np.float32)
    return given


def pack_linear(weight: np.ndarray, bias: np.ndarray | None, form: str) -> list[np.ndarray]:
    """A linear layer's weight float32 [columns, depth] and bias [columns] as the struct `Linear` reads them.

    The columns are filled up with zeros to a multiple of 32. form: one of FORMATS.
    """
    columns, _ = weight.shape
    filling = -columns % SIDE
    weight = np.pad(weight.astype(np.float32, copy=False), ((0, filling), (0, 0)))
    bias = np.zeros(columns, np.float32) if bias is None else bias.astype(np.float32, copy=False)
    bias = np.pad(bias, (0, filling))
    if form == "int8":
        scale = np.abs(weight).max(axis=1) / 127
        quantized = np.rint(weight / np.where(scale > 0, scale, 1)[:, None]).astype(np.int8)
        totals = quantized.sum(axis=1, dtype=np.int32) * scale
        return [bias, scale.astype(np.float32), totals.astype(np.float32), to_tiles(quantized)]
    if form in ("float16", "float32"):
        return [bias, to_columns(weight.astype(np.dtype(form), copy=False))]
    # The parts of a tile lie one after the other.
    return [bias, np.stack([to_tiles(part) for part in split_bfloat16(weight, _parts(form))], axis=2)]


def _parts(form: str) -> int:
    return {"bfloat16": 1, "bfloat16x2": 2, "bfloat16x3": 3}[form]


def is_float32(name: str) -> bool:
    """Whether a packed array is of float32, as what is added to activations or scales them is; others are bytes."""
    return name.endswith(("positional_embedding", "ln_post"))


class Packer:
    """The parts of a checkpoint, packed."""

    def __init__(self, weights: Mapping[str, np.ndarray], dims: ModelDimensions, packing: Packing) -> None:
        self._weights = weights
        self._dims = dims
        self._packing = packing

    def packed(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every weight of the graphs of `build_fused_graphs`, by its name."""
        dims = self._dims
        yield "encoder.convolutions", _bytes(self._convolutions())
        yield "encoder.positional_embedding", self._weights["encoder.positional_embedding"].astype(np.float32)
        yield "encoder.blocks", self._layers("encoder", dims.n_audio_layer)
        yield "encoder.ln_post", np.stack(self._normalization("encoder.ln_post"))
        yield (
            "cross_attention",
            np.stack(
                [_bytes(self._cross_keys_values(f"decoder.blocks.{i}.cross_attn")) for i in range(dims.n_text_layer)]
            ),
        )
        yield "decoder.blocks", self._layers("decoder", dims.n_text_layer)
        embedding = pack_linear(self._weights["decoder.token_embedding.weight"], None, self._packing.tokens)
        yield "decoder.embedding", _bytes([*self._normalization("decoder.ln"), *embedding])
        yield "decoder.positional_embedding", self._weights["decoder.positional_embedding"].astype(np.float32)

    def _layers(self, side: str, count: int) -> np.ndarray:
        return np.stack([_bytes(self._block(f"{side}.blocks.{i}", side == "decoder")) for i in range(count)])

    def _block(self, name: str, crosses: bool) -> Iterator[np.ndarray]:
        """A block's parameters in the order in which it uses them."""
        yield from self._normalization(f"{name}.attn_ln")
        form = self._packing.tokens if crosses else self._packing.windows
        yield from self._together(f"{name}.attn", ("query", "key", "value"), form)
        yield from self._together(f"{name}.attn", ("out",), form)
        if crosses:
            yield from self._normalization(f"{name}.cross_attn_ln")
            yield from self._together(f"{name}.cross_attn", ("query",), form)
            yield from self._together(f"{name}.cross_attn", ("out",), form)
        yield from self._normalization(f"{name}.mlp_ln")
        yield from self._together(f"{name}.mlp", ("0",), form)
        yield from self._together(f"{name}.mlp", ("2",), form)

    def _cross_keys_values(self, name: str) -> list[np.ndarray]:
        return self._together(name, ("key", "value"), self._packing.windows)

    def _together(self, name: str, parts: tuple[str, ...], form: str) -> list[np.ndarray]:
        """Linear layers of the same input as one; a key has no bias."""
        weights = [self._weights[f"{name}.{part}.weight"] for part in parts]
        biases = [
            np.zeros(len(weight), np.float32) if part == "key" else self._weights[f"{name}.{part}.bias"]
            for part, weight in zip(parts, weights, strict=True)
        ]
        return pack_linear(np.concatenate(weights), np.concatenate(biases), form)

    def _normalization(self, name: str) -> list[np.ndarray]:
        return [self._weights[f"{name}.{part}"].astype(np.float32) for part in ("weight", "bias")]

    def _convolutions(self) -> Iterator[np.ndarray]:
        for name in ("encoder.conv1", "encoder.conv2"):
            weight = self._weights[f"{name}.weight"]  # [out, in, kernel]
            lines = weight.transpose(0, 2, 1).reshape(len(weight), -1)
            yield from pack_linear(lines, self._weights[f"{name}.bias"], self._packing.convolutions)


def _bytes(arrays: Iterator[np.ndarray] | list[np.ndarray]) -> np.ndarray:
    """Arrays one after the other, as uint8 [bytes]."""
    return np.concatenate([np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays])


def linear_size(columns: int, depth: int, form: str) -> int:
    """Bytes that `pack_linear` gives."""
    columns += -columns % SIDE
    if form == "int8":
        return columns * (12 + -(-depth // LINE) * LINE)
    if form in ("float16", "float32"):
        return columns * (4 + -(-depth // LINES) * LINES * np.dtype(form).itemsize)
    return columns * (4 + _parts(form) * -(-2 * depth // LINE) * LINE)


def packed_shapes(dims: ModelDimensions, packing: Packing) -> dict[str, tuple[int, ...]]:
    """The shape of each of the arrays that `Packer` gives, in the same order."""

    def block(width: int, attentions: int, form: str) -> int:
        linear = (linear_size(3 * width, width, form), linear_size(width, width, form))
        mlp = linear_size(4 * width, width, form) + linear_size(width, 4 * width, form)
        cross = 2 * linear[1] if attentions == 2 else 0
        return (attentions + 1) * 8 * width + sum(linear) + cross + mlp

    audio, text = dims.n_audio_state, dims.n_text_state
    convolutions = [linear_size(audio, 3 * depth, packing.convolutions) for depth in (dims.n_mels, audio)]
    return {
        "encoder.convolutions": (sum(convolutions),),
        "encoder.positional_embedding": (dims.n_audio_ctx, audio),
        "encoder.blocks": (dims.n_audio_layer, block(audio, 1, packing.windows)),
        "encoder.ln_post": (2, audio),
        "cross_attention": (dims.n_text_layer, linear_size(2 * text, text, packing.windows)),
        "decoder.blocks": (dims.n_text_layer, block(text, 2, packing.tokens)),
        "decoder.embedding": (8 * text + linear_size(dims.n_vocab, text, packing.tokens),),
        "decoder.positional_embedding": (dims.n_text_ctx, text),
    }
