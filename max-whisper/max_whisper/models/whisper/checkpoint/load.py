"""Any published checkpoint, by name, path or repository id."""

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from max_whisper.checks import did_you_mean, one_line
from max_whisper.errors import CheckpointError
from max_whisper.models.files.download import fetch_once
from max_whisper.models.files.tensors import StoredTensor, Weights
from max_whisper.models.whisper.checkpoint.checkpoint import Checkpoint
from max_whisper.models.whisper.checkpoint.foreign import REPOSITORY, SUFFIXES, refuse_foreign_file
from max_whisper.models.whisper.checkpoint.huggingface import load_folder, load_repository
from max_whisper.models.whisper.checkpoint.native import alignment_array, read_native
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS, OfficialModel
from max_whisper.models.whisper.checkpoint.openai import load_openai
from max_whisper.models.whisper.checkpoint.shapes import expected_shapes
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.progress import Progress, silent
from max_whisper.runtime.cache_folder import cache_dir

BUNDLED = "nano"
_FILE_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".json", *SUFFIXES)


def available_models() -> list[str]:
    """The names that `load_checkpoint` knows: the bundled model, then OpenAI's, smallest first."""
    return [BUNDLED, *OFFICIAL_MODELS]


@dataclass(frozen=True)
class KnownModel:
    """A model that has a name, and what of it is on this machine."""

    name: str
    dims: ModelDimensions | None  # None for the bundled model
    file: Path | None  # in the cache folder, where it has been downloaded
    sha256: str | None  # that the file must have; None for the bundled model

    @property
    def is_bundled(self) -> bool:
        """Whether it comes with the package."""
        return self.dims is None


def known_models() -> list[KnownModel]:
    """The models of `available_models`, in the same order."""
    models = [KnownModel(BUNDLED, None, None, None)]
    for name, official in OFFICIAL_MODELS.items():
        file = _official_file(official)
        models.append(KnownModel(name, official.dims, file if file.is_file() else None, official.sha256))
    return models


def load_checkpoint(model: str | Path, progress: Progress | None = None) -> Checkpoint:
    """The checkpoint that `model` names.

    `model` is tried as, in this order: the path of a file (`.safetensors` of our own format; anything else is read as
    OpenAI's `.pt`) or of a Hugging Face folder; the name of the bundled or of an official model; the id of a Hugging
    Face repository (a string with one slash, such as `openai/whisper-tiny`). Official models are downloaded once, into
    the cache folder. Every form is read where it lies and without PyTorch.

    Raises CheckpointError, one line that names the file and the tensor at fault and what to do.
    """
    progress = progress or silent
    if (path := _existing_path(model)) is not None:
        if path.is_dir():
            return load_folder(path)
        refuse_foreign_file(path)
        return read_native(path) if path.suffix == ".safetensors" else load_openai(path)
    if model == BUNDLED:
        return _load_bundled()
    if isinstance(model, str) and model in OFFICIAL_MODELS:
        return _load_official(model, progress)
    if isinstance(model, str) and REPOSITORY.fullmatch(model) and not model.endswith(_FILE_SUFFIXES):
        return load_repository(model, progress)
    raise CheckpointError(_unknown(model))


def load_outline(model: str | Path, progress: Progress | None = None) -> Checkpoint:
    """As `load_checkpoint`, but of an official model only what is known without its file: all its weights are zero.

    That is enough to compile for it, with no network; published weights are float16.
    """
    if _existing_path(model) is not None or not isinstance(model, str) or model not in OFFICIAL_MODELS:
        return load_checkpoint(model, progress)
    official = OFFICIAL_MODELS[model]
    zero = np.zeros((), np.float16)
    tensors = {
        name: StoredTensor(np.broadcast_to(zero, shape)) for name, shape in expected_shapes(official.dims).items()
    }
    return Checkpoint(model, Path(), (), official.dims, Weights(tensors), np.array(official.alignment_heads, np.int64))


def _existing_path(model: str | Path) -> Path | None:
    """The file or folder that `model` is a path of.

    A folder that bears a model's name counts where it holds a model: one with the results of `--model tiny` does not
    hide tiny.
    """
    try:
        path = Path(model).expanduser()
        if path.is_dir():
            is_model = str(model) not in ("", *available_models()) or (path / "config.json").is_file()
            return path if is_model else None
        return path if path.is_file() else None
    except (OSError, RuntimeError):  # a name too long for the file system; the home of an unknown user
        return None


def _load_bundled() -> Checkpoint:
    path = Path(str(resources.files("max_whisper") / "assets" / f"{BUNDLED}.safetensors"))
    if not path.is_file():
        raise CheckpointError(f"{path}: the bundled model is not in this installation; install max-whisper again")
    return replace(read_native(path), name=BUNDLED)


def _load_official(name: str, progress: Progress) -> Checkpoint:
    """An official model: the published file, downloaded where it is not yet in the cache."""
    model = OFFICIAL_MODELS[name]
    published = _official_file(model)
    fetch_once(model.url, model.sha256, published, progress)
    checkpoint = load_openai(published)
    return replace(checkpoint, name=name, alignment_heads=alignment_array(model.alignment_heads, checkpoint.dims))


def _official_file(model: OfficialModel) -> Path:
    return cache_dir() / "checkpoints" / f"{model.name}.pt"


def _unknown(model: str | Path) -> str:
    text = one_line(model)
    if isinstance(model, Path) or text.endswith(_FILE_SUFFIXES) or any(separator in text for separator in "/\\"):
        return f"{text}: no such file or folder; check the path"
    hint = did_you_mean(text.lower(), available_models(), count=3)
    return (
        f"no model is called {text!r}; {hint}{' ' if hint else ''}known names: {', '.join(available_models())};"
        " or give a .pt file, a Hugging Face folder or a repository id such as openai/whisper-tiny"
    )
