"""Weights packed for our operations: made once for each checkpoint, kept in the cache, mapped into memory."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from max_whisper.progress import Progress, Step
from max_whisper.runtime.cache import cache_dir
from max_whisper.runtime.files import replacing_in_cache


@dataclass(frozen=True)
class PackedFile:
    """Weights that can be packed, and all that the packed file depends on."""

    label: str  # begins the name of the file in the cache: `tiny-bfloat16x2`
    source: Path  # the checkpoint's file or folder
    packer: Path  # the Python module that packs
    parameters: Mapping[str, object]  # what it was given, as JSON can hold it
    shapes: Mapping[str, tuple[np.dtype, tuple[int, ...]]]  # of the arrays, in their order
    pack: Callable[[], Iterable[np.ndarray]]  # gives the arrays, in their order
    purpose: str  # the format, for a person: `int8`


def packed_weights(file: PackedFile, progress: Progress) -> dict[str, np.ndarray]:
    """The arrays, as views of a file of the cache, which holds one after the other.

    Raises CheckpointError where the file cannot be written.
    """
    sizes = {name: int(np.prod(shape)) * dtype.itemsize for name, (dtype, shape) in file.shapes.items()}
    path = cache_dir() / "packed" / f"{_key(file)}.bin"
    if not path.is_file() or path.stat().st_size != sum(sizes.values()):
        progress(Step(f"packing the weights as {file.purpose}, once"))
        with replacing_in_cache(path) as unfinished, unfinished.open("wb") as written:
            for array in file.pack():
                written.write(np.ascontiguousarray(array).data)
    mapped = np.memmap(path, dtype=np.uint8, mode="c")
    arrays, start = {}, 0
    for name, (dtype, shape) in file.shapes.items():
        arrays[name] = np.asarray(mapped[start : start + sizes[name]]).view(dtype).reshape(shape)
        start += sizes[name]
    return arrays


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
