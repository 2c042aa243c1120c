"""Devices, and graphs compiled once for each machine."""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from max import driver, engine
from max.dtype import DType
from max.graph import DeviceRef, Graph
from max.graph import Module as GraphModule

from max_whisper import graphs
from max_whisper.cache import cache_dir
from max_whisper.checkpoint import Checkpoint
from max_whisper.checkpoint.atomic import replacing
from max_whisper.cpu import cpu_architecture, cpu_instructions
from max_whisper.dimensions import ModelDimensions
from max_whisper.errors import DeviceError, OptionError
from max_whisper.graph_sources import graph_sources
from max_whisper.graphs import fused
from max_whisper.graphs.packing import Packing
from max_whisper.packed_weights import packed_weights
from max_whisper.progress import Progress, Step, silent

DEVICES = ("auto", "cpu", "gpu")


@dataclass(frozen=True)
class Device:
    """Where graphs run."""

    name: str  # 'cpu' or 'gpu'
    driver: driver.Device

    @property
    def reference(self) -> DeviceRef:
        """The device as graphs name it."""
        return DeviceRef.from_device(self.driver)

    @property
    def architecture(self) -> str:
        """What compiled code depends on: the GPU's architecture, or the CPU's model and instruction sets."""
        return self.driver.architecture_name if self.name == "gpu" else cpu_architecture()


def select_device(name: str = "auto") -> Device:
    """The device of that name; `auto` is a GPU where there is one, except Apple's, on which nothing was tried yet.

    Raises DeviceError for a name that is none, and for a GPU on a machine without.
    """
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r}: choose one of {', '.join(DEVICES)}")
    has_gpu = driver.accelerator_count() > 0
    if name == "gpu" and not has_gpu:
        raise DeviceError("no GPU that MAX can use was found on this machine; it has: cpu")
    if name == "cpu" or not has_gpu or (name == "auto" and platform.system() == "Darwin"):
        return Device("cpu", driver.CPU())
    return Device("gpu", driver.Accelerator())


def compiled_dir() -> Path:
    """The folder of compiled graphs; it need not exist."""
    return cache_dir() / "compiled"


@dataclass(frozen=True)
class LoadedGraphs:
    """The graphs of `graphs.build_graphs`, compiled, with a checkpoint's weights."""

    log10_mel: engine.Model
    encoder: engine.Model
    cross_attention: engine.Model
    decoder: engine.Model
    weights: dict[str, np.ndarray]  # the graphs read these arrays where they lie
    greedy: engine.Model | None = None  # of the fused graphs, as all that follows
    beams: engine.Model | None = None
    block_bytes: int = 0  # see `graphs.fused`


def load_graphs(
    checkpoint: Checkpoint, device: Device, progress: Progress = silent, *, every_layer: bool = False
) -> LoadedGraphs:
    """Compile a checkpoint's graphs, or read them from the cache, and give them its weights."""
    with _environment_restored():
        session = engine.InferenceSession(devices=[device.driver])
        compiled, _ = _graphs(session, checkpoint, device, progress, every_layer)
        progress(Step("loading the model"))
        weights = graphs.weights_for_graphs(checkpoint.weights, checkpoint.dims, _stored(checkpoint, device))
        return LoadedGraphs(**session.init_all(compiled, weights_registry=weights), weights=weights)


def _graphs(
    session: engine.InferenceSession, checkpoint: Checkpoint, device: Device, progress: Progress, every_layer: bool
) -> tuple[engine.CompiledModel, Path]:
    """The graphs of `graphs.build_graphs` without weights, and the file in which they are kept."""
    dims, stored = checkpoint.dims, _stored(checkpoint, device)

    def build() -> GraphModule:
        return graphs.build_graphs(dims, device.reference, stored=stored, every_layer=every_layer)

    key = cache_key("whisper", dims, device, stored.name, {"every_layer": every_layer})
    return _compile(session, device, key, build, "the encoder and the decoder", "about a minute", progress)


def load_fused_graphs(
    checkpoint: Checkpoint,
    device: Device,
    compute_type: str,
    progress: Progress = silent,
    instructions: str | None = None,
) -> LoadedGraphs:
    """Compile the graphs of `build_fused_graphs` for this CPU, or read them from the cache, and give them the weights.

    Raises OptionError where there is no operation for the device or for the model's sizes.
    """
    with _environment_restored():
        session = engine.InferenceSession(devices=[device.driver])
        chosen = instructions or cpu_instructions()
        compiled, _ = _fused_graphs(session, checkpoint, device, compute_type, progress, chosen)
        packing = _packing(checkpoint, compute_type, chosen)
        weights = packed_weights(checkpoint, packing, progress)
        progress(Step("loading the model"))
        models = session.init_all(compiled, weights_registry=weights)
        return LoadedGraphs(**models, weights=weights, block_bytes=fused.block_bytes(packing))


def _fused_graphs(
    session: engine.InferenceSession,
    checkpoint: Checkpoint,
    device: Device,
    compute_type: str,
    progress: Progress,
    instructions: str,
) -> tuple[engine.CompiledModel, Path]:
    """The graphs of `build_fused_graphs` without weights, and the file in which they are kept."""
    dims = checkpoint.dims
    if device.name != "cpu":
        raise OptionError(f"compute_type {compute_type} is for CPUs; on a GPU take float32, or device cpu")
    if not fused.fits(dims):
        raise OptionError(
            f"compute_type {compute_type}: {checkpoint.name} has heads of another width than 64; take float32"
        )
    packing = _packing(checkpoint, compute_type, instructions)

    def build() -> GraphModule:
        return fused.build_fused_graphs(dims, packing=packing, instructions=instructions)

    key = cache_key("fused", dims, device, packing.tokens, {"instructions": instructions, "packing": asdict(packing)})
    return _compile(session, device, key, build, "the encoder and the decoder", "half a minute", progress)


def _packing(checkpoint: Checkpoint, compute_type: str, instructions: str) -> Packing:
    return Packing.of(compute_type, is_float16=checkpoint.is_float16, has_amx=instructions == "amx")


def compile_graphs(checkpoint: Checkpoint, device: Device, compute_type: str, progress: Progress = silent) -> Path:
    """Compile the graphs with which a checkpoint is transcribed, unless they are in the cache; their file there.

    Weights are not read. Raises OptionError where the graphs of that type cannot compute the model.
    """
    with _environment_restored():
        session = engine.InferenceSession(devices=[device.driver])
        if compute_type == "float32" and not has_fused_graphs(checkpoint.dims, device):
            _, path = _graphs(session, checkpoint, device, progress, every_layer=False)
        else:
            _, path = _fused_graphs(session, checkpoint, device, compute_type, progress, cpu_instructions())
    return path


def has_fused_graphs(dims: ModelDimensions, device: Device) -> bool:
    """Whether there are fused operations for a model of these sizes on a device."""
    return device.name == "cpu" and fused.fits(dims)


def load_alignment(
    checkpoint: Checkpoint,
    device: Device,
    weights: Mapping[str, np.ndarray] | None,
    heads: Sequence[tuple[int, int]],
    n_text: int,
    progress: Progress = silent,
) -> engine.Model:
    """Compile the graph of `graphs.build_alignment`, or read it from the cache, and give it the checkpoint's weights.

    weights: those of `load_graphs`, where it has been called. heads, n_text: as in `build_alignment`.
    """
    dims, stored = checkpoint.dims, _stored(checkpoint, device)

    def build() -> Graph:
        return graphs.build_alignment(dims, device.reference, stored=stored, heads=heads, n_text=n_text)

    with _environment_restored():
        session = engine.InferenceSession(devices=[device.driver])
        key = cache_key("alignment", dims, device, stored.name, {"heads": list(heads), "n_text": n_text})
        compiled, _ = _compile(session, device, key, build, "the alignment of words", "about a minute", progress)
        if weights is None:
            weights = graphs.weights_for_graphs(checkpoint.weights, dims, stored, "decoder.")
        return session.init(compiled, weights_registry=weights)


def _stored(checkpoint: Checkpoint, device: Device) -> DType:
    """How the weights that every token reads are kept: our kernel that widens float16 as it reads is for CPUs."""
    return DType.float16 if checkpoint.is_float16 and device.name == "cpu" else DType.float32


def _compile(
    session: engine.InferenceSession,
    device: Device,
    key: str,
    build: Callable[[], Graph | GraphModule],
    what: str,
    time: str,
    progress: Progress,
) -> tuple[engine.CompiledModel, Path]:
    """Graphs from the cache, or traced by `build`, compiled and kept there; and the file. what, time: for people."""
    path = compiled_dir() / f"{key}.mef"
    compiled = _read(path)
    if compiled is None:
        # Makes sure that the result can be kept before it takes a minute to compute it.
        with replacing(path) as unfinished:
            progress(Step(f"compiling {what} for this {device.name.upper()}, once, {time}"))
            compiled = session.compile(build(), custom_extensions=[graphs.packaged_kernels()])
            compiled.export_mef(unfinished)
    return compiled, path


def _read(path: Path) -> engine.CompiledModel | None:
    """Compiled graphs from the cache; None where they are not there, or damaged."""
    if not path.exists():
        return None
    try:
        return engine.read(path)
    except RuntimeError:
        return None


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Undo what MAX 26.7 does to the environment, behind `os.environ`, when it loads an operation in Mojo.

    It points these variables at the Python it finds on the PATH, and programs that this one starts would run in that
    instead of their virtual environment.
    """
    try:
        yield
    finally:
        for name in ("PYTHONEXECUTABLE", "PYTHONHOME", "PYTHONPATH", "MOJO_PYTHON_LIBRARY"):
            if name in os.environ:
                os.putenv(name, os.environ[name])
            else:
                os.unsetenv(name)


def cache_key(builder: str, dims: ModelDimensions, device: Device, stored: str, build: Mapping[str, object]) -> str:
    """A readable name that changes with all that the compiled code depends on.

    builder: the module of `graphs` whose function builds them. stored: how weights that every token reads are kept.
    build: that function's other arguments, by their names.
    """
    source = hashlib.sha256()
    for path in graph_sources(Path(graphs.__file__).with_name(f"{builder}.py"), graphs.KERNELS):
        source.update(path.name.encode() + b"\0" + path.read_bytes())
    parts = {
        "dims": dims.to_dict(),
        "device": [device.name, device.architecture],
        "stored": stored,
        "build": dict(build),
        "max": driver.__version__,
        "source": source.hexdigest(),
        "system": [platform.system(), platform.machine()],
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{dims.n_audio_state}x{dims.n_audio_layer}x{dims.n_text_layer}-{device.name}-{stored}-{digest[:16]}"
