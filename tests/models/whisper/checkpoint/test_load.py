"""Which kind of model a name, a path or an id means, and that none needs PyTorch."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from whisper.model import Whisper

import max_whisper.models.whisper.checkpoint.load as loading
from max_whisper.errors import CheckpointError
from max_whisper.models.whisper.checkpoint import expected_shapes, load_checkpoint, load_outline
from max_whisper.models.whisper.checkpoint.huggingface import huggingface_name
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS
from max_whisper.models.whisper.dimensions import ModelDimensions


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """Takes note of the loader that is called and of what for, in place of the loaders; in an empty folder."""
    calls: list[tuple[str, str]] = []
    for loader in ("load_folder", "read_native", "load_openai", "_load_bundled", "_load_official", "load_repository"):

        def note(*arguments: Any, loader: str = loader) -> None:
            calls.append((loader, str(arguments[0]) if arguments else ""))

        monkeypatch.setattr(loading, loader, note)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return calls


def make_model_folder(path: str) -> None:
    Path(path).mkdir(parents=True)
    (Path(path) / "config.json").write_text("{}")


def test_names_and_repositories(chosen: list[tuple[str, str]]) -> None:
    for model in ("nano", "tiny", "large", "openai/whisper-tiny", "distil-whisper/distil-large-v3", "a/b.en"):
        load_checkpoint(model)
    assert chosen == [
        ("_load_bundled", ""),
        ("_load_official", "tiny"),
        ("_load_official", "large"),
        ("load_repository", "openai/whisper-tiny"),
        ("load_repository", "distil-whisper/distil-large-v3"),
        ("load_repository", "a/b.en"),
    ]


def test_the_outline_of_an_official_model_needs_no_file(chosen: list[tuple[str, str]]) -> None:
    outline = load_outline("tiny.en")
    assert outline.dims == OFFICIAL_MODELS["tiny.en"].dims
    assert outline.is_float16  # as what is published
    assert {name: outline.weights.stored(name).shape for name in outline.weights} == expected_shapes(outline.dims)
    load_outline("nano")
    load_outline("openai/whisper-tiny")
    Path("tiny").write_text("a file of that name")
    load_outline("tiny")
    assert chosen == [("_load_bundled", ""), ("load_repository", "openai/whisper-tiny"), ("load_openai", "tiny")]


def test_what_exists_goes_before_what_has_the_name(chosen: list[tuple[str, str]]) -> None:
    Path("nano").write_text("a file")
    Path("own.safetensors").write_text("a file")
    make_model_folder("tiny")
    make_model_folder("openai/whisper-tiny")
    for model in ("nano", "own.safetensors", "tiny", "openai/whisper-tiny", Path("openai"), "openai/"):
        load_checkpoint(model)
    assert chosen == [
        ("load_openai", "nano"),
        ("read_native", "own.safetensors"),
        ("load_folder", "tiny"),
        ("load_folder", "openai/whisper-tiny"),
        ("load_folder", "openai"),
        ("load_folder", "openai"),
    ]


def test_a_folder_of_results_does_not_hide_the_model(chosen: list[tuple[str, str]]) -> None:
    Path("tiny").mkdir()
    Path("nano").mkdir()
    for model in ("tiny", "nano", "./tiny"):
        load_checkpoint(model)
    assert chosen == [("_load_official", "tiny"), ("_load_bundled", ""), ("load_folder", "tiny")]


@pytest.mark.parametrize(
    "model",
    [
        "models/tiny.pt",
        "tiny.pt",
        "a/b/c",
        "./a/b",
        "../a",
        "/a/b",
        "~/a",
        "a/b.safetensors",
        "a\\b",
        Path("a/b"),
        "a//b",
    ],
)
def test_a_path_that_is_not_there(chosen: list[tuple[str, str]], model: str | Path) -> None:
    with pytest.raises(CheckpointError, match=r": no such file or folder; check the path$") as caught:
        load_checkpoint(model)
    assert str(caught.value).startswith(f"{model}: ")
    assert chosen == []


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("tiyn", "'tiyn'; did you mean tiny"),
        ("Large-V3", "'Large-V3'; did you mean large-v3 or "),
        ("whisper", "'whisper'; known names: nano, tiny, tiny.en, "),
        ("", "''; known names: "),
        (".", None),
        ("two\nlines", "'two lines'; known names: "),
        ("x" * 5000, "x...'; known names: "),
        ("\0", "known names: "),
        ("~nobody-of-this-name", "known names: "),
    ],
)
def test_a_name_that_is_not_known(chosen: list[tuple[str, str]], model: str, hint: str | None) -> None:
    if hint is None:
        load_checkpoint(model)
        assert chosen == [("load_folder", ".")]
        return
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "openai/whisper-tiny" in str(caught.value)
    assert chosen == []


def test_the_bundled_model_is_named_where_it_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading.resources, "files", lambda package: tmp_path)
    with pytest.raises(
        CheckpointError, match=r"assets/nano\.safetensors: the bundled model is not in this inst.*again$"
    ):
        load_checkpoint("nano")


def test_the_bundled_model_is_read_from_the_package(
    native_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "assets").mkdir()
    native_file.rename(tmp_path / "assets" / "nano.safetensors")
    monkeypatch.setattr(loading.resources, "files", lambda package: tmp_path)
    checkpoint = load_checkpoint("nano")
    assert (checkpoint.name, checkpoint.path.name) == ("nano", "nano.safetensors")


def test_no_form_needs_pytorch(
    native_file: Path,
    huggingface_folder: Path,
    dims: ModelDimensions,
    build_reference: Callable[[ModelDimensions], Whisper],
    run_python: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    """Every form loads in a process that cannot import it."""
    model = build_reference(dims)
    saved = {"dims": dict(model.dims.__dict__), "model_state_dict": model.state_dict()}
    torch.save(saved, tmp_path / "model.pt")
    torch.save(saved, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    bin_folder = tmp_path / "bin"
    shutil.copytree(huggingface_folder, bin_folder)
    (bin_folder / "model.safetensors").unlink()
    names = {f"model.{huggingface_name(name)}": tensor for name, tensor in model.state_dict().items()}
    torch.save(names, bin_folder / "pytorch_model.bin")
    forms = [native_file, huggingface_folder, tmp_path / "model.pt", tmp_path / "legacy.pt", bin_folder]
    printed = run_python(
        f"""
        import sys
        sys.modules["torch"] = None
        from max_whisper.models.whisper.checkpoint import load_checkpoint
        for model in {[str(form) for form in forms]}:
            checkpoint = load_checkpoint(model)
            total = sum(float(abs(array).sum()) for array in checkpoint.weights.values())
            print(checkpoint.name, len(checkpoint.weights), total > 0)
        """
    )
    count = len(model.state_dict())
    assert printed == [f"{name} {count} True" for name in ("own", "folder", "model", "legacy", "bin")]


def test_progress_may_be_left_out(native_file: Path) -> None:
    assert load_checkpoint(native_file, None).name == load_checkpoint(str(native_file)).name == "own"
