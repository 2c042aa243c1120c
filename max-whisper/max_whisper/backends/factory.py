"""The backends by name, and the model that each makes of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from max_whisper.backends.interface import SpeechModel, TextDecoder
from max_whisper.models.whisper.checkpoint import (
    Checkpoint,
    KnownModel,
    available_models,
    known_models,
    load_checkpoint,
    load_outline,
)
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.progress import Progress, silent
from max_whisper.runtime.forks import note_loading
from max_whisper.runtime.threads import pool_of

if TYPE_CHECKING:
    from max_whisper.backends.graph_model import GraphModel
    from max_whisper.runtime.devices import Device

__all__ = [
    "KnownModel",
    "LoadedModel",
    "available_models",
    "compile_backend",
    "known_models",
    "load_backend",
    "load_max_model",
]


@dataclass(frozen=True)
class LoadedModel:
    """A model on its backend."""

    backend: str  # one of `backends.BACKENDS`
    device: str  # 'cpu' or 'gpu'
    name: str  # the model's name, or its file's or folder's
    dims: ModelDimensions
    model: SpeechModel


def load_backend(
    model: str | Path,
    backend: str,
    device: str = "auto",
    compute_type: str = "float32",
    threads: int = 0,
    progress: Progress = silent,
) -> LoadedModel:
    """Load a model for a backend.

    model: as for `load_checkpoint`. compute_type: `float32`, or `bfloat16` and `int8` for backend `max` on a CPU.
    threads: the most that a CPU computes with; 0 is one for each core.

    Raises CheckpointError, DeviceError or OptionError. The device is chosen first: a model may take long to download.
    """
    note_loading()
    if backend == "torch":
        return _load_reference(model, device, threads, progress)
    selected = _graph_device(device, threads, for_pytorch=backend == "hybrid")
    checkpoint = load_checkpoint(model, progress)
    loaded: SpeechModel
    if backend == "hybrid":
        from max_whisper.backends.hybrid import HybridModel

        loaded = HybridModel(checkpoint, selected, load_max_model(checkpoint, selected, progress=progress))
    else:
        loaded = _finite(checkpoint, selected, compute_type, progress)
    return LoadedModel(backend, selected.name, checkpoint.name, checkpoint.dims, loaded)


def compile_backend(model: str | Path, device: str, compute_type: str, progress: Progress = silent) -> Path:
    """Compile what backend `max` needs for a model, unless it is in the cache; the file there. No weights are read."""
    note_loading()
    selected = _graph_device(device, threads=0, for_pytorch=False)
    from max_whisper.models.whisper.compiled import compile_ahead

    return compile_ahead(load_outline(model, progress), selected, compute_type, progress)


def load_max_model(
    checkpoint: Checkpoint, device: Device, compute_type: str = "float32", progress: Progress = silent
) -> GraphModel:
    """The model of backend `max`: on a CPU the fused operations; MAX's own on a GPU, and where those do not fit.

    Raises OptionError for bfloat16 and int8 where there are no fused operations.
    """
    from max_whisper.models.whisper.compiled import has_fused_graphs

    if compute_type == "float32" and not has_fused_graphs(checkpoint.dims, device):
        from max_whisper.backends.max_graph import MaxGraphModel

        return MaxGraphModel(checkpoint, device, progress)
    from max_whisper.backends.fused import FusedModel

    return FusedModel(checkpoint, device, compute_type, progress)


def _finite(checkpoint: Checkpoint, device: Device, compute_type: str, progress: Progress) -> SpeechModel:
    """The model of backend `max`, whose results are looked at."""
    from max_whisper.backends.finite import FiniteModel, FiniteTextDecoder, InFloat32

    model = load_max_model(checkpoint, device, compute_type, progress)
    in_float32 = None
    if compute_type != "float32":
        in_float32 = InFloat32(
            checkpoint.name, compute_type, lambda: load_max_model(checkpoint, device, progress=progress)
        )
    kind = FiniteTextDecoder if isinstance(model, TextDecoder) else FiniteModel
    return kind(model, checkpoint.name, in_float32)


def _load_reference(model: str | Path, device: str, threads: int, progress: Progress) -> LoadedModel:
    from max_whisper.backends.reference import TorchModel, reference_model, select_torch_device

    selected = select_torch_device(device, threads)
    checkpoint = load_checkpoint(model, progress)
    loaded = TorchModel(reference_model(checkpoint, selected))
    name = "cpu" if selected.type == "cpu" else "gpu"
    return LoadedModel("torch", name, checkpoint.name, checkpoint.dims, loaded)


def _graph_device(name: str, threads: int, *, for_pytorch: bool) -> Device:
    """MAX's device; for_pytorch: one that PyTorch can use too, since both halves of `hybrid` run on the same."""
    if for_pytorch:
        from max_whisper.backends.reference import select_torch_device

        on_torch = select_torch_device(name, threads).type
        name = "cpu" if on_torch == "cpu" and name == "auto" else name
    with pool_of(threads):  # some of what is imported makes a device
        from max_whisper.runtime.devices import select_device

        return select_device(name)
