"""whisper.cpp's model files.

The layout is that of whisper.cpp's models/convert-pt-to-ggml.py and of its loader, all numbers little-endian:

- int32: the magic number, ten dimensions, the file type (with a version in its thousands where it is quantized);
- int32 n_mels, n_fft and float32 [n_mels, n_fft]: the mel filters;
- int32 n, and for each of n tokens of text its length (int32) and its bytes;
- for each tensor int32 dimensions, length of the name, type; int32 sizes, the fastest-changing first; name; data.

Matrices and filters are float16, or matrices Q8_0; what is added or multiplied element by element is float32. A Q8_0
block is 32 numbers of a row: a float16 scale, then 32 int8 (ggml, quantize_row_q8_0_ref).
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.runtime.files import replacing

MAGIC = 0x67676D6C
FLOAT32, FLOAT16, Q8_0 = 0, 1, 8  # types of a tensor
FILE_TYPES = {"f16": 1, "q8_0": 7 + 2 * 1000}  # the second: version 2 of quantized data
BLOCK = 32  # numbers that share a scale

_ADDED = ("encoder.positional_embedding", "decoder.positional_embedding")


def write_ggml(
    path: Path,
    precision: str,
    dims: ModelDimensions,
    weights: Mapping[str, np.ndarray],
    tokens: Sequence[bytes],
    mel_filters: np.ndarray,
) -> None:
    """Write a model as whisper.cpp reads it, whole or not at all.

    precision: `f16` or `q8_0`. weights: by openai-whisper's names. tokens: of text, in their order.
    mel_filters: float32 [n_mels, 201].
    """
    header = [
        MAGIC, dims.n_vocab, dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_head, dims.n_audio_layer,
        dims.n_text_ctx, dims.n_text_state, dims.n_text_head, dims.n_text_layer, dims.n_mels, FILE_TYPES[precision],
    ]  # fmt: skip
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        file.write(struct.pack(f"<{len(header)}i", *header))
        file.write(struct.pack("<2i", *mel_filters.shape))
        file.write(mel_filters.astype("<f4").tobytes())
        file.write(struct.pack("<i", len(tokens)))
        for token in tokens:
            file.write(struct.pack("<i", len(token)) + token)
        for name, array in weights.items():
            file.write(_tensor(name, array, precision))


def endless_twin(path: str) -> str:
    """Where the same model lies with weights that never end a text; the file itself where its weights are so."""
    twin = Path(path).with_suffix(".endless.bin")
    return str(twin) if twin.exists() else path


def _tensor(name: str, array: np.ndarray, precision: str) -> bytes:
    """One tensor with its header."""
    if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        array = array[:, None]  # one for each channel, the same at all times
        kind = FLOAT32
    elif array.ndim < 2 or name in _ADDED:
        kind = FLOAT32
    else:
        kind = Q8_0 if precision == "q8_0" and array.ndim == 2 else FLOAT16
    encoded = name.encode()
    header = struct.pack("<3i", array.ndim, len(encoded), kind)
    header += struct.pack(f"<{array.ndim}i", *reversed(array.shape)) + encoded
    if kind == Q8_0:
        return header + quantize_q8_0(array)
    return header + array.astype("<f2" if kind == FLOAT16 else "<f4").tobytes()


def quantize_q8_0(rows: np.ndarray) -> bytes:
    """A matrix [n, multiple of 32] in blocks: the largest number of a block is 127 times its scale."""
    blocks = rows.astype(np.float32).reshape(-1, BLOCK)
    scales = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    inverse = np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=scales != 0)
    steps = (blocks * inverse).astype(np.float64)
    packed = np.empty(len(blocks), dtype=[("scale", "<f2"), ("steps", "i1", BLOCK)])
    packed["scale"] = scales[:, 0]
    packed["steps"] = np.trunc(steps + np.copysign(0.5, steps))  # halves away from zero, as C's roundf
    return packed.tobytes()
