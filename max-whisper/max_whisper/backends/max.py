"""The product: encoder and decoder on MAX Graph."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from max import driver, engine
from max.dtype import DType

from max_whisper.checkpoint import Checkpoint
from max_whisper.dimensions import ModelDimensions
from max_whisper.progress import Progress, silent
from max_whisper.runtime import Device, load_graphs


@dataclass
class MaxFeatures:
    """A batch of encoded windows, on the device."""

    batch: int
    features: driver.Buffer  # float32 [batch, n_audio_ctx, n_audio_state]
    cross: list[driver.Buffer] | None = None  # each decoder layer's cross-attention key and value, when first needed


class MaxModel:
    """A SpeechModel whose features, keys, values and caches stay in device buffers."""

    def __init__(
        self, checkpoint: Checkpoint, device: Device, progress: Progress = silent, *, every_layer: bool = False
    ) -> None:
        """Compile the graphs, or read them from the cache, and give them the checkpoint's weights.

        every_layer: compile what `layers` needs.
        """
        self.dims: ModelDimensions = checkpoint.dims
        self._device = device.driver
        self._graphs = load_graphs(checkpoint, device, progress, every_layer=every_layer)
        self._caches: dict[int, list[driver.Buffer]] = {}

    def encode(self, log_mel: np.ndarray) -> MaxFeatures:
        """Encode log-mel windows, float32 [batch, n_mels, 3000]."""
        *_, features = self._graphs.encoder.execute(driver.Buffer.from_numpy(log_mel).to(self._device))
        return MaxFeatures(len(log_mel), features)

    def start(self, features: MaxFeatures) -> "MaxDecoderState":
        """A decoder over encoded windows with an empty KV cache.

        One cache is kept for each batch size, so a state is valid until the next one of its size is started.
        """
        if features.cross is None:
            features.cross = self._graphs.cross_attention.execute(features.features)
        if features.batch not in self._caches:
            dims = self.dims
            shape = (features.batch, dims.n_text_head, dims.n_text_ctx, dims.n_text_state // dims.n_text_head)
            self._caches[features.batch] = [
                driver.Buffer.zeros(shape, DType.float32, self._device) for _ in range(2 * dims.n_text_layer)
            ]
        return MaxDecoderState(self._graphs.decoder, self._device, self._caches[features.batch], features.cross)

    def layers(self, log_mel: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """What every layer gives for windows and the tokens int64 [batch, n] after them, by name in the checkpoint."""
        audio = self._graphs.encoder.execute(driver.Buffer.from_numpy(log_mel).to(self._device))
        text = self.start(self.encode(log_mel)).layers(tokens, range(tokens.shape[1]))
        names = ["conv1", "conv2", *(f"blocks.{i}" for i in range(self.dims.n_audio_layer)), "ln_post"]
        values = dict(zip((f"encoder.{name}" for name in names), audio, strict=True))
        names = [*(f"blocks.{i}" for i in range(self.dims.n_text_layer)), "ln", "logits"]
        values |= dict(zip((f"decoder.{name}" for name in names), text, strict=True))
        return {name: value.to_numpy() for name, value in values.items()}

    def synchronize(self, features: MaxFeatures) -> None:
        """Wait until the features are there."""
        self._device.synchronize()


class MaxDecoderState:
    """The decoder graph with its caches and how many tokens they hold."""

    def __init__(
        self,
        decoder: engine.Model,
        device: driver.Device,
        caches: Sequence[driver.Buffer],
        cross: Sequence[driver.Buffer],
    ) -> None:
        self._decoder = decoder
        self._device = device
        self._tensors = [*caches, *cross]
        self._n_tokens = 0

    def advance(self, tokens: np.ndarray, positions: Sequence[int]) -> np.ndarray:
        """Append tokens, int64 [batch, n], and return float32 logits [batch, len(positions), n_vocab]."""
        return self.layers(tokens, positions)[-1].to_numpy()

    def layers(self, tokens: np.ndarray, positions: Sequence[int]) -> list[driver.Buffer]:
        """As `advance`, with what every layer gives if the graph was compiled for it; the logits are the last."""
        start, stop = self._n_tokens, self._n_tokens + tokens.shape[1]
        context = self._tensors[0].shape[2]
        if stop > context:
            raise ValueError(f"{stop} tokens do not fit into a context of {context}")
        mask = np.triu(np.full((stop - start, stop), -np.inf, dtype=np.float32), k=start + 1)
        values = self._decoder.execute(
            self._on_device(tokens),
            np.array([start], dtype=np.int64),
            self._on_device(mask),
            self._on_device(np.array(positions, dtype=np.int64)),
            *self._tensors,
        )
        self._n_tokens = stop
        return values

    def _on_device(self, array: np.ndarray) -> driver.Buffer:
        return driver.Buffer.from_numpy(array).to(self._device)
