"""Storages of a PyTorch file and the tensors that are views of them.

A storage is a run of elements of one type. A tensor is an offset into a storage, a shape and strides, all counted in
elements; several tensors may share a storage. Every number here comes from the file, so every bound is checked in
Python's unlimited integers before NumPy makes a view.
"""

import math
from dataclasses import dataclass

import numpy as np

from max_whisper.models.files.tensors import StoredTensor

# torch's name of a type -> NumPy's type of the same bits. NumPy has no bfloat16: its bits are kept as uint16.
DTYPES: dict[str, np.dtype] = {
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "int8": np.dtype("i1"),
    "int16": np.dtype("<i2"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "uint8": np.dtype("u1"),
    "uint16": np.dtype("<u2"),
    "uint32": np.dtype("<u4"),
    "uint64": np.dtype("<u8"),
    "bool": np.dtype("?"),
    "complex64": np.dtype("<c8"),
    "complex128": np.dtype("<c16"),
}

_MAX_DIMENSIONS = 32  # NumPy 1's own limit
_MAX_SIZE = 2**62  # of a dimension, so that NumPy's 64-bit sizes cannot overflow


class DamagedError(Exception):
    """The file is not what PyTorch writes: cut short, changed, or made to break its reader."""


@dataclass(frozen=True, eq=False)
class Storage:
    """A run of elements in the file.

    `largest` is the size in bytes that one tensor may have. A stride of 0 repeats an element without cost in the
    file, so that a few bytes could otherwise claim a tensor of terabytes.
    """

    data: np.ndarray  # uint8 [bytes], a view of the mapped file
    dtype: str  # a key of DTYPES
    largest: int

    def part(self, offset: int, length: int) -> "Storage":
        """The storage of `length` elements that begins at element `offset` of this one."""
        itemsize = DTYPES[self.dtype].itemsize
        if offset < 0 or length < 0 or (offset + length) * itemsize > self.data.size:
            raise DamagedError("a storage reaches outside of the one that it is a view of")
        return Storage(self.data[offset * itemsize : (offset + length) * itemsize], self.dtype, self.largest)

    def tensor(self, dtype: str, offset: int, size: tuple[object, ...], stride: tuple[object, ...]) -> StoredTensor:
        """The tensor of this type, shape and strides that begins at element `offset`: a view, nothing is copied."""
        shape = _whole_numbers(size)
        strides = _whole_numbers(stride)
        if len(shape) != len(strides) or len(shape) > _MAX_DIMENSIONS:
            raise DamagedError(f"a tensor has {len(shape)} sizes and {len(strides)} strides")
        if offset < 0 or any(length > _MAX_SIZE for length in shape):
            raise DamagedError("a tensor has an impossible shape")
        element = DTYPES[dtype]
        if math.prod(shape) == 0:
            return StoredTensor(_empty(shape, element), is_bfloat16=dtype == "bfloat16")
        last = offset + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
        if (last + 1) * element.itemsize > self.data.size:
            raise DamagedError("a tensor reaches outside of its storage")
        if math.prod(shape) * element.itemsize > max(self.data.size, self.largest):
            raise DamagedError("a tensor claims more bytes than the file has")
        # A dimension of length 1 is never stepped over; its stride may be any number, even one too large for NumPy.
        steps = [step * element.itemsize if length > 1 else 0 for length, step in zip(shape, strides, strict=True)]
        view = np.ndarray(shape, element, self.data, offset * element.itemsize, steps)
        return StoredTensor(view, is_bfloat16=dtype == "bfloat16")


def _whole_numbers(values: tuple[object, ...]) -> tuple[int, ...]:
    numbers = tuple(value for value in values if type(value) is int and value >= 0)
    if len(numbers) != len(values):
        raise DamagedError("a shape or stride is not made of whole numbers from 0")
    return numbers


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array without elements. NumPy refuses a few shapes of that kind, where the other dimensions are too large."""
    try:
        return np.empty(shape, dtype)
    except ValueError:
        raise DamagedError("a tensor has an impossible shape") from None
