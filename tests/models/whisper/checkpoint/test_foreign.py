"""Models in other programs' formats: told by name, with what to give instead."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from max_whisper.errors import CheckpointError
from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.models.whisper.checkpoint.foreign import tell_foreign

ORIGINAL = "give the original: "
ANY = "a Hugging Face folder or repository such as openai/whisper-small, or a .pt file of OpenAI's"
WHISPER = {"model_type": "whisper", "num_mel_bins": 80, "vocab_size": 51865}

# What is in each kind of folder: paths, and the settings that they hold.
Files = dict[str, Any]
CTRANSLATE2: Files = {
    "config.json": {"alignment_heads": [[1, 0]], "lang_ids": [50259], "suppress_ids": [1], "suppress_ids_begin": [220]},
    "model.bin": None,
    "tokenizer.json": {},
    "vocabulary.txt": None,
}
ADAPTER: Files = {"adapter_config.json": {"peft_type": "LORA"}, "adapter_model.safetensors": None, "README.md": None}
FOLDERS: list[tuple[str, Files, str]] = [
    ("faster-whisper-tiny.en", CTRANSLATE2, f"a model of CTranslate2 (faster-whisper); {ORIGINAL}tiny.en"),
    ("mine", CTRANSLATE2, f"a model of CTranslate2 (faster-whisper); {ORIGINAL}{ANY}"),
    ("faster-distil-whisper-large-v3", CTRANSLATE2, f"a model of CTranslate2 (faster-whisper); {ORIGINAL}{ANY}"),
    ("no-vocabulary", {"model.bin": None}, f"a model of CTranslate2 (faster-whisper); {ORIGINAL}{ANY}"),
    ("cpp", {"ggml-large-v3-turbo-q5_0.bin": None}, f"a model of whisper.cpp (ggml); {ORIGINAL}large-v3-turbo"),
    ("mine", {"ggml-model.bin": None}, f"a model of whisper.cpp (ggml); {ORIGINAL}{ANY}"),
    ("any", {"whisper-base-q8_0.gguf": None}, f"a model of GGUF; {ORIGINAL}base"),
    (
        "whisper-base",
        {"config.json": WHISPER, "onnx/encoder_model.onnx": None, "onnx/decoder_model.onnx": None},
        f"a model of ONNX; {ORIGINAL}base",
    ),
    (
        "exported",
        {"config.json": {**WHISPER, "_name_or_path": "me/whisper-welsh"}, "encoder_model.onnx": None},
        f"a model of ONNX; {ORIGINAL}me/whisper-welsh",
    ),
    (
        "whisper-large-v3-german",  # not the official model's own conversion
        {"config.json": {**WHISPER, "_name_or_path": "./out"}, "openvino_encoder_model.xml": None},
        f"a model of OpenVINO; {ORIGINAL}{ANY}",
    ),
    (
        "whisper-tiny-mlx",
        {"config.json": {"n_mels": 80, "n_vocab": 51865, "model_type": "whisper"}, "weights.npz": None},
        f"a model of MLX; {ORIGINAL}tiny",
    ),
    (
        "whisper-small-mlx-4bit",
        {"config.json": {"n_mels": 80, "n_vocab": 51865}, "model.safetensors": None},
        f"a model of MLX; {ORIGINAL}small",
    ),
    (
        "openai_whisper-tiny",
        {"AudioEncoder.mlmodelc/model.mil": None, "config.json": WHISPER},
        f"a model of Core ML; {ORIGINAL}tiny",
    ),
    ("flax", {"config.json": WHISPER, "flax_model.msgpack": None}, f"a model of Flax; {ORIGINAL}{ANY}"),
    ("tf", {"config.json": WHISPER, "tf_model.h5": None}, f"a model of TensorFlow; {ORIGINAL}{ANY}"),
    ("engine", {"encoder/rank0.engine": None}, f"a model of TensorRT-LLM; {ORIGINAL}{ANY}"),
    ("lora", ADAPTER, "an adapter (PEFT, LoRA), not a whole model; merge the two with peft's merge_and_unload() "),
    (
        "lora",
        {**ADAPTER, "adapter_config.json": {"base_model_name_or_path": "openai/whisper-small"}},
        "an adapter (PEFT, LoRA) for openai/whisper-small, not a whole model; merge the two with ",
    ),
]


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights" if content is None else json.dumps(content).encode())
    return folder


def complaint(model: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("name", "files", "told"), FOLDERS)
def test_folders(tmp_path: Path, name: str, files: Files, told: str) -> None:
    folder = write(tmp_path / name, files)
    assert complaint(folder).startswith(f"{folder}: {told}")


@pytest.mark.parametrize(
    "name", ["adapter_config.json", "model.bin", "encoder.onnx", "ggml-tiny.bin", "flax_model.msgpack"]
)
def test_a_whole_model_beside_other_forms_is_loaded(huggingface_folder: Path, name: str) -> None:
    write(huggingface_folder, {name: {}, "onnx/decoder.onnx": None})
    assert load_checkpoint(huggingface_folder).name == "folder"


def test_another_architecture_is_told_as_such(tmp_path: Path) -> None:
    """Not every ONNX folder is a Whisper."""
    folder = write(tmp_path / "bert", {"config.json": {"model_type": "bert"}, "onnx/model.onnx": None})
    assert "its model_type is 'bert', not 'whisper'" in complaint(folder)


@pytest.mark.parametrize("files", [{}, {"notes.txt": None}, {"README.md": None, "sub/other.txt": None}])
def test_a_folder_of_anything_else(tmp_path: Path, files: Files) -> None:
    (tmp_path / "any").mkdir()
    assert "a folder without config.json; " in complaint(write(tmp_path / "any", files))


SPECIFICATION = struct.pack("<IH", 6, 12) + b"WhisperSpec\0" + struct.pack("<I", 3)
FILES = [
    ("ggml-tiny.en-q5_1.bin", struct.pack("<I", 0x67676D6C) + b"\0" * 60, f"whisper.cpp (ggml); {ORIGINAL}tiny.en"),
    ("ggml-base.bin", struct.pack("<I", 0x67676D6C), f"whisper.cpp (ggml); {ORIGINAL}base"),
    ("mine.bin", struct.pack("<I", 0x67676D66) + b"\0" * 60, f"whisper.cpp (ggml); {ORIGINAL}{ANY}"),
    ("whisper-small.gguf", b"GGUF" + b"\3\0\0\0", f"GGUF; {ORIGINAL}small"),
    ("model.bin", SPECIFICATION, f"CTranslate2 (faster-whisper); {ORIGINAL}{ANY}"),
    ("encoder_model.onnx", b"\x08\x08\x12\x07pytorch", f"ONNX; {ORIGINAL}{ANY}"),
    ("whisper-tiny.tflite", b"\x1c\0\0\0TFL3", f"TensorFlow Lite; {ORIGINAL}tiny"),
    ("weights.npz", b"PK\3\4", f"MLX; {ORIGINAL}{ANY}"),
    ("tf_model.h5", b"\x89HDF\r\n\x1a\n", f"TensorFlow; {ORIGINAL}{ANY}"),
    ("flax_model.msgpack", b"\x81\xa5model", f"Flax; {ORIGINAL}{ANY}"),
]


@pytest.mark.parametrize(("name", "content", "told"), FILES)
def test_files(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert complaint(path) == f"{path}: a model of {told}"


def test_a_file_in_a_folder_that_bears_the_models_name(tmp_path: Path) -> None:
    path = write(tmp_path / "faster-whisper-medium", {"config.json": {}}) / "model.bin"
    path.write_bytes(SPECIFICATION)
    assert complaint(path).endswith(f"{ORIGINAL}medium")


@pytest.mark.parametrize("name", ["models/whisper.gguf", "some/encoder.onnx", "weights.npz"])
def test_a_file_that_is_not_there(name: str) -> None:
    assert complaint(name) == f"{name}: no such file or folder; check the path"


def test_the_weights_of_an_adapter(tmp_path: Path, save_pt: Callable[..., Path]) -> None:
    name = "base_model.model.model.encoder.layers.0.self_attn.q_proj.lora_A.weight"
    save_file({name: np.zeros((8, 16), np.float32)}, tmp_path / "adapter_model.safetensors")
    for path in (tmp_path / "adapter_model.safetensors", save_pt({name: torch.zeros(8, 16)}, "adapter_model.bin")):
        assert complaint(path).startswith(f"{path}: an adapter (PEFT, LoRA), not a whole model; merge ")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_pointers_of_git_lfs(huggingface_folder: Path, name: str) -> None:
    """What a clone has in place of large files where Git LFS is not installed."""
    (huggingface_folder / "model.safetensors").unlink()
    path = huggingface_folder / name
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 151061672\n")
    for model in (huggingface_folder, path):
        assert complaint(model) == f"{path}: a pointer of Git LFS, not the file itself; fetch that with git lfs pull"


@pytest.mark.parametrize(
    ("repository", "files", "told"),
    [
        ("Systran/faster-whisper-large-v3", ["config.json", "model.bin", "vocabulary.json"], f"{ORIGINAL}large-v3"),
        ("ggerganov/whisper.cpp", ["ggml-tiny.bin", "ggml-base.bin"], f"whisper.cpp (ggml); {ORIGINAL}tiny"),
        ("mlx-community/whisper-tiny.en-mlx-q4", ["weights.npz"], f"MLX; {ORIGINAL}tiny.en"),
        ("argmaxinc/whisperkit-coreml", ["openai_whisper-base/TextDecoder.mlmodelc/weights/weight.bin"], "Core ML"),
        ("OpenVINO/whisper-base-int8-ov", ["openvino_decoder_model.xml"], f"OpenVINO; {ORIGINAL}base"),
        ("onnx-community/whisper-small", ["onnx/encoder_model_q4.onnx"], f"ONNX; {ORIGINAL}small"),
    ],
)
def test_repositories_by_their_files(repository: str, files: list[str], told: str) -> None:
    assert told in str(tell_foreign(repository, files, lambda name: None))
