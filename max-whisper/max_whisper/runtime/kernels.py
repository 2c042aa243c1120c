"""The Mojo operations that graphs call."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from max.graph import KernelLibrary
from max.graph.graph import default_custom_extensions_scope

KERNELS = Path(__file__).parents[1] / "kernels"
"""The folder of Mojo operations that the graphs call."""


@cache
def packaged_kernels() -> Path:
    """The operations as one package, made once in a process; a graph that is given the folder makes one of its own."""
    library = KernelLibrary()
    library.load_paths([KERNELS])
    (path,) = library.library_paths()
    return path


@contextmanager
def calling_kernels() -> Iterator[None]:
    """Graphs and subgraphs that are traced inside may call the operations; also a decorator."""
    with default_custom_extensions_scope(packaged_kernels()):
        yield
