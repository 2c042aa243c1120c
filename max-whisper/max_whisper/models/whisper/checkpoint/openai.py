"""OpenAI's `.pt` files: {"dims", "model_state_dict"} as PyTorch saves it, read in place without PyTorch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError
from max_whisper.models.files.tensors import StoredTensor, Weights, check_floating
from max_whisper.models.files.torch_file import read_torch_file
from max_whisper.models.whisper.checkpoint.checkpoint import Checkpoint
from max_whisper.models.whisper.checkpoint.foreign import tell_adapter
from max_whisper.models.whisper.checkpoint.shapes import check_tensors, expected_shapes, read_dims
from max_whisper.models.whisper.checkpoint.vocabulary import check_vocabulary
from max_whisper.runtime.file_digests import SeenFile

HOW_TO_SAVE = "torch.save({'dims': model.dims.__dict__, 'model_state_dict': model.state_dict()}, path)"


def load_openai(path: Path) -> Checkpoint:
    """The checkpoint in a `.pt` file. Its weights are views of the file, mapped into memory.

    A zip file's weights need no copy, whatever their size: there is nothing that a conversion would make faster.
    """
    seen = SeenFile.see(path)
    saved_dims, state_dict = _read_parts(path)
    dims = read_dims(str(path), saved_dims)
    check_vocabulary(str(path), dims)
    expected = expected_shapes(dims)
    check_tensors(str(path), {name: tensor.shape for name, tensor in state_dict.items()}, expected)
    for name, tensor in state_dict.items():
        check_floating(path, name, tensor)
    weights = Weights({name: state_dict[name] for name in expected})
    return Checkpoint(path.stem, path, (seen,), dims, weights, alignment_heads=None)


def _read_parts(path: Path) -> tuple[object, dict[str, StoredTensor]]:
    """The dims, not yet checked, and the state dict of the file."""
    content = read_torch_file(path, HOW_TO_SAVE)
    if isinstance(content, Mapping) and isinstance(content.get("model_state_dict"), Mapping) and "dims" in content:
        state_dict: Mapping[Any, Any] = content["model_state_dict"]
        for name, tensor in state_dict.items():
            if not isinstance(name, str) or not isinstance(tensor, StoredTensor):
                raise CheckpointError(
                    f"{path}: entry {one_line(name)} of its model_state_dict is not a tensor;"
                    f" save it with {HOW_TO_SAVE}"
                )
        return content["dims"], dict(state_dict)
    if isinstance(content, Mapping) and any(isinstance(value, StoredTensor) for value in content.values()):
        if any("lora_" in str(name) for name in content):
            raise CheckpointError(tell_adapter(str(path)))
        raise CheckpointError(f"{path}: a plain state dict, without the model's dims; save it with {HOW_TO_SAVE}")
    raise CheckpointError(f"{path}: not a Whisper checkpoint (no 'dims' and 'model_state_dict'); see {HOW_TO_SAVE}")
