"""Arrays as recordings: whether they can be samples, and their blocks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from max_whisper.audio.channels import LOUDEST
from max_whisper.audio.constants import N_FFT
from max_whisper.errors import AudioError

# Float samples that reach this are no loud sound but samples on the scale of integers, of 8 bits at the least.
_ON_ANOTHER_SCALE = 64.0
_OVERSHOOT = 1.5  # of a resampling filter, above the full scale of what it resamples
_FULL_SCALES = ((2**7, "int8"), (2**15, "int16"), (2**23, "24 bits"), (2**31, "int32"))
_TYPES = {("f", 4), ("f", 8), ("i", 2)}  # kinds and bytes
_REMEDIES = {
    "float16": "here array.astype(numpy.float32)",
    "int32": "here array / 2147483648, or array / 8388608 where they have 24 bits",
    "int8": "here array / 128",
    "uint8": "here (array.astype(numpy.float32) - 128) / 128",
    "uint16": "here (array.astype(numpy.float32) - 32768) / 32768",
}


def check_array(array: np.ndarray, block: int) -> str | None:
    """Hold an array against what samples can be; `block` is the number of samples that are looked at together.

    Returns a line to warn with where its samples are louder than sound is; None for most arrays.

    Raises AudioError, with the remedy, for another shape or type, for float samples on the scale of integers, for
    samples that are not finite, and for none at all.
    """
    if array.ndim != 1:
        channels = int(np.argmin(array.shape)) if array.ndim == 2 else None
        advice = f": choose a channel, or average them with array.mean(axis={channels})" if channels is not None else ""
        raise AudioError(f"the array has {array.ndim} dimensions, shape {array.shape}; give one, [samples]{advice}")
    if (array.dtype.kind, array.dtype.itemsize) not in _TYPES:
        remedy = _REMEDIES.get(array.dtype.name)
        raise AudioError(
            f"the array is of {array.dtype}; give float32 or float64 samples in [-1, 1], or int16 samples as they are"
            + (f": {remedy}" if remedy else "")
        )
    if array.size == 0:
        raise AudioError(f"the array has no samples; give at least {N_FFT} (25 ms) at 16 kHz")
    return _check_floats(array, block) if array.dtype.kind == "f" else None


def array_blocks(array: np.ndarray, block: int) -> Generator[NDArray[Any], None, None]:
    """An array that `check_array` has passed, in contiguous blocks of int16 or float32, copied where they must be."""
    dtype = np.int16 if array.dtype.kind == "i" else np.float32
    for start in range(0, len(array), block):
        with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, which is an error
            converted = np.ascontiguousarray(array[start : start + block], dtype)
        yield converted


def _check_floats(array: np.ndarray, block: int) -> str | None:
    peak = 0.0
    for number, samples in enumerate(array_blocks(array, block)):
        finite = np.isfinite(samples)
        if not finite.all():
            first = number * block + int(np.argmin(finite))
            raise AudioError(f"the array has samples that are not finite, the first ({array[first]}) at index {first}")
        peak = max(peak, float(samples.max()), -float(samples.min()))
    if peak <= LOUDEST:
        return None
    line = f"the array has {array.dtype} samples up to {peak:.5g}, where full scale is 1; {_advice(peak)}"
    if peak >= _ON_ANOTHER_SCALE:
        raise AudioError(line)
    return line


def _advice(peak: float) -> str:
    """How samples with this peak come to be in [-1, 1]."""
    for full_scale, kind in _FULL_SCALES:
        if _ON_ANOTHER_SCALE <= peak <= _OVERSHOOT * full_scale:
            also = ", or give them as int16" if kind == "int16" else ""
            return f"divide them by {full_scale}, which is right for samples of {kind}{also}"
    return "divide them by the largest that they can be, which is 32768 for samples of int16"
