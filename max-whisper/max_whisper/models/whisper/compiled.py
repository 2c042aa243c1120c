"""A Whisper checkpoint's graphs, compiled and with its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from max import engine
from max.dtype import DType
from max.graph import Graph
from max.graph import Module as GraphModule

from max_whisper.errors import OptionError
from max_whisper.models.whisper.checkpoint import Checkpoint
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.graphs import fused
from max_whisper.models.whisper.graphs.packing import Packing, packed_arrays
from max_whisper.progress import Progress, Step, silent
from max_whisper.runtime.compiling import GraphRecipe, compile_graphs, compile_session
from max_whisper.runtime.cpu import cpu_instructions
from max_whisper.runtime.devices import Device
from max_whisper.runtime.packed_weights import PackedFile, packed_weights

_GRAPHS = Path(fused.__file__).parent


@dataclass(frozen=True)
class LoadedGraphs:
    """The graphs of `graphs.whisper.build_graphs`, MAX's own operations, with a checkpoint's weights."""

    log10_mel: engine.Model
    encoder: engine.Model
    cross_attention: engine.Model
    decoder: engine.Model
    weights: Mapping[str, np.ndarray]  # the graphs read these arrays where they lie


@dataclass(frozen=True)
class LoadedFusedGraphs(LoadedGraphs):
    """The graphs of `graphs.fused.build_fused_graphs`, our operations for CPUs, with a checkpoint's weights."""

    greedy: engine.Model
    beams: engine.Model
    block_bytes: int  # of one head's keys or values of 32 positions


def load_graphs(
    checkpoint: Checkpoint, device: Device, progress: Progress = silent, *, every_layer: bool = False
) -> LoadedGraphs:
    """Compile a checkpoint's graphs of MAX's own operations, or read them from the cache, and give them its weights.

    every_layer: as in `build_graphs`. Raises CheckpointError where a weight is NaN or infinite.
    """
    # Imported only here, because max.nn takes a third of a second and the fused graphs do without.
    from max_whisper.models.whisper.graphs.whisper import weights_for_graphs

    checkpoint.check_finite()
    with compile_session(device) as session:
        compiled, _ = compile_graphs(session, device, graph_recipe(checkpoint, device, every_layer), progress)
        progress(Step("loading the model"))
        weights = weights_for_graphs(checkpoint.weights, checkpoint.dims, _stored(checkpoint, device))
        return LoadedGraphs(**session.init_all(compiled, weights_registry=weights), weights=weights)


def load_fused_graphs(
    checkpoint: Checkpoint,
    device: Device,
    compute_type: str,
    progress: Progress = silent,
    instructions: str | None = None,
) -> LoadedFusedGraphs:
    """Compile a checkpoint's fused graphs for this CPU, or read them from the cache, and give them its weights.

    instructions: one of `graphs.fused.INSTRUCTIONS`; by default the best that this CPU has.
    Raises OptionError where there is no operation for the device or for the model's sizes, CheckpointError where a
    weight is NaN or infinite.
    """
    chosen = instructions or cpu_instructions()
    recipe = fused_recipe(checkpoint, device, compute_type, chosen)
    packing = _packing(checkpoint, compute_type, chosen)
    weights = packed_weights(packed_file(checkpoint, packing), progress)  # first, since it finds faulty weights
    with compile_session(device) as session:
        compiled, _ = compile_graphs(session, device, recipe, progress)
        progress(Step("loading the model"))
        models = session.init_all(compiled, weights_registry=weights)
        return LoadedFusedGraphs(**models, weights=weights, block_bytes=fused.block_bytes(packing))


def load_alignment(
    checkpoint: Checkpoint,
    device: Device,
    weights: Mapping[str, np.ndarray] | None,
    heads: Sequence[tuple[int, int]],
    n_text: int,
    progress: Progress = silent,
) -> engine.Model:
    """Compile the graph of `build_alignment`, or read it from the cache, and give it the checkpoint's weights.

    weights: those of `load_graphs`, where it has been called. heads, n_text: as in `build_alignment`.
    """
    from max_whisper.models.whisper.graphs.alignment import build_alignment
    from max_whisper.models.whisper.graphs.whisper import weights_for_graphs

    dims, stored = checkpoint.dims, _stored(checkpoint, device)

    def build() -> Graph:
        return build_alignment(dims, device.reference, stored=stored, heads=heads, n_text=n_text)

    recipe = GraphRecipe(
        label=f"{_label(dims)}-{stored.name}",
        builder=_GRAPHS / "alignment.py",
        parameters={"dims": dims.to_dict(), "stored": stored.name, "heads": list(heads), "n_text": n_text},
        build=build,
        purpose="the alignment of words",
        duration="about a minute",
    )
    with compile_session(device) as session:
        compiled, _ = compile_graphs(session, device, recipe, progress)
        if weights is None:
            weights = weights_for_graphs(checkpoint.weights, dims, stored, "decoder.")
        return session.init(compiled, weights_registry=weights)


def compile_ahead(checkpoint: Checkpoint, device: Device, compute_type: str, progress: Progress = silent) -> Path:
    """Compile the graphs with which a checkpoint is transcribed, unless they are in the cache; their file there.

    Weights are not read. Raises OptionError where the graphs of that type cannot compute the model.
    """
    if compute_type == "float32" and not has_fused_graphs(checkpoint.dims, device):
        recipe = graph_recipe(checkpoint, device, every_layer=False)
    else:
        recipe = fused_recipe(checkpoint, device, compute_type, cpu_instructions())
    with compile_session(device) as session:
        return compile_graphs(session, device, recipe, progress)[1]


def has_fused_graphs(dims: ModelDimensions, device: Device) -> bool:
    """Whether there are fused operations for a model of these sizes on a device."""
    return device.name == "cpu" and fused.fits(dims)


def graph_recipe(checkpoint: Checkpoint, device: Device, every_layer: bool) -> GraphRecipe:
    """The graphs of MAX's own operations."""
    dims, stored = checkpoint.dims, _stored(checkpoint, device)

    def build() -> GraphModule:
        from max_whisper.models.whisper.graphs.whisper import build_graphs

        return build_graphs(dims, device.reference, stored=stored, every_layer=every_layer)

    return GraphRecipe(
        label=f"{_label(dims)}-{stored.name}",
        builder=_GRAPHS / "whisper.py",
        parameters={"dims": dims.to_dict(), "stored": stored.name, "every_layer": every_layer},
        build=build,
        purpose="the encoder and the decoder",
        duration="about a minute",
    )


def fused_recipe(checkpoint: Checkpoint, device: Device, compute_type: str, instructions: str) -> GraphRecipe:
    """The graphs of our operations for CPUs. Raises OptionError where they cannot compute the model."""
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

    return GraphRecipe(
        label=f"{_label(dims)}-{packing.tokens}",
        builder=_GRAPHS / "fused.py",
        parameters={"dims": dims.to_dict(), "packing": asdict(packing), "instructions": instructions},
        build=build,
        purpose="the encoder and the decoder",
        duration="about a minute",
    )


def _label(dims: ModelDimensions) -> str:
    return f"{dims.n_audio_state}x{dims.n_audio_layer}x{dims.n_text_layer}"


def _packing(checkpoint: Checkpoint, compute_type: str, instructions: str) -> Packing:
    return Packing.of(compute_type, is_float16=checkpoint.is_float16, has_amx=instructions == "amx")


def packed_file(checkpoint: Checkpoint, packing: Packing) -> PackedFile:
    """How the checkpoint's weights are packed for the fused operations."""
    return PackedFile(
        label=f"{_label(checkpoint.dims)}-{packing.windows}",
        model=checkpoint.name,
        source=checkpoint.path,
        files=checkpoint.files,
        packer=_GRAPHS / "packing.py",
        parameters={"dims": checkpoint.dims.to_dict(), "packing": asdict(packing)},
        weights=checkpoint.weights,
        check=checkpoint.check_finite,
        arrays=packed_arrays(checkpoint.dims, packing),
        purpose=packing.tokens,
    )


def _stored(checkpoint: Checkpoint, device: Device) -> DType:
    """How the weights that every token reads are kept: our kernel that widens float16 as it reads is for CPUs."""
    return DType.float16 if checkpoint.is_float16 and device.name == "cpu" else DType.float32
