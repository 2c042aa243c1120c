"""Whisper models in the formats of other programs, which are told by name: their user needs the original model.

A folder is told by the names of its files, a file by its first bytes. What the original is called stands in a
configuration (`base_model_name_or_path`, `_name_or_path`) or can be seen from the name, as of `ggml-tiny.en-q5_1.bin`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError
from max_whisper.models.files.json_file import read_json_object
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS

ADAPTER_SETTINGS = "adapter_config.json"
SUFFIXES = (".gguf", ".h5", ".mlmodel", ".mlmodelc", ".mlpackage", ".msgpack", ".npz", ".onnx", ".tflite", ".xml")

ReadSettings = Callable[[str], dict[str, Any] | None]  # the JSON object in a file; None where it is not there

_CTRANSLATE2 = "CTranslate2 (faster-whisper)"
_ADAPTER = "PEFT (a LoRA or another adapter)"
_GGML = "whisper.cpp (ggml)"

# The formats of folders, each by a pattern of the path of one of its files. The first that fits is told.
_FILES = (
    (_ADAPTER, r"adapter_config\.json|adapter_model\.(safetensors|bin)"),
    (_CTRANSLATE2, r"vocabulary\.(json|txt)"),
    (_GGML, r"ggml-.*\.bin"),
    ("GGUF", r".*\.gguf"),
    ("Core ML", r"(.*/)?[^/]*\.(mlmodelc|mlpackage|mlmodel)(/.*)?|coremldata\.bin"),
    ("OpenVINO", r"(.*/)?openvino_[^/]*\.(xml|bin)"),
    ("ONNX", r"(.*/)?[^/]*\.onnx"),
    ("MLX", r"weights(\.[^/]*)?\.(npz|safetensors)"),
    ("TensorRT-LLM", r"(.*/)?[^/]*\.engine"),
    ("TensorFlow Lite", r".*\.tflite"),
    ("TensorFlow", r"tf_model.*\.h5"),
    ("Flax", r"flax_model.*\.msgpack"),
    (_CTRANSLATE2, r"model\.bin"),
)
_FIRST_BYTES = (
    (_GGML, rb"lmgg|fmgg|tjgg"),  # 0x67676d6c and its successors, as little-endian integers
    ("GGUF", rb"GGUF"),
    (_CTRANSLATE2, rb".{4}.{2}WhisperSpec"),  # the format's version, the length of the name, the name
    ("TensorFlow Lite", rb".{4}TFL3"),
    ("TensorFlow", rb"\x89HDF"),
)
_SUFFIX_FORMATS = {".onnx": "ONNX", ".npz": "MLX", ".msgpack": "Flax", ".xml": "OpenVINO", ".mlmodel": "Core ML"}
_GIT_LFS = b"version https://git-lfs.github.com/spec/"

# What may follow an official model's name in that of a conversion: a precision or a format, not another training.
_PRECISIONS = r"q\d(-\d|-k)?\w*|[48]-?bit|int\d+\w*|f(p|loat)\d+|bf(loat)?16"
_CONVERSIONS = rf"([-.]?({_PRECISIONS}|ct2|ctranslate2|onnx|mlx|ggml|gguf|ov|bin|tflite))*"
_NAMES = "|".join(re.escape(name) for name in sorted(OFFICIAL_MODELS, key=len, reverse=True))
_CONVERTED = re.compile(rf"(?:.*[-/])?(?:whisper|ggml|gguf)-({_NAMES}){_CONVERSIONS}")
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def refuse_foreign_file(path: Path) -> None:
    """Raise CheckpointError for a file in another program's format, and for a pointer of Git LFS in its place."""
    with path.open("rb") as file:
        first = file.read(64)
    if first.startswith(_GIT_LFS):
        raise CheckpointError(f"{path}: a pointer of Git LFS, not the file itself; fetch that with git lfs pull")
    kind = next((kind for kind, pattern in _FIRST_BYTES if re.match(pattern, first, re.DOTALL)), None)
    kind = kind or _SUFFIX_FORMATS.get(path.suffix.lower())
    if kind is not None:
        raise CheckpointError(_told(str(path), kind, _seen_in([path.name, path.resolve().parent.name])))


def refuse_foreign_folder(folder: Path) -> None:
    """Raise CheckpointError for a folder that holds a model in another program's format instead of a readable one."""
    # Two levels: Core ML's models are folders, and ONNX has one of its own.
    found = islice((path for pattern in ("*", "*/*") for path in folder.glob(pattern)), 10_000)
    files = [path.relative_to(folder).as_posix() for path in found]
    if told := tell_foreign(str(folder), files, lambda name: read_json_object(folder / name)):
        raise CheckpointError(told)


def tell_foreign(source: str, files: Sequence[str], read_settings: ReadSettings) -> str | None:
    """Which program's format a model is in, and what to give instead; None where no file tells.

    source: the folder or the repository, for the message. files: the paths of its files, relative to it.
    """
    settings = read_settings("config.json") or {}
    kind = next((kind for kind, pattern in _FILES for file in files if re.fullmatch(pattern, file)), None)
    if "n_mels" in settings:  # MLX writes openai-whisper's names into it
        kind = "MLX"
    if kind is None or settings.get("model_type", "whisper") != "whisper":
        return None
    if kind == _ADAPTER:
        base = (read_settings(ADAPTER_SETTINGS) or {}).get("base_model_name_or_path")
        return tell_adapter(source, base)
    stated = settings.get("_name_or_path")
    is_repository = isinstance(stated, str) and REPOSITORY.fullmatch(stated) is not None and stated != source
    original = stated if is_repository else _seen_in([source, *files])
    return _told(source, kind, original)


def tell_adapter(source: str, base: object = None) -> str:
    """What to do with an adapter. base: the model that it was trained for, where that is known."""
    of = f" for {one_line(base)}" if isinstance(base, str) and base else ""
    return (
        f"{source}: an adapter (PEFT, LoRA){of}, not a whole model; merge the two with peft's merge_and_unload() and"
        " save_pretrained, and give that folder"
    )


def _told(source: str, kind: str, original: object) -> str:
    wanted = "a Hugging Face folder or repository such as openai/whisper-small, or a .pt file of OpenAI's"
    return f"{source}: a model of {kind}; give the original: {one_line(original) if original else wanted}"


def _seen_in(names: Iterable[str]) -> str | None:
    """The official model whose name is in that of a conversion."""
    for name in names:
        seen = _CONVERTED.fullmatch(PurePath(name).as_posix().replace("_", "-").rstrip("/"))
        if seen and "distil" not in name:
            return seen[1]
    return None
