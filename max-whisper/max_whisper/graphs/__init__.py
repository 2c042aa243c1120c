"""Everything that MAX compiles: Whisper's encoder and decoder as graphs.

`build_graphs`, `build_alignment` and `weights_for_graphs` are imported when they are first asked for: they need max.nn,
which takes a third of a second, and a start with the fused graphs does without.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from max_whisper.graphs.kernels import KERNELS, packaged_kernels

if TYPE_CHECKING:
    from max_whisper.graphs.alignment import build_alignment
    from max_whisper.graphs.whisper import build_graphs, weights_for_graphs

__all__ = ["KERNELS", "build_alignment", "build_graphs", "packaged_kernels", "weights_for_graphs"]


_MODULES = {"build_alignment": "alignment", "build_graphs": "whisper", "weights_for_graphs": "whisper"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
