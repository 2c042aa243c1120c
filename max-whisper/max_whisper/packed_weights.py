"""Weights packed for the fused operations: made once for each checkpoint, kept in the cache, mapped into memory."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from max_whisper.cache import cache_dir
from max_whisper.checkpoint import Checkpoint
from max_whisper.checkpoint.atomic import replacing
from max_whisper.graphs import packing as packer
from max_whisper.graphs.packing import Packing
from max_whisper.progress import Progress, Step


def packed_weights(checkpoint: Checkpoint, packing: Packing, progress: Progress) -> dict[str, np.ndarray]:
    """The weights of `build_fused_graphs`, as views of a file of the cache.

    The file holds the arrays one after the other, all of them multiples of 64 bytes. Raises CheckpointError where it
    cannot be written.
    """
    shapes = packer.packed_shapes(checkpoint.dims, packing)
    sizes = {name: int(np.prod(shape)) * _dtype(name).itemsize for name, shape in shapes.items()}
    path = cache_dir() / "packed" / f"{_key(checkpoint, packing)}.bin"
    if not path.is_file() or path.stat().st_size != sum(sizes.values()):
        progress(Step(f"packing the weights as {packing.tokens}, once"))
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            for _, array in packer.Packer(checkpoint.weights, checkpoint.dims, packing).packed():
                file.write(np.ascontiguousarray(array).data)
    mapped = np.memmap(path, dtype=np.uint8, mode="c")
    arrays, start = {}, 0
    for name, shape in shapes.items():
        arrays[name] = np.asarray(mapped[start : start + sizes[name]]).view(_dtype(name)).reshape(shape)
        start += sizes[name]
    return arrays


def _dtype(name: str) -> np.dtype:
    return np.dtype(np.float32 if packer.is_float32(name) else np.uint8)


def _key(checkpoint: Checkpoint, packing: Packing) -> str:
    """A readable name that changes with the checkpoint's files and with the way of packing."""
    path = checkpoint.path.resolve()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    parts = {
        "files": [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        "dims": checkpoint.dims.to_dict(),
        "packing": [asdict(packing), hashlib.sha256(Path(packer.__file__).read_bytes()).hexdigest()],
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{path.stem}-{packing.windows}-{digest[:16]}"
