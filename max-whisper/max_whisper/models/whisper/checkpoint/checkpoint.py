"""What every published form of a Whisper model becomes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from max_whisper.models.files.tensors import Weights
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.runtime.file_digests import SeenFile


@dataclass(frozen=True)
class Checkpoint:
    """A model's dimensions and its weights under openai-whisper's names."""

    name: str  # the name it was asked for by, or the file's or folder's
    path: Path  # the file or folder that the weights are read from
    files: tuple[SeenFile, ...]  # those that hold weights
    dims: ModelDimensions
    weights: Weights  # by name: float32, C-contiguous; the names and order of `expected_shapes(dims)`
    alignment_heads: (
        np.ndarray | None
    )  # int64 [n, 2]: (layer, head) of the decoder's time-aligned cross-attention heads

    @property
    def is_float16(self) -> bool:
        """Whether all weights are stored in float16, as published ones are."""
        return self.weights.is_float16

    def check_finite(self) -> None:
        """Raise CheckpointError, naming the tensor, where a weight is NaN or infinite. All weights are read for it."""
        self.weights.check_finite(str(self.path))
