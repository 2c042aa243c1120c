"""Weights as the fused operations of kernels/ read them: each layer's parameters as one block of bytes.

The matrices are cut into tiles of 1 KB (kernels/tiles.mojo). For int8 each row of a weight, which is a column of the
result, is rounded to 127 steps to either side of zero, as CTranslate2 does.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from max_whisper.dimensions import ModelDimensions

COMPUTE_TYPES = ("int8", "bfloat16")
LINE = 64  # bytes along the depth in a line of a tile
LINES = 16  # columns of the result in a tile
SIDE = 32  # columns of the result that are computed together


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


def pack_linear(weight: np.ndarray, bias: np.ndarray | None, compute_type: str) -> list[np.ndarray]:
    """A linear layer's weight float32 [columns, depth] and bias [columns] as the struct `Linear` reads them.

    The columns are filled up with zeros to a multiple of 32. compute_type: one of COMPUTE_TYPES.
    """
    columns, _ = weight.shape
    filling = -columns % SIDE
    weight = np.pad(weight.astype(np.float32, copy=False), ((0, filling), (0, 0)))
    bias = np.zeros(columns, np.float32) if bias is None else bias.astype(np.float32, copy=False)
    bias = np.pad(bias, (0, filling))
    if compute_type == "bfloat16":
        return [bias, to_tiles(to_bfloat16(weight))]
    scale = np.abs(weight).max(axis=1) / 127
    quantized = np.rint(weight / np.where(scale > 0, scale, 1)[:, None]).astype(np.int8)
    totals = quantized.sum(axis=1, dtype=np.int32) * scale
    return [bias, scale.astype(np.float32), totals.astype(np.float32), to_tiles(quantized)]


def is_float32(name: str) -> bool:
    """Whether a packed array is of float32, as what is added to activations or scales them is; others are bytes."""
    return name.endswith(("positional_embedding", "ln_post"))


class Packer:
    """The parts of a checkpoint, packed."""

    def __init__(self, weights: Mapping[str, np.ndarray], dims: ModelDimensions, compute_type: str) -> None:
        self._weights = weights
        self._dims = dims
        self._compute_type = compute_type

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
        embedding = pack_linear(self._weights["decoder.token_embedding.weight"], None, self._compute_type)
        yield "decoder.embedding", _bytes([*self._normalization("decoder.ln"), *embedding])
        yield "decoder.positional_embedding", self._weights["decoder.positional_embedding"].astype(np.float32)

    def _layers(self, side: str, count: int) -> np.ndarray:
        return np.stack([_bytes(self._block(f"{side}.blocks.{i}", side == "decoder")) for i in range(count)])

    def _block(self, name: str, crosses: bool) -> Iterator[np.ndarray]:
        """A block's parameters in the order in which it uses them."""
        yield from self._normalization(f"{name}.attn_ln")
        yield from self._together(f"{name}.attn", ("query", "key", "value"))
        yield from self._together(f"{name}.attn", ("out",))
        if crosses:
            yield from self._normalization(f"{name}.cross_attn_ln")
            yield from self._together(f"{name}.cross_attn", ("query",))
            yield from self._together(f"{name}.cross_attn", ("out",))
        yield from self._normalization(f"{name}.mlp_ln")
        yield from self._together(f"{name}.mlp", ("0",))
        yield from self._together(f"{name}.mlp", ("2",))

    def _cross_keys_values(self, name: str) -> list[np.ndarray]:
        return self._together(name, ("key", "value"))

    def _together(self, name: str, parts: tuple[str, ...]) -> list[np.ndarray]:
        """Linear layers of the same input as one; a key has no bias."""
        weights = [self._weights[f"{name}.{part}.weight"] for part in parts]
        biases = [
            np.zeros(len(weight), np.float32) if part == "key" else self._weights[f"{name}.{part}.bias"]
            for part, weight in zip(parts, weights, strict=True)
        ]
        return pack_linear(np.concatenate(weights), np.concatenate(biases), self._compute_type)

    def _normalization(self, name: str) -> list[np.ndarray]:
        return [self._weights[f"{name}.{part}"].astype(np.float32) for part in ("weight", "bias")]

    def _convolutions(self) -> Iterator[np.ndarray]:
        """In bfloat16 whatever the compute type: a small part of the work, and all that follows depends on it."""
        for name in ("encoder.conv1", "encoder.conv2"):
            weight = self._weights[f"{name}.weight"]  # [out, in, kernel]
            lines = weight.transpose(0, 2, 1).reshape(len(weight), -1)
            yield from pack_linear(lines, self._weights[f"{name}.bias"], "bfloat16")


def _bytes(arrays: Iterator[np.ndarray] | list[np.ndarray]) -> np.ndarray:
    """Arrays one after the other, as uint8 [bytes]."""
    return np.concatenate([np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays])


def linear_size(columns: int, depth: int, compute_type: str) -> int:
    """Bytes that `pack_linear` gives."""
    columns += -columns % SIDE
    vectors, itemsize = (3, 1) if compute_type == "int8" else (1, 2)
    return columns * (4 * vectors + -(-depth * itemsize // LINE) * LINE)


def packed_shapes(dims: ModelDimensions, compute_type: str) -> dict[str, tuple[int, ...]]:
    """The shape of each of the arrays that `Packer` gives, in the same order."""

    def block(width: int, attentions: int) -> int:
        linear = (linear_size(3 * width, width, compute_type), linear_size(width, width, compute_type))
        mlp = linear_size(4 * width, width, compute_type) + linear_size(width, 4 * width, compute_type)
        cross = 2 * linear[1] if attentions == 2 else 0
        return (attentions + 1) * 8 * width + sum(linear) + cross + mlp

    audio, text = dims.n_audio_state, dims.n_text_state
    convolutions = linear_size(audio, 3 * dims.n_mels, "bfloat16") + linear_size(audio, 3 * audio, "bfloat16")
    return {
        "encoder.convolutions": (convolutions,),
        "encoder.positional_embedding": (dims.n_audio_ctx, audio),
        "encoder.blocks": (dims.n_audio_layer, block(audio, 1)),
        "encoder.ln_post": (2, audio),
        "cross_attention": (dims.n_text_layer, linear_size(2 * text, text, compute_type)),
        "decoder.blocks": (dims.n_text_layer, block(text, 2)),
        "decoder.embedding": (8 * text + linear_size(dims.n_vocab, text, compute_type),),
        "decoder.positional_embedding": (dims.n_text_ctx, text),
    }
