"""OpenAI's `.pt` files: {"dims", "model_state_dict"} in PyTorch's format, converted once to our own."""

import hashlib
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError
from max_whisper.models.whisper.checkpoint.checkpoint import Checkpoint
from max_whisper.models.whisper.checkpoint.native import read_native, write_native
from max_whisper.models.whisper.checkpoint.shapes import check_tensors, expected_shapes, read_dims
from max_whisper.progress import Progress, Step
from max_whisper.runtime.cache import cache_dir

HOW_TO_SAVE = "torch.save({'dims': model.dims.__dict__, 'model_state_dict': model.state_dict()}, path)"


def checkpoints_dir() -> Path:
    """The cache's folder of downloaded and converted checkpoints."""
    return cache_dir() / "checkpoints"


def load_openai(path: Path, progress: Progress) -> Checkpoint:
    """The checkpoint in a `.pt` file, by way of its conversion in the cache.

    A file is known by its resolved path, size and time of last change: hashing gigabytes at each start would cost
    seconds. There is one conversion for a path, and a file that has changed replaces it.
    """
    resolved = path.resolve()
    try:
        stat = resolved.stat()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    key = hashlib.sha256(str(resolved).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    target = checkpoints_dir() / "converted" / f"{path.stem}-{key}.safetensors"
    return convert_once(path, target, f"{stat.st_size} bytes, changed {stat.st_mtime_ns}", path.stem, None, progress)


def read_conversion(target: Path, source: str) -> Checkpoint | None:
    """The conversion of `source` in the cache, or None where there is no usable one."""
    try:
        return read_native(target, source) if target.is_file() else None
    except CheckpointError:
        return None


def convert_once(
    path: Path,
    target: Path,
    source: str,
    name: str,
    alignment_heads: Sequence[Sequence[int]] | None,
    progress: Progress,
) -> Checkpoint:
    """The conversion of the `.pt` file `path` at `target`, made where it is absent or of another `source`."""
    if (checkpoint := read_conversion(target, source)) is not None:
        return checkpoint
    progress(Step(f"converting {path.name} to safetensors, once"))
    content = _read_pt(path)
    dims = read_dims(str(path), content["dims"])
    state_dict = content["model_state_dict"]
    check_tensors(str(path), {key: tuple(t.shape) for key, t in state_dict.items()}, expected_shapes(dims))
    weights = {key: _to_numpy(path, key, tensor) for key, tensor in state_dict.items()}
    write_native(target, weights, dims, name=name, alignment_heads=alignment_heads, source=source)
    return read_native(target, source)


def _read_pt(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        raise CheckpointError(
            f"{path}: a .pt file is converted once with PyTorch, which is not installed; pip install torch"
        ) from None
    try:
        with warnings.catch_warnings():  # PyTorch's remarks on a foreign pickle, beside the one line of the error
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error).upper():
            raise CheckpointError(
                f"{path}: holds Python objects, and reading them could run any code; save it with {HOW_TO_SAVE}"
            ) from None
        raise CheckpointError(f"{path}: truncated, or not a PyTorch checkpoint; download or copy it again") from None
    except Exception as error:  # torch.load has no exception of its own: a bad file shows as almost any
        raise CheckpointError(
            f"{path}: truncated, or not a PyTorch checkpoint ({one_line(error)}); download or copy it again"
        ) from None
    if isinstance(content, Mapping) and isinstance(content.get("model_state_dict"), Mapping) and "dims" in content:
        state_dict = content["model_state_dict"]
        for key, value in state_dict.items():
            if not isinstance(value, torch.Tensor):
                raise CheckpointError(
                    f"{path}: entry {one_line(key)} of its model_state_dict is not a tensor; save it with {HOW_TO_SAVE}"
                )
        return {"dims": content["dims"], "model_state_dict": state_dict}
    if isinstance(content, Mapping) and any(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: a plain state dict, without the model's dims; save it with {HOW_TO_SAVE}")
    raise CheckpointError(f"{path}: not a Whisper checkpoint (no 'dims' and 'model_state_dict'); see {HOW_TO_SAVE}")


def _to_numpy(path: Path, name: str, tensor: Any) -> np.ndarray:
    """The tensor in its own precision where NumPy has it (float16, float32), else in float32."""
    import torch

    if not tensor.dtype.is_floating_point:
        raise CheckpointError(
            f"{path}: tensor {name} is stored as {tensor.dtype}; save the model in float32 or float16"
        )
    if tensor.dtype not in (torch.float16, torch.float32):
        tensor = tensor.float()
    return tensor.detach().numpy()
