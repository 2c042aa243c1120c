"""What decoding asks of whoever computes features and logits."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from max_whisper.dimensions import ModelDimensions

# The encoder's output for a batch of windows. Decoding hands it on and never looks inside, so that it can stay on the
# device, with the cross-attention keys and values beside it.
AudioFeatures: TypeAlias = Any


class DecoderState(Protocol):
    """A decoder with its KV cache over one batch of windows."""

    def advance(self, tokens: np.ndarray, positions: Sequence[int]) -> np.ndarray:
        """Append tokens to the cache and return the logits that follow some of them.

        tokens: int64 [batch, n], the next tokens of each row.
        positions: indices into the n tokens, ascending.
        Returns float32 [batch, len(positions), n_vocab]: the logits after tokens[:, p] for each p. The caller may
        change the array, until the next call.
        """
        ...


class SpeechModel(Protocol):
    """A Whisper model: log-mel windows to features, and tokens to logits."""

    @property
    def dims(self) -> ModelDimensions:
        """The sizes of the model."""
        ...

    def encode(self, log_mel: np.ndarray) -> AudioFeatures:
        """Features of windows: float32 [batch, n_mels, 3000], C-contiguous, to a handle that `start` takes."""
        ...

    def start(self, features: AudioFeatures) -> DecoderState:
        """A decoder over these features with an empty KV cache; the same features may be started again."""
        ...
