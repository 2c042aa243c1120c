"""OpenAI's `.pt` files, as openai-whisper's models are saved, and everything that may be wrong with one."""

import os
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from whisper.model import Whisper

from max_whisper.errors import CheckpointError
from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.progress import Step

Save = Callable[..., Path]
Build = Callable[[ModelDimensions], Whisper]


def content(model: Whisper, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """What OpenAI's files hold."""
    return {
        "dims": dict(model.dims.__dict__),
        "model_state_dict": {name: tensor.to(dtype) for name, tensor in model.state_dict().items()},
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("change", [{}, {"n_vocab": 51864}, {"n_mels": 128, "n_vocab": 51866, "n_audio_layer": 3}])
def test_weights_are_those_of_the_file(
    dims: ModelDimensions, build_reference: Build, save_pt: Save, change: dict[str, int], dtype: torch.dtype
) -> None:
    dims = replace(dims, **change)
    saved = content(build_reference(dims), dtype)
    path = save_pt(saved, "own.pt")
    checkpoint = load_checkpoint(path)
    assert checkpoint.name == "own"
    assert checkpoint.dims == dims
    assert checkpoint.dims.is_multilingual == (dims.n_vocab != 51864)
    assert checkpoint.alignment_heads is None
    assert list(checkpoint.weights) == list(saved["model_state_dict"])
    for name, array in checkpoint.weights.items():
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert array.flags.writeable
        assert np.array_equal(array, saved["model_state_dict"][name].float().numpy()), name


def test_the_file_keeps_its_precision(
    dims: ModelDimensions, build_reference: Build, save_pt: Save, cache: Path
) -> None:
    """Weights in half precision are handed out as views of the file; nothing is written anywhere."""
    model = build_reference(dims)
    single = load_checkpoint(save_pt(content(model), "single.pt"))
    half = load_checkpoint(save_pt(content(model, torch.float16), "half.pt"))
    assert (single.is_float16, half.is_float16) == (False, True)
    for name, tensor in model.state_dict().items():
        stored = half.weights.stored(name)
        assert stored.dtype == np.float16
        assert np.shares_memory(stored, half.weights.stored(name))
        assert np.array_equal(stored, tensor.half().numpy())
    assert not cache.exists()


def test_weights_that_are_no_plain_arrays(dims: ModelDimensions, build_reference: Build, save_pt: Save) -> None:
    saved = content(build_reference(dims))
    query = saved["model_state_dict"]["encoder.blocks.0.attn.query.weight"]
    saved["model_state_dict"]["encoder.blocks.0.attn.query.weight"] = query.T.contiguous().T
    saved["model_state_dict"]["encoder.blocks.1.attn.query.weight"] = query[:]
    checkpoint = load_checkpoint(save_pt(saved))
    for block in (0, 1):
        assert np.array_equal(checkpoint.weights[f"encoder.blocks.{block}.attn.query.weight"], query.numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_weights_in_another_layout(
    dims: ModelDimensions, build_reference: Build, tmp_path: Path, dtype: torch.dtype, archive: bool
) -> None:
    """Transposed weights and ones that share a storage come out as plain arrays, from either format."""
    saved = content(build_reference(dims), dtype)
    state_dict = saved["model_state_dict"]
    query = state_dict["encoder.blocks.0.attn.query.weight"]
    state_dict["encoder.blocks.0.attn.query.weight"] = query.T.contiguous().T
    state_dict["encoder.blocks.1.attn.query.weight"] = query[:]
    state_dict["decoder.ln.bias"] = torch.nn.Parameter(query[0])
    torch.save(saved, tmp_path / "model.pt", _use_new_zipfile_serialization=archive)
    for name, array in load_checkpoint(tmp_path / "model.pt").weights.items():
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert np.array_equal(array, state_dict[name].detach().float().numpy()), name


def test_a_file_is_read_in_place(
    dims: ModelDimensions, build_reference: Build, save_pt: Save, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no step before it, and again without anything from the first time."""
    path = save_pt(content(build_reference(dims)))
    steps: list[Step] = []
    first = load_checkpoint(path, steps.append)
    monkeypatch.chdir(path.parent)
    second = load_checkpoint("model.pt", steps.append)
    assert steps == []
    assert (first.path, second.path) == (path, Path("model.pt"))
    assert second.weights["decoder.ln.bias"].tolist() == first.weights["decoder.ln.bias"].tolist()
    assert not cache.exists()


def test_a_write_does_not_reach_the_file(dims: ModelDimensions, build_reference: Build, save_pt: Save) -> None:
    path = save_pt(content(build_reference(dims)))
    before = path.read_bytes()
    load_checkpoint(path).weights["decoder.ln.bias"][:] = 7
    assert path.read_bytes() == before


@pytest.mark.parametrize(("dtype", "later"), [(torch.float32, 1), (torch.float16, 0)], ids=["time", "size"])
def test_a_file_that_has_changed(
    dims: ModelDimensions, build_reference: Build, save_pt: Save, dtype: torch.dtype, later: int
) -> None:
    """It is read anew, whether its time of last change tells or only its size."""
    saved = content(build_reference(dims))
    path = save_pt(saved)
    changed = path.stat().st_mtime_ns
    load_checkpoint(path)
    saved["model_state_dict"]["decoder.ln.bias"] += 1
    path.unlink()
    save_pt({**saved, "model_state_dict": {k: v.to(dtype) for k, v in saved["model_state_dict"].items()}})
    os.utime(path, ns=(changed, changed + later))
    after = load_checkpoint(path).weights["decoder.ln.bias"]
    assert np.array_equal(after, saved["model_state_dict"]["decoder.ln.bias"].to(dtype).float().numpy())


def test_files_of_the_same_name_do_not_meet(
    dims: ModelDimensions, build_reference: Build, save_pt: Save, tmp_path: Path
) -> None:
    saved = content(build_reference(dims))
    first = load_checkpoint(save_pt(saved))
    (tmp_path / "other").mkdir()
    saved["model_state_dict"]["decoder.ln.bias"] += 1
    second = load_checkpoint(save_pt(saved, "other/model.pt"))
    assert first.path != second.path
    assert np.array_equal(second.weights["decoder.ln.bias"], first.weights["decoder.ln.bias"] + 1)


def test_without_pytorch(
    dims: ModelDimensions, build_reference: Build, save_pt: Save, run_python: Callable[..., list[str]]
) -> None:
    """A first load, in a process that cannot import it."""
    path = save_pt(content(build_reference(dims)))
    printed = run_python(
        f"""
        import sys
        sys.modules["torch"] = None
        from max_whisper.models.whisper.checkpoint import load_checkpoint
        checkpoint = load_checkpoint({str(path)!r})
        print(checkpoint.name, len(checkpoint.weights), checkpoint.weights["decoder.ln.bias"].tolist())
        """
    )
    weights = load_checkpoint(path).weights
    assert printed == [f"model {len(weights)} {weights['decoder.ln.bias'].tolist()}"]


def missing(saved: dict[str, Any]) -> None:
    del saved["model_state_dict"]["decoder.blocks.0.cross_attn.key.weight"]


def extra(saved: dict[str, Any]) -> None:
    saved["model_state_dict"]["decoder.mask"] = torch.zeros(2, 2)


def unfit(saved: dict[str, Any]) -> None:
    saved["model_state_dict"]["encoder.conv2.weight"] = torch.zeros(16, 16, 5)


def more_layers(saved: dict[str, Any]) -> None:
    saved["dims"]["n_text_layer"] = 2


def whole_numbers(saved: dict[str, Any]) -> None:
    saved["model_state_dict"]["decoder.ln.bias"] = torch.zeros(16, dtype=torch.int8)


def not_a_tensor(saved: dict[str, Any]) -> None:
    saved["model_state_dict"]["decoder.ln.bias"] = [0.0] * 16


def dims_lack(saved: dict[str, Any]) -> None:
    del saved["dims"]["n_mels"]


def heads_do_not_fit(saved: dict[str, Any]) -> None:
    saved["dims"]["n_audio_head"] = 3


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (missing, "tensor decoder.blocks.0.cross_attn.key.weight is missing; "),
        (extra, "tensor decoder.mask is no part of a Whisper model of its dimensions; "),
        (unfit, "tensor encoder.conv2.weight has the shape [16, 16, 5], its dimensions ask for [16, 16, 3]; "),
        (more_layers, "tensor decoder.blocks.1.attn.query.weight is missing (and 23 more); "),
        (whole_numbers, "tensor decoder.ln.bias is stored as torch.int8; "),
        (not_a_tensor, "entry decoder.ln.bias of its model_state_dict is not a tensor; "),
        (dims_lack, "its dims lack n_mels; "),
        (heads_do_not_fit, "n_audio_state 16 does not divide into n_audio_head 3 heads; "),
    ],
)
def test_content_that_does_not_fit(
    dims: ModelDimensions,
    build_reference: Build,
    save_pt: Save,
    cache: Path,
    damage: Callable[[dict[str, Any]], None],
    fault: str,
) -> None:
    saved = content(build_reference(dims))
    damage(saved)
    path = save_pt(saved)
    assert_one_line(path, fault, cache)


class Payload:
    """What a hostile pickle does: a call while it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_a_pickle_that_would_run_code(
    save_pt: Save, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fault = "holds Python objects, and reading them could run any code; "
    assert_one_line(save_pt({"dims": Payload(), "model_state_dict": {}}), fault, cache)
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Payload(), protocol=2))
    assert_one_line(plain, fault, cache)
    plain.write_bytes(pickle.dumps(Payload(), protocol=4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_one_line(plain, "truncated, or not a PyTorch checkpoint; ", cache)
    assert not (tmp_path / "ran").exists()


def test_a_whole_model_object(dims: ModelDimensions, build_reference: Build, save_pt: Save, cache: Path) -> None:
    assert_one_line(save_pt(build_reference(dims)), "holds Python objects, ", cache)


def test_files_that_are_something_else(
    dims: ModelDimensions, build_reference: Build, save_pt: Save, tmp_path: Path, cache: Path
) -> None:
    model = build_reference(dims)
    assert_one_line(save_pt(model.state_dict()), "a plain state dict, without the model's dims; ", cache)
    assert_one_line(save_pt([1, 2]), "not a Whisper checkpoint (no 'dims' and 'model_state_dict'); ", cache)
    assert_one_line(save_pt({"model_state_dict": {}}), "not a Whisper checkpoint ", cache)
    for name, body in {
        "words.pt": b"just some words\n" * 20,
        "empty.pt": b"",
        "sound.wav": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100),
        "page.pt": b"<!DOCTYPE html>\n<html>not found</html>\n",
    }.items():
        (tmp_path / name).write_bytes(body)
        assert_one_line(tmp_path / name, "truncated, or not a PyTorch checkpoint", cache)


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.01])
@pytest.mark.parametrize("archive", [True, False])
def test_truncated_files(
    dims: ModelDimensions, build_reference: Build, tmp_path: Path, cache: Path, archive: bool, kept: float
) -> None:
    path = tmp_path / "model.pt"
    torch.save(content(build_reference(dims)), path, _use_new_zipfile_serialization=archive)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert_one_line(path, "truncated, or not a PyTorch checkpoint", cache)


def test_a_cache_that_cannot_be_written(
    dims: ModelDimensions, build_reference: Build, save_pt: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `.pt` file needs none."""
    (tmp_path / "taken").write_text("a file where the cache folder should be")
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path / "taken"))
    assert load_checkpoint(save_pt(content(build_reference(dims)))).dims == dims


def assert_one_line(path: Path, fault: str, cache: Path) -> None:
    """Loading `path` fails with one line that begins with it and the fault, and leaves nothing in the cache."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {fault}")
    assert "\n" not in message
    assert ";" in message
    assert not [file for file in cache.rglob("*") if file.is_file()]
