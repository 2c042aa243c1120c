"""Everything that MAX compiles: Whisper's encoder and decoder as graphs."""

from max_whisper.graphs.alignment import build_alignment
from max_whisper.graphs.kernels import KERNELS, packaged_kernels
from max_whisper.graphs.whisper import build_graphs, weights_for_graphs

__all__ = ["KERNELS", "build_alignment", "build_graphs", "packaged_kernels", "weights_for_graphs"]
