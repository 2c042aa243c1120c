"""Graphs of any model family, compiled once for each machine."""

import hashlib
import os
import platform
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from max import driver, engine
from max.graph import Graph
from max.graph import Module as GraphModule

from max_whisper.progress import Progress, silent
from max_whisper.runtime.cache_entries import EntryRecipe, cached
from max_whisper.runtime.cache_folder import cache_dir
from max_whisper.runtime.devices import Device
from max_whisper.runtime.graph_sources import graph_sources
from max_whisper.runtime.kernels import KERNELS, packaged_kernels

_one_session = threading.RLock()  # the environment is the process', and a compile takes all cores


@dataclass(frozen=True)
class GraphRecipe:
    """Graphs that can be traced, and all that their compiled code depends on."""

    label: str  # begins the name of the file in the cache: `384x4x4-float16`
    builder: Path  # the Python module that traces the graphs
    parameters: Mapping[str, object]  # what `build` was given, as JSON can hold it
    build: Callable[[], Graph | GraphModule]  # traces the graphs
    purpose: str  # for a person: `the encoder and the decoder`
    duration: str  # of a compile, for a person: `about a minute`


def compiled_dir() -> Path:
    """The folder of compiled graphs; it need not exist."""
    return cache_dir() / "compiled"


@contextmanager
def compile_session(device: Device) -> Iterator[engine.InferenceSession]:
    """A session of MAX on a device, one at a time. The environment is as before when the block ends."""
    with _one_session, _environment_restored():
        yield engine.InferenceSession(devices=[device.driver])


def compile_graphs(
    session: engine.InferenceSession, device: Device, recipe: GraphRecipe, progress: Progress = silent
) -> tuple[engine.CompiledModel, Path]:
    """Graphs from the cache, or traced, compiled and kept there; and their file. They have no weights yet.

    Raises CheckpointError where the cache cannot be written to.
    """
    entry = compiled_entry(device, recipe)

    def make(path: Path) -> engine.CompiledModel:
        compiled = session.compile(recipe.build(), custom_extensions=[packaged_kernels()])
        try:
            compiled.export_mef(path)
        except ValueError as error:  # how MAX reports a full disk
            raise OSError(str(error)) from None
        return compiled

    purpose = f"compiling {recipe.purpose} for this {device.name.upper()}"
    return cached(entry, make, _read, progress, purpose, f"once, {recipe.duration}"), entry.path


def compiled_entry(device: Device, recipe: GraphRecipe) -> EntryRecipe:
    """The entry of the cache that holds compiled graphs: it changes with all that their code depends on."""
    source = hashlib.sha256()
    for path in graph_sources(recipe.builder, KERNELS):
        source.update(path.name.encode() + b"\0" + path.read_bytes())
    origin = {
        "builder": recipe.builder.name,
        "device": [device.name, device.architecture],
        "parameters": dict(recipe.parameters),
        "system": [platform.system(), platform.machine()],
    }
    return EntryRecipe(
        parent=compiled_dir(),
        label=f"{recipe.label}-{device.name}",
        file="graphs.mef",
        origin=origin,
        content={**origin, "max": driver.__version__, "source": source.hexdigest()},
        is_checked=True,  # it is machine code, of 2 MB
    )


def _read(path: Path) -> engine.CompiledModel | None:
    """Compiled graphs from the cache; None where they are damaged."""
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
