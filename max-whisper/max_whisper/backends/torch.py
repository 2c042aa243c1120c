"""The reference: openai-whisper itself, unmodified, on PyTorch."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
import whisper

from max_whisper.checkpoint import Checkpoint
from max_whisper.dimensions import ModelDimensions
from max_whisper.errors import DeviceError
from max_whisper.options import TranscribeOptions
from max_whisper.results import Transcription


def select_torch_device(name: str = "auto") -> torch.device:
    """PyTorch's device for `auto`, `cpu` or `gpu`. Raises DeviceError for a GPU where PyTorch has none."""
    if name not in ("auto", "cpu", "gpu"):
        raise DeviceError(f"unknown device {name!r}: choose one of auto, cpu, gpu")
    has_gpu = torch.cuda.is_available()  # NVIDIA's and AMD's
    if name == "gpu" and not has_gpu:
        raise DeviceError("no GPU that PyTorch can use was found on this machine; it has: cpu")
    return torch.device("cpu" if name == "cpu" or not has_gpu else "cuda")


def reference_model(checkpoint: Checkpoint, device: torch.device) -> whisper.Whisper:
    """openai-whisper's model with a checkpoint's weights, in float32."""
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**checkpoint.dims.to_dict()))
    weights = {name: torch.from_numpy(weight) for name, weight in checkpoint.weights.items()}
    # Tensors share the arrays' memory instead of copying it.
    model.load_state_dict(weights, assign=True)
    if checkpoint.alignment_heads is not None:
        heads = torch.zeros(checkpoint.dims.n_text_layer, checkpoint.dims.n_text_head, dtype=torch.bool)
        heads[tuple(checkpoint.alignment_heads.T)] = True
        model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return model.eval().to(device)


def reference_transcription(model: whisper.Whisper, audio: np.ndarray, options: TranscribeOptions) -> Transcription:
    """What openai-whisper's own `transcribe` makes of a recording, float32 [n] at 16 kHz, in float32."""
    keywords = {**asdict(options), "suppress_tokens": list(options.suppressed)}
    return Transcription.from_dict(whisper.transcribe(model, audio, fp16=False, verbose=None, **keywords))


class TorchModel:
    """openai-whisper's encoder and decoder as a SpeechModel."""

    def __init__(self, model: whisper.Whisper) -> None:
        self.dims = ModelDimensions(**asdict(model.dims))
        self._model = model
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    @torch.no_grad()
    def encode(self, log_mel: np.ndarray) -> torch.Tensor:
        """Encode log-mel windows, float32 [batch, n_mels, 3000] -> float32 [batch, n_audio_ctx, n_audio_state]."""
        return self._model.encoder(torch.from_numpy(log_mel).to(self._model.device))

    def start(self, features: torch.Tensor) -> "TorchDecoderState":
        """A decoder over features with an empty KV cache; a state is valid until the next one is started."""
        self.release()
        cache, self._hooks = self._model.install_kv_cache_hooks()
        return TorchDecoderState(self._model, features, cache)

    def release(self) -> None:
        """Take the last state's hooks off the model, so that openai-whisper's own decoding can put on its own."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def synchronize(self, features: torch.Tensor) -> None:
        """Wait until the features are there."""
        if features.is_cuda:
            torch.cuda.synchronize(features.device)


class TorchDecoderState:
    """openai-whisper's decoder with the cache that its hooks fill."""

    def __init__(
        self, model: whisper.Whisper, features: torch.Tensor, cache: dict[torch.nn.Module, torch.Tensor]
    ) -> None:
        self._model = model
        self._features = features
        self._cache = cache

    @torch.no_grad()
    def advance(self, tokens: np.ndarray, positions: Sequence[int]) -> np.ndarray:
        """Append tokens, int64 [batch, n], and return float32 logits [batch, len(positions), n_vocab]."""
        device = self._features.device
        logits = self._model.decoder(torch.from_numpy(tokens).to(device), self._features, kv_cache=self._cache)
        return logits[:, list(positions)].float().cpu().numpy()
