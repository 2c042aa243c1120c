"""Weights that are NaN or infinite, in every form of a checkpoint and every precision."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from max_whisper.errors import CheckpointError
from max_whisper.models.files.tensors import StoredTensor
from max_whisper.models.whisper.checkpoint import load_checkpoint, write_native
from max_whisper.models.whisper.checkpoint.huggingface import huggingface_name
from max_whisper.models.whisper.dimensions import ModelDimensions

Arrays = dict[str, np.ndarray]
NAMES = ("encoder.conv1.weight", "decoder.token_embedding.weight", "decoder.ln.bias")


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_a_hugging_face_tensor_is_named(huggingface_folder: Path, name: str, dtype: torch.dtype, value: float) -> None:
    path, stored = huggingface_folder / "model.safetensors", f"model.{huggingface_name(name)}"
    tensors = {key: tensor.to(dtype) for key, tensor in load_file(path).items()}
    save_file(tensors, path)
    load_checkpoint(huggingface_folder).check_finite()
    tensors[stored].view(-1)[-3:-1] = value
    save_file(tensors, path)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(huggingface_folder).check_finite()
    size = tensors[stored].numel()
    kind = "NaN" if np.isnan(value) else "infinite"
    assert str(caught.value).startswith(f"{huggingface_folder}: tensor {stored} holds 2 {kind} of {size} values; ")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_several_tensors_of_our_own_format(
    tmp_path: Path, dims: ModelDimensions, weights: Arrays, dtype: type[np.floating]
) -> None:
    arrays = {name: array.astype(dtype) for name, array in weights.items()}
    arrays["encoder.conv1.weight"][0, 0] = np.nan, np.inf, 1
    arrays["decoder.ln.bias"][1] = np.nan
    write_native(tmp_path / "own.safetensors", arrays, dims, name="own")
    match = r"own\.safetensors: tensor encoder\.conv1\.weight holds 1 NaN and 1 infinite of 3840 values \(and 1 more "
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(tmp_path / "own.safetensors").check_finite()


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_a_pt_file(dims: ModelDimensions, weights: Arrays, save_pt: Callable[..., Path], archive: bool) -> None:
    tensors = {name: torch.from_numpy(array.astype(np.float64)) for name, array in weights.items()}
    # Too great for float32, in which it is computed.
    tensors["decoder.ln.bias"][1] = 1e300
    path = save_pt({"dims": dims.to_dict(), "model_state_dict": tensors})
    with pytest.raises(CheckpointError, match=r"model\.pt: tensor decoder\.ln\.bias holds 1 infinite of 16 values;"):
        load_checkpoint(path).check_finite()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_greatest_and_the_least_values_are_finite(dtype: type[np.floating]) -> None:
    limits = np.finfo(np.float32 if dtype is np.float64 else dtype)
    values = np.array([limits.max, limits.min, limits.tiny, -limits.tiny, 0.0, -0.0], dtype)
    assert StoredTensor(values).is_finite()
    for value in (np.nan, np.inf, -np.inf, -np.nan):
        for i in range(len(values)):
            changed = values.copy()
            changed[i] = value
            assert not StoredTensor(changed).is_finite()
            assert not StoredTensor(changed.reshape(2, 3).T).is_finite()  # as PyTorch stores a transposed tensor
