"""max-whisper's own format, in which the bundled model and all conversions lie."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from max_whisper.errors import CheckpointError
from max_whisper.models.whisper.checkpoint import load_checkpoint, write_native
from max_whisper.models.whisper.dimensions import ModelDimensions

Arrays = dict[str, np.ndarray]
Damage = Callable[[Arrays, dict[str, str]], Any]


def test_what_is_written_is_read(native_file: Path, dims: ModelDimensions, weights: Arrays) -> None:
    checkpoint = load_checkpoint(native_file)
    assert (checkpoint.name, checkpoint.path, checkpoint.dims) == ("own", native_file, dims)
    assert checkpoint.alignment_heads is not None
    assert checkpoint.alignment_heads.dtype == np.int64
    assert checkpoint.alignment_heads.tolist() == [[0, 1], [0, 0]]
    assert list(checkpoint.weights) == list(weights)
    assert len(checkpoint.weights) == len(weights)
    for name, array in checkpoint.weights.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, weights[name].astype(np.float32)), name
    assert load_file(native_file)["encoder.conv1.bias"].dtype == np.float16


def test_float32_weights_are_views_that_do_not_reach_the_file(
    tmp_path: Path, dims: ModelDimensions, weights: Arrays
) -> None:
    path = tmp_path / "single.safetensors"
    write_native(path, {name: array.astype(np.float32) for name, array in weights.items()}, dims, name="single")
    before = path.read_bytes()
    array = load_checkpoint(path).weights["encoder.conv1.weight"]
    assert type(array) is np.ndarray
    assert not array.flags.owndata
    array += 1.0
    assert path.read_bytes() == before


def test_names_that_are_there_and_not(native_file: Path) -> None:
    weights = load_checkpoint(native_file).weights
    assert "decoder.ln.bias" in weights
    assert "decoder.mask" not in weights
    with pytest.raises(KeyError):
        weights["decoder.mask"]


def no_format(arrays: Arrays, metadata: dict[str, str]) -> None:
    del metadata["format"]


def no_dims(arrays: Arrays, metadata: dict[str, str]) -> None:
    del metadata["dims"]


def dims_not_json(arrays: Arrays, metadata: dict[str, str]) -> None:
    metadata["dims"] = "{80"


def other_dims(arrays: Arrays, metadata: dict[str, str]) -> None:
    metadata["dims"] = json.dumps({**json.loads(metadata["dims"]), "n_mels": 128})


def missing(arrays: Arrays, metadata: dict[str, str]) -> None:
    del arrays["encoder.blocks.1.mlp.2.bias"]


def extra(arrays: Arrays, metadata: dict[str, str]) -> None:
    arrays["encoder.blocks.2.mlp.2.bias"] = arrays["encoder.blocks.1.mlp.2.bias"]


def whole_numbers(arrays: Arrays, metadata: dict[str, str]) -> None:
    arrays["decoder.ln.bias"] = np.zeros(16, np.int8)


def heads_out_of_range(arrays: Arrays, metadata: dict[str, str]) -> None:
    metadata["alignment_heads"] = "[[0, 2]]"


def heads_no_pairs(arrays: Arrays, metadata: dict[str, str]) -> None:
    metadata["alignment_heads"] = "[[0], [1, 2]]"


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (no_format, "no max-whisper checkpoint "),
        (no_dims, "its metadata lack dims; "),
        (dims_not_json, "its metadata dims are not JSON; "),
        (other_dims, "tensor encoder.conv1.weight has the shape [16, 80, 3], its dimensions ask for [16, 128, 3]; "),
        (missing, "tensor encoder.blocks.1.mlp.2.bias is missing; "),
        (extra, "tensor encoder.blocks.2.mlp.2.bias is no part of a Whisper model of its dimensions; "),
        (whole_numbers, "tensor decoder.ln.bias is stored as I8; "),
        (heads_out_of_range, "its alignment_heads are not [layer, head] pairs of its decoder"),
        (heads_no_pairs, "its alignment_heads are not [layer, head] pairs of its decoder"),
    ],
)
def test_content_that_does_not_fit(native_file: Path, dims: ModelDimensions, damage: Damage, fault: str) -> None:
    arrays = load_file(native_file)
    metadata = {
        "format": "max-whisper",
        "name": "own",
        "dims": json.dumps(dims.to_dict()),
        "alignment_heads": "[[0, 1]]",
    }
    damage(arrays, metadata)
    save_file(arrays, native_file, metadata)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(native_file)
    assert str(caught.value).startswith(f"{native_file}: {fault}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0.0, 0.000001, 0.001, 0.5, 0.999999])
def test_truncated_files(native_file: Path, kept: float) -> None:
    whole = native_file.read_bytes()
    native_file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(
        CheckpointError, match=r"own\.safetensors: truncated, or not a safetensors file \(.*\); [^\n]*$"
    ):
        load_checkpoint(native_file)


def test_a_failed_write_leaves_nothing(tmp_path: Path, dims: ModelDimensions, weights: Arrays) -> None:
    path = tmp_path / "new" / "own.safetensors"
    bad = {**weights, "decoder.ln.bias": np.empty(16, object)}
    with pytest.raises(Exception, match="object"):
        write_native(path, bad, dims, name="own")
    assert list(path.parent.iterdir()) == []
    incomplete = {name: array for name, array in weights.items() if name != "decoder.ln.bias"}
    with pytest.raises(CheckpointError, match=r"tensor decoder\.ln\.bias is missing"):
        write_native(path, incomplete, dims, name="own")
    assert list(path.parent.iterdir()) == []
