"""The reference: openai-whisper itself, unmodified, on PyTorch."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from max_whisper.audio.log_mel import Log10Mel, log10_mel
from max_whisper.backends.interface import CrossAttention
from max_whisper.errors import DeviceError, NonFiniteError
from max_whisper.models.whisper.checkpoint import Checkpoint
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.runtime.devices import check_device_name
from max_whisper.runtime.turns import turns_at

try:
    import torch
    import whisper
    from whisper.model import disable_sdpa
except ModuleNotFoundError as error:
    raise DeviceError(
        f"backends torch and hybrid need the Python module {error.name!r}: pip install 'max-whisper[reference]'"
    ) from error


def select_torch_device(name: str = "auto", threads: int = 0) -> torch.device:
    """PyTorch's device for `auto`, `cpu` or `gpu`. Raises DeviceError for a GPU where PyTorch has none.

    threads: of PyTorch from now on; 0 leaves them as they are.
    """
    check_device_name(name)
    if threads:
        torch.set_num_threads(threads)
    has_gpu = torch.cuda.is_available()  # NVIDIA's and AMD's
    if name == "gpu" and not has_gpu:
        raise DeviceError("no GPU that PyTorch can use was found on this machine; it has: cpu")
    return torch.device("cpu" if name == "cpu" or not has_gpu else "cuda")


def reference_model(checkpoint: Checkpoint, device: torch.device) -> whisper.Whisper:
    """openai-whisper's model with a checkpoint's weights, in float32.

    Raises CheckpointError where one is NaN or infinite.
    """
    checkpoint.check_finite()
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**checkpoint.dims.to_dict()))
    weights = {name: torch.from_numpy(weight) for name, weight in checkpoint.weights.items()}
    # Tensors share the arrays' memory instead of copying it.
    model.load_state_dict(weights, assign=True)
    if checkpoint.alignment_heads is not None:
        heads = torch.zeros(checkpoint.dims.n_text_layer, checkpoint.dims.n_text_head, dtype=torch.bool)
        heads[tuple(checkpoint.alignment_heads.T)] = True
        model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return model.eval().to(device)


class TorchModel:
    """openai-whisper's encoder and decoder as a SpeechModel."""

    def __init__(self, model: whisper.Whisper) -> None:
        self.dims = ModelDimensions(**asdict(model.dims))
        self.turns = turns_at("cpu" if model.device.type == "cpu" else "gpu")
        self.log10_mel: Log10Mel = log10_mel
        self._model = model
        model.decoder.register_forward_hook(_check_logits)
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def transcribe(self, audio: np.ndarray, *, seed: int, **options: Any) -> dict[str, Any]:
        """openai-whisper's own `transcribe` of a recording, float32 [n] at 16 kHz, in float32; its dictionary.

        seed: of PyTorch's random numbers. options: openai-whisper's keywords.
        """
        with self.turns:
            self.release()
            torch.manual_seed(seed)
            result: dict[str, Any] = whisper.transcribe(self._model, audio, fp16=False, verbose=None, **options)
            return result

    @torch.no_grad()
    def encode(self, log_mel: np.ndarray) -> torch.Tensor:
        """Encode log-mel windows, float32 [batch, n_mels, 3000] -> float32 [batch, n_audio_ctx, n_audio_state]."""
        return self._model.encoder(torch.from_numpy(log_mel).to(self._model.device))

    def select(self, features: torch.Tensor, windows: Sequence[int]) -> torch.Tensor:
        """The features of some windows of a batch."""
        return features[list(windows)]

    def join(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """The windows of several batches as one batch."""
        return torch.cat(list(features))

    def start(
        self, features: torch.Tensor, *, group: int = 1, padding: Sequence[int] | None = None
    ) -> "TorchDecoderState":
        """A decoder over features with an empty KV cache; see SpeechModel."""
        self.release()
        cache, self._hooks = self._model.install_kv_cache_hooks()
        return TorchDecoderState(self._model, features, cache, group, padding)

    @torch.no_grad()
    def cross_attention(self, features: torch.Tensor, tokens: np.ndarray, n_text: int) -> CrossAttention:
        """One pass over whole texts, heard through forward hooks as in openai-whisper's timing.py; see SpeechModel."""
        self.release()
        heard: dict[int, torch.Tensor] = {}

        def listen(layer: int) -> Any:
            return lambda module, inputs, outputs: heard.__setitem__(layer, outputs[-1])

        blocks = self._model.decoder.blocks
        hooks = [block.cross_attn.register_forward_hook(listen(i)) for i, block in enumerate(blocks)]
        given = torch.from_numpy(tokens).to(features.device)
        try:
            with disable_sdpa():
                logits = self._model.decoder(given, features)
        finally:
            for hook in hooks:
                hook.remove()
        scores = torch.stack(
            [heard[layer][:, head] for layer, head in self._model.alignment_heads.indices().T.tolist()]
        )
        following = given[:, 1:, None].clamp(max=n_text - 1)
        probabilities = logits[:, :-1, :n_text].softmax(dim=-1).gather(2, following)[..., 0]
        return CrossAttention(scores.transpose(0, 1).cpu().numpy(), probabilities.cpu().numpy())

    def release(self) -> None:
        """Take the last state's hooks off the model, so that openai-whisper's own decoding can put on its own."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def synchronize(self, features: torch.Tensor) -> None:
        """Wait until the features are there."""
        if features.is_cuda:
            torch.cuda.synchronize(features.device)


def _check_logits(decoder: torch.nn.Module, inputs: object, logits: torch.Tensor) -> None:
    """Raise NonFiniteError where the decoder's logits are NaN or infinite, and so their sum."""
    if not torch.isfinite(logits.sum()):
        raise NonFiniteError(
            "the model's logits are NaN or infinite for this recording, in float32; take another checkpoint, from"
            " before its training went astray"
        )


class TorchDecoderState:
    """openai-whisper's decoder with the cache that its hooks fill.

    That decoder has one length and one offset for all rows, so windows with different padding are passed through it one
    kind after the other, each with a cache of its own.
    """

    def __init__(
        self,
        model: whisper.Whisper,
        features: torch.Tensor,
        cache: dict[torch.nn.Module, torch.Tensor],
        group: int,
        padding: Sequence[int] | None,
    ) -> None:
        self._model = model
        self._cache = cache  # the hooks' own dictionary
        self._self_attention = [
            module for block in model.decoder.blocks for module in (block.attn.key, block.attn.value)
        ]
        paddings = np.repeat(padding or [0] * len(features), group)
        every_row = features.repeat_interleave(group, dim=0) if group > 1 else features
        self._parts = [
            _Part(rows, every_row if len(rows) == len(paddings) else every_row[rows], int(width))
            for width in np.unique(paddings)
            for rows in [np.flatnonzero(paddings == width)]
        ]

    @torch.no_grad()
    def advance(self, tokens: np.ndarray, positions: Sequence[int]) -> np.ndarray:
        """Append tokens, int64 [rows, n], and return float32 logits [rows, len(positions), n_vocab]."""
        logits = np.empty((len(tokens), len(positions), self._model.dims.n_vocab), np.float32)
        for part in self._parts:
            length = tokens.shape[1] - part.padding
            if part.held + length > self._model.dims.n_text_ctx and len(self._parts) > 1:
                logits[part.rows] = 0
                continue
            self._use(part)
            given = torch.from_numpy(tokens[part.rows, part.padding :]).to(part.features.device)
            answer = self._model.decoder(given, part.features, kv_cache=self._cache)
            logits[part.rows] = answer[:, [position - part.padding for position in positions]].float().cpu().numpy()
            part.padding = 0
            part.held += length
            self._keep(part)
        return logits

    def reorder(self, sources: Sequence[int]) -> None:
        """Let row i go on from what row sources[i] holds."""
        if list(sources) == list(range(len(sources))):
            return
        for part in self._parts:
            self._use(part)
            local = np.searchsorted(part.rows, np.asarray(sources)[part.rows])
            for module in self._self_attention:
                self._cache[module] = self._cache[module][local]
            self._keep(part)

    def _use(self, part: "_Part") -> None:
        if len(self._parts) > 1:
            self._cache.clear()
            self._cache.update(part.cache)

    def _keep(self, part: "_Part") -> None:
        if len(self._parts) > 1:
            part.cache = dict(self._cache)


class _Part:
    """The rows of one padding."""

    def __init__(self, rows: np.ndarray, features: torch.Tensor, padding: int) -> None:
        self.rows = rows  # ascending
        self.features = features  # [rows, n_audio_ctx, n_audio_state]
        self.padding = padding  # tokens that are still to be left out
        self.held = 0  # tokens in the cache
        self.cache: dict[torch.nn.Module, torch.Tensor] = {}
