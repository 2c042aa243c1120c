"""Published Whisper checkpoints: any of their forms becomes the same dimensions and the same named weights."""

from max_whisper.checkpoint.checkpoint import Checkpoint
from max_whisper.checkpoint.load import available_models, load_checkpoint, load_outline
from max_whisper.checkpoint.native import write_native
from max_whisper.checkpoint.shapes import expected_shapes

__all__ = ["Checkpoint", "available_models", "expected_shapes", "load_checkpoint", "load_outline", "write_native"]
