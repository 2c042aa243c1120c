"""Published Whisper checkpoints: any of their forms becomes the same dimensions and the same named weights."""

from max_whisper.models.whisper.checkpoint.checkpoint import Checkpoint
from max_whisper.models.whisper.checkpoint.load import (
    KnownModel,
    available_models,
    known_models,
    load_checkpoint,
    load_outline,
)
from max_whisper.models.whisper.checkpoint.native import write_native
from max_whisper.models.whisper.checkpoint.shapes import expected_shapes

__all__ = [
    "Checkpoint",
    "KnownModel",
    "available_models",
    "expected_shapes",
    "known_models",
    "load_checkpoint",
    "load_outline",
    "write_native",
]
