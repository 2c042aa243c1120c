"""Weights packed for our operations: made once of each content, kept in the cache, mapped into memory."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from max_whisper.errors import CheckpointError
from max_whisper.progress import Progress, silent
from max_whisper.runtime.cache_entries import EntryRecipe, cached
from max_whisper.runtime.cache_folder import cache_dir
from max_whisper.runtime.file_digests import SeenFile, sha256_of

ALIGNMENT = 64  # bytes to whose multiple the header and the arrays are filled up


@dataclass(frozen=True)
class PackedArray:
    """An array of a packed file: its type, its shape, and how it is made."""

    shape: tuple[int, ...]
    dtype: str  # as NumPy names it
    pack: Callable[[Mapping[str, np.ndarray]], np.ndarray]  # makes it of a checkpoint's weights


@dataclass(frozen=True)
class PackedFile:
    """Weights that can be packed, and all that the packed file depends on."""

    label: str  # begins the name of the entry in the cache: `384x4x4-bfloat16x2`
    model: str  # the checkpoint's name
    source: Path  # the checkpoint's file or folder
    files: Sequence[SeenFile]  # those of it that the weights are read from
    packer: Path  # the Python module that packs
    parameters: Mapping[str, object]  # what it was given, as JSON can hold it
    weights: Mapping[str, np.ndarray]  # the checkpoint's
    check: Callable[[], None]  # raises CheckpointError for weights that cannot be packed; a packed file has passed it
    arrays: Mapping[str, PackedArray]  # by name, in their order
    purpose: str  # the format, for a person: `int8`


def packed_weights(file: PackedFile, progress: Progress = silent) -> dict[str, np.ndarray]:
    """The arrays, as views of a file of the cache.

    The file begins with a description of its arrays and holds them one after the other. It depends on the content of
    the checkpoint's files and on the packing code, and is made anew when one of them changes, or it is damaged.

    Raises CheckpointError where it cannot be written, where the checkpoint was changed since it was opened or while it
    was packed, and where `check` does.
    """
    header = _header(file.arrays)

    def make(path: Path) -> dict[str, np.ndarray]:
        file.check()
        with path.open("wb") as written:
            written.write(header)
            for name, array in file.arrays.items():
                packed = array.pack(file.weights)
                if packed.shape != array.shape or packed.dtype != array.dtype:
                    raise CheckpointError(
                        f"{file.source}: {name} was packed as {packed.dtype} {list(packed.shape)}, "
                        f"and must be {array.dtype} {list(array.shape)}"
                    )
                written.write(np.ascontiguousarray(packed).data)
        for each in file.files:  # a changed one has another content than that which the entry is named by
            each.check_unchanged()
        return _views(path, header, file.arrays)

    def read(path: Path) -> dict[str, np.ndarray] | None:
        with path.open("rb") as opened:
            is_whole = opened.read(len(header)) == header
        return _views(path, header, file.arrays) if is_whole else None

    return cached(packed_entry(file, progress), make, read, progress, f"packing the weights as {file.purpose}")


def packed_entry(file: PackedFile, progress: Progress = silent) -> EntryRecipe:
    """The entry of the cache that holds the packed weights. Raises CheckpointError where the checkpoint was changed."""
    return EntryRecipe(
        parent=cache_dir() / "packed",
        label=file.label,
        model=file.model,
        file="weights.bin",
        origin={"source": str(file.source.absolute()), "parameters": dict(file.parameters)},
        content={
            "files": [sha256_of(each, progress) for each in file.files],
            "parameters": dict(file.parameters),
            "packer": hashlib.sha256(file.packer.read_bytes()).hexdigest(),
        },
    )


def _views(path: Path, header: bytes, arrays: Mapping[str, PackedArray]) -> dict[str, np.ndarray]:
    """The arrays of a packed file, mapped into memory."""
    mapped = np.memmap(path, dtype=np.uint8, mode="c")
    weights, start = {}, len(header)
    for name, array in arrays.items():
        end = start + int(np.prod(array.shape)) * np.dtype(array.dtype).itemsize
        weights[name] = np.asarray(mapped[start:end]).view(array.dtype).reshape(array.shape)
        start = end
    return weights


def _header(arrays: Mapping[str, PackedArray]) -> bytes:
    """Names, types and shapes of the arrays as JSON, filled up with blanks to a multiple of 64 bytes."""
    text = json.dumps({name: [array.dtype, array.shape] for name, array in arrays.items()}).encode()
    return text + b" " * (-len(text) % ALIGNMENT)
