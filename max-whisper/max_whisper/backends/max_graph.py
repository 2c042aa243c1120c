"""The model of MAX's own operations: on every device, and layer by layer for `max-whisper parity`."""

import math
from collections.abc import Sequence

import numpy as np
from max import driver
from max.dtype import DType

from max_whisper.backends.graph_model import GraphDecoderState, GraphFeatures, GraphModel, padding_of, window_rows
from max_whisper.backends.word_alignment import HIDDEN, WordAligner, on_device
from max_whisper.models.whisper.checkpoint import Checkpoint
from max_whisper.models.whisper.compiled import load_graphs
from max_whisper.progress import Progress, silent
from max_whisper.runtime.devices import Device


class MaxGraphModel(GraphModel):
    """A SpeechModel of MAX's own operations in float32."""

    def __init__(
        self, checkpoint: Checkpoint, device: Device, progress: Progress = silent, *, every_layer: bool = False
    ) -> None:
        """Compile the graphs, or read them from the cache, and give them the checkpoint's weights.

        every_layer: compile what `layers` needs.
        """
        graphs = load_graphs(checkpoint, device, progress, every_layer=every_layer)
        aligner = WordAligner(checkpoint, device, progress, graphs.weights)
        super().__init__(checkpoint.dims, device, "float32", graphs, aligner)
        self._storage: list[driver.Buffer] = []  # one for each cache, as large as the largest needed so far

    def start(
        self, features: GraphFeatures, *, group: int = 1, padding: Sequence[int] | None = None
    ) -> "MaxGraphDecoderState":
        """A decoder with an empty KV cache; see GraphModel."""
        padding = padding_of(features, padding)
        cross = self._cross(features)
        caches = self._caches(features.batch * group, self.dims.n_text_ctx + max(padding))
        return MaxGraphDecoderState(self._decoder, self._device, self.dims, caches, cross, group, padding)

    def _caches(self, rows: int, context: int) -> list[driver.Buffer]:
        """A key and a value cache [rows, n_text_head, context, head width] for each layer, of unknown content."""
        dims = self.dims
        shape = (rows, dims.n_text_head, context, dims.n_text_state // dims.n_text_head)
        size = math.prod(shape)
        if not self._storage or self._storage[0].num_elements < size:
            self._storage = []  # the old is freed before the new is there
            self._storage = [driver.Buffer(DType.float32, [size], self._device) for _ in range(2 * dims.n_text_layer)]
        return [storage[:size].view(DType.float32, shape) for storage in self._storage]

    def layers(self, log_mel: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """What every layer gives for windows and the tokens int64 [batch, n] after them, by name in the checkpoint."""
        audio = self._encoder.execute(on_device(log_mel, self._device))
        text = self.start(self.encode(log_mel)).layers(tokens, range(tokens.shape[1]))
        names = ["conv1", "conv2", *(f"blocks.{i}" for i in range(self.dims.n_audio_layer)), "ln_post"]
        values = dict(zip((f"encoder.{name}" for name in names), audio, strict=True))
        names = [*(f"blocks.{i}" for i in range(self.dims.n_text_layer)), "ln", "logits"]
        values |= dict(zip((f"decoder.{name}" for name in names), text, strict=True))
        return {name: value.to_numpy() for name, value in values.items()}


class MaxGraphDecoderState(GraphDecoderState):
    """The decoder graph of MAX's own operations with a key and a value cache for each layer."""

    def _step(self, tokens: np.ndarray, positions: Sequence[int]) -> driver.Buffer:
        return self.layers(tokens, positions)[-1]

    def layers(self, tokens: np.ndarray, positions: Sequence[int]) -> list[driver.Buffer]:
        """As `advance`, with what every layer gives if the graph was compiled for it; the logits are the last.

        tokens: int64 [rows, n], in the order of the caches' rows. All values are [windows, group, ...].
        """
        start, stop = self._n_tokens, self._n_tokens + tokens.shape[1]
        position_ids = self._position_ids(start, stop)
        shape = (-1, self._group, stop - start)
        values = self._decoder.execute(
            on_device(tokens.reshape(shape), self._device),
            on_device(position_ids.reshape(shape), self._device),
            np.array([start], dtype=np.int64),
            on_device(self._mask(start, stop), self._device),
            on_device(np.array(positions, dtype=np.int64), self._device),
            *self._caches,
            *self._cross,
        )
        self._n_tokens = stop
        return values

    def _mask(self, start: int, stop: int) -> np.ndarray:
        """What keeps tokens start to stop from those after them, and from padding: float32 [rows, 1, length, stop].

        Padding looks at itself alone.
        """
        shape = (len(self._padding), 1, stop - start, stop)
        if stop - start == 1 and not self._longest_padding:
            return np.zeros(shape, dtype=np.float32)
        queries, keys = np.arange(start, stop)[:, None], np.arange(stop)
        is_seen = (keys <= queries) & (keys >= self._padding[:, None, None]) | (keys == queries)
        return np.where(is_seen, np.float32(0), np.float32(HIDDEN)).reshape(shape)

    def _copy_row(self, source: int, target: int) -> None:
        for cache in self._caches:
            if cache.is_host:
                array = cache.to_numpy()  # where it lies
                array[target, :, : self._n_tokens] = array[source, :, : self._n_tokens]
            else:
                window_rows(cache, target, target + 1).inplace_copy_from(window_rows(cache, source, source + 1))
