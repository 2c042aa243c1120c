"""Any published checkpoint, by name, path or repository id."""

import difflib
from importlib import resources
from pathlib import Path

from max_whisper.checkpoint.checkpoint import Checkpoint
from max_whisper.checkpoint.native import read_native
from max_whisper.checkpoint.openai import load_openai
from max_whisper.errors import CheckpointError
from max_whisper.progress import Progress, silent

BUNDLED = "nano"
_FILE_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".json")


def available_models() -> list[str]:
    """The names that `load_checkpoint` knows."""
    return [BUNDLED]


def load_checkpoint(model: str | Path, progress: Progress | None = None) -> Checkpoint:
    progress = progress or silent
    path = Path(model).expanduser()
    if str(model) and path.is_file():
        return read_native(path) if path.suffix == ".safetensors" else load_openai(path, progress)
    if model == BUNDLED:
        return _load_bundled()
    raise CheckpointError(_unknown(str(model)))


def _load_bundled() -> Checkpoint:
    path = Path(str(resources.files("max_whisper") / "assets" / f"{BUNDLED}.safetensors"))
    if not path.is_file():
        raise CheckpointError(f"{path}: the bundled model is not in this installation; install max-whisper again")
    return read_native(path)


def _unknown(model: str) -> str:
    if close := difflib.get_close_matches(model, available_models()):
        return f"no model {model!r}; did you mean {' or '.join(close)}?"
    return f"no model {model!r}; known names: {', '.join(available_models())}"
