"""Weights packed for the fused operations: made once for each checkpoint, kept in the cache, mapped into memory."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from max_whisper.cache import cache_dir
from max_whisper.checkpoint import Checkpoint
from max_whisper.checkpoint.atomic import replacing
from max_whisper.errors import CheckpointError
from max_whisper.graphs import packing as packer
from max_whisper.graphs.packing import PackedArray, Packing
from max_whisper.progress import Progress, Step


def packed_weights(checkpoint: Checkpoint, packing: Packing, progress: Progress) -> dict[str, np.ndarray]:
    """The weights of `build_fused_graphs`, as views of a file of the cache.

    The file begins with a description of its arrays and holds them one after the other. A file of another
    description is made anew. Raises CheckpointError where it cannot be written.
    """
    arrays = packer.packed_arrays(checkpoint.dims, packing)
    header = _header(arrays)
    sizes = {name: int(np.prod(array.shape)) * np.dtype(array.dtype).itemsize for name, array in arrays.items()}
    path = cache_dir() / "packed" / f"{_key(checkpoint, packing)}.bin"
    if not _is_whole(path, header, sum(sizes.values())):
        progress(Step(f"packing the weights as {packing.tokens}, once"))
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            file.write(header)
            for name, array in arrays.items():
                packed = array.pack(checkpoint.weights)
                if packed.shape != array.shape or packed.dtype != array.dtype:
                    raise CheckpointError(
                        f"{checkpoint.name}: {name} was packed as {packed.dtype} {list(packed.shape)}, "
                        f"and must be {array.dtype} {list(array.shape)}"
                    )
                file.write(np.ascontiguousarray(packed).data)
    mapped = np.memmap(path, dtype=np.uint8, mode="c")
    weights, start = {}, len(header)
    for name, array in arrays.items():
        weights[name] = np.asarray(mapped[start : start + sizes[name]]).view(array.dtype).reshape(array.shape)
        start += sizes[name]
    return weights


def _header(arrays: Mapping[str, PackedArray]) -> bytes:
    """Names, types and shapes of the arrays as JSON, filled up with blanks to a multiple of 64 bytes."""
    text = json.dumps({name: [array.dtype, array.shape] for name, array in arrays.items()}).encode()
    return text + b" " * (-len(text) % packer.ALIGNMENT)


def _is_whole(path: Path, header: bytes, size: int) -> bool:
    """Whether a file is there, with that header and as many bytes of arrays."""
    if not path.is_file() or path.stat().st_size != len(header) + size:
        return False
    with path.open("rb") as file:
        return file.read(len(header)) == header


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
