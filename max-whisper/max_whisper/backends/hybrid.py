"""Half and half: the encoder on MAX Graph, the decoder on PyTorch. A fault shows on which side it is."""

from collections.abc import Sequence

import numpy as np
import torch

from max_whisper.audio.log_mel import Log10Mel
from max_whisper.backends.graph_model import GraphModel
from max_whisper.backends.interface import CrossAttention
from max_whisper.backends.reference import TorchDecoderState, TorchModel, reference_model, select_torch_device
from max_whisper.models.whisper.checkpoint import Checkpoint
from max_whisper.runtime.devices import Device


class HybridModel:
    """A SpeechModel with MAX's encoder and openai-whisper's decoder."""

    def __init__(self, checkpoint: Checkpoint, device: Device, encoder: GraphModel) -> None:
        """encoder: the checkpoint on MAX. Raises DeviceError where PyTorch cannot use the device."""
        self.dims = checkpoint.dims
        self.turns = encoder.turns
        self._device = device.driver
        self._decoder = TorchModel(reference_model(checkpoint, select_torch_device(device.name)))
        self._encoder = encoder
        self.log10_mel: Log10Mel = encoder.log10_mel

    def encode(self, log_mel: np.ndarray) -> torch.Tensor:
        """Encode log-mel windows, float32 [batch, n_mels, 3000] -> float32 [batch, n_audio_ctx, n_audio_state]."""
        features = self._encoder.encode(log_mel)
        self._device.synchronize()  # PyTorch does not wait for MAX's queue
        return torch.from_dlpack(features.features)

    def select(self, features: torch.Tensor, windows: Sequence[int]) -> torch.Tensor:
        """The features of some windows of a batch."""
        return self._decoder.select(features, windows)

    def join(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """The windows of several batches as one batch."""
        return self._decoder.join(features)

    def start(
        self, features: torch.Tensor, *, group: int = 1, padding: Sequence[int] | None = None
    ) -> TorchDecoderState:
        """A decoder over features with an empty KV cache; see SpeechModel."""
        return self._decoder.start(features, group=group, padding=padding)

    def cross_attention(self, features: torch.Tensor, tokens: np.ndarray, n_text: int) -> CrossAttention:
        """How the alignment heads look at the audio; see SpeechModel."""
        return self._decoder.cross_attention(features, tokens, n_text)

    def synchronize(self, features: torch.Tensor) -> None:
        """Wait until the features are there."""
        self._device.synchronize()
