"""Graphs of any model family, compiled once for each machine."""

import hashlib
import json
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

from max_whisper.progress import Progress, Step, silent
from max_whisper.runtime.cache_folder import cache_dir
from max_whisper.runtime.devices import Device
from max_whisper.runtime.files import replacing_in_cache
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
    path = compiled_dir() / f"{cache_key(device, recipe)}.mef"
    compiled = _read(path)
    if compiled is None:
        # Makes sure that the result can be kept before it takes a minute to compute it.
        with replacing_in_cache(path) as unfinished:
            progress(Step(f"compiling {recipe.purpose} for this {device.name.upper()}, once, {recipe.duration}"))
            compiled = session.compile(recipe.build(), custom_extensions=[packaged_kernels()])
            compiled.export_mef(unfinished)
    return compiled, path


def cache_key(device: Device, recipe: GraphRecipe) -> str:
    """A readable name that changes with all that the compiled code depends on."""
    source = hashlib.sha256()
    for path in graph_sources(recipe.builder, KERNELS):
        source.update(path.name.encode() + b"\0" + path.read_bytes())
    parts = {
        "device": [device.name, device.architecture],
        "parameters": dict(recipe.parameters),
        "max": driver.__version__,
        "source": source.hexdigest(),
        "system": [platform.system(), platform.machine()],
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{recipe.label}-{device.name}-{digest[:16]}"


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
