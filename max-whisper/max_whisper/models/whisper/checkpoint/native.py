"""max-whisper's own checkpoint format: one safetensors file.

Tensors have openai-whisper's names. The metadata are `format` ("max-whisper"), `dims` (JSON, openai-whisper's ten
numbers), `name` and optionally `alignment_heads` (JSON, [[layer, head], ...]).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError
from max_whisper.models.files.tensors import Weights, open_safetensors
from max_whisper.models.whisper.checkpoint.checkpoint import Checkpoint
from max_whisper.models.whisper.checkpoint.foreign import tell_adapter
from max_whisper.models.whisper.checkpoint.shapes import check_tensors, expected_shapes, read_dims
from max_whisper.models.whisper.checkpoint.vocabulary import check_vocabulary
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.runtime.file_digests import SeenFile
from max_whisper.runtime.files import replacing_in_cache

FORMAT = "max-whisper"


def read_native(path: Path) -> Checkpoint:
    """The checkpoint in a file of our own format.

    Raises CheckpointError where the file is damaged, of another kind or does not hold just the tensors of its
    dimensions.
    """
    seen = SeenFile.see(path)
    tensors, metadata = open_safetensors(path)
    if metadata.get("format") != FORMAT:
        if any("lora_" in name for name in tensors):
            raise CheckpointError(tell_adapter(str(path)))
        raise CheckpointError(
            f"{path}: no max-whisper checkpoint (its metadata lack format={FORMAT});"
            " for a Hugging Face model give the folder that holds it and its config.json"
        )
    dims = read_dims(str(path), _parse(path, metadata, "dims"))
    check_vocabulary(str(path), dims)
    expected = expected_shapes(dims)
    check_tensors(str(path), {name: tensor.shape for name, tensor in tensors.items()}, expected)
    heads = None
    if "alignment_heads" in metadata:
        heads = alignment_array(_parse(path, metadata, "alignment_heads"), dims)
        if heads is None:
            raise CheckpointError(f"{path}: its alignment_heads are not [layer, head] pairs of its decoder")
    weights = Weights({name: tensors[name] for name in expected})
    return Checkpoint(metadata.get("name", path.stem), path, (seen,), dims, weights, heads)


def _parse(path: Path, metadata: Mapping[str, str], key: str) -> object:
    try:
        return json.loads(metadata[key])
    except KeyError:
        raise CheckpointError(f"{path}: its metadata lack {key}; save the checkpoint again") from None
    except ValueError:
        raise CheckpointError(f"{path}: its metadata {key} are not JSON; save the checkpoint again") from None


def write_native(
    path: Path,
    weights: Mapping[str, np.ndarray],
    dims: ModelDimensions,
    *,
    name: str,
    alignment_heads: Sequence[Sequence[int]] | None = None,
) -> None:
    """Write a checkpoint in our own format, whole or not at all.

    weights: float32 or float16 arrays with the names and shapes of `expected_shapes(dims)`; stored as they are.
    """
    check_tensors(str(path), {key: array.shape for key, array in weights.items()}, expected_shapes(dims))
    metadata = {"format": FORMAT, "name": name, "dims": json.dumps(dims.to_dict())}
    if alignment_heads is not None:
        metadata["alignment_heads"] = json.dumps([[int(layer), int(head)] for layer, head in alignment_heads])
    with replacing_in_cache(path) as partial:
        try:
            save_file({key: np.ascontiguousarray(array) for key, array in weights.items()}, partial, metadata)
        except SafetensorError as error:  # how the library reports a full disk
            raise CheckpointError(f"cannot write {path} ({one_line(error)}); free some space there") from None


def alignment_array(pairs: object, dims: ModelDimensions) -> np.ndarray | None:
    """(layer, head) pairs as int64 [n, 2]; None where they are not pairs of this decoder's layers and heads."""
    try:
        heads = np.array(pairs, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        return None
    limits = (dims.n_text_layer, dims.n_text_head)
    if heads.ndim != 2 or heads.shape[1] != 2 or (heads < 0).any() or (heads >= limits).any():
        return None
    return heads
