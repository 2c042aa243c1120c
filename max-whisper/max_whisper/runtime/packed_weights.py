"""Weights packed for our operations: made once for each checkpoint, kept in the cache, mapped into memory."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from max_whisper.errors import CheckpointError
from max_whisper.progress import Progress, Step
from max_whisper.runtime.cache_folder import cache_dir
from max_whisper.runtime.files import replacing_in_cache

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

    label: str  # begins the name of the file in the cache: `tiny-bfloat16x2`
    source: Path  # the checkpoint's file or folder
    packer: Path  # the Python module that packs
    parameters: Mapping[str, object]  # what it was given, as JSON can hold it
    weights: Mapping[str, np.ndarray]  # the checkpoint's
    check: Callable[[], None]  # raises CheckpointError for weights that cannot be packed; a packed file has passed it
    arrays: Mapping[str, PackedArray]  # by name, in their order
    purpose: str  # the format, for a person: `int8`


def packed_weights(file: PackedFile, progress: Progress) -> dict[str, np.ndarray]:
    """The arrays, as views of a file of the cache.

    The file begins with a description of its arrays and holds them one after the other. A file of another
    description is made anew. Raises CheckpointError where it cannot be written, and where `check` does.
    """
    header = _header(file.arrays)
    sizes = {name: int(np.prod(array.shape)) * np.dtype(array.dtype).itemsize for name, array in file.arrays.items()}
    path = cache_dir() / "packed" / f"{_key(file)}.bin"
    if not _is_whole(path, header, sum(sizes.values())):
        progress(Step(f"packing the weights as {file.purpose}, once"))
        file.check()
        with replacing_in_cache(path) as unfinished, unfinished.open("wb") as written:
            written.write(header)
            for name, array in file.arrays.items():
                packed = array.pack(file.weights)
                if packed.shape != array.shape or packed.dtype != array.dtype:
                    raise CheckpointError(
                        f"{file.source}: {name} was packed as {packed.dtype} {list(packed.shape)}, "
                        f"and must be {array.dtype} {list(array.shape)}"
                    )
                written.write(np.ascontiguousarray(packed).data)
    mapped = np.memmap(path, dtype=np.uint8, mode="c")
    weights, start = {}, len(header)
    for name, array in file.arrays.items():
        weights[name] = np.asarray(mapped[start : start + sizes[name]]).view(array.dtype).reshape(array.shape)
        start += sizes[name]
    return weights


def _header(arrays: Mapping[str, PackedArray]) -> bytes:
    """Names, types and shapes of the arrays as JSON, filled up with blanks to a multiple of 64 bytes."""
    text = json.dumps({name: [array.dtype, array.shape] for name, array in arrays.items()}).encode()
    return text + b" " * (-len(text) % ALIGNMENT)


def _is_whole(path: Path, header: bytes, size: int) -> bool:
    """Whether a file is there, with that header and as many bytes of arrays."""
    if not path.is_file() or path.stat().st_size != len(header) + size:
        return False
    with path.open("rb") as file:
        return file.read(len(header)) == header


def _key(file: PackedFile) -> str:
    """A readable name that changes with the checkpoint's files and with the way of packing."""
    path = file.source.resolve()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    parts = {
        "files": [[str(each), each.stat().st_size, each.stat().st_mtime_ns] for each in files],
        "parameters": dict(file.parameters),
        "packer": hashlib.sha256(file.packer.read_bytes()).hexdigest(),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{file.label}-{digest[:16]}"
