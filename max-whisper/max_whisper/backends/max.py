"""The product: encoder and decoder on MAX Graph."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from max import driver, engine
from max.dtype import DType

from max_whisper.backends.aligner import HIDDEN, Aligner, on_device
from max_whisper.backends.log_mel import CompiledLog10Mel
from max_whisper.checkpoint import Checkpoint
from max_whisper.decoding.model import CrossAttention
from max_whisper.dimensions import ModelDimensions
from max_whisper.log_mel import Log10Mel
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

    compute_type = "float32"

    def __init__(
        self, checkpoint: Checkpoint, device: Device, progress: Progress = silent, *, every_layer: bool = False
    ) -> None:
        """Compile the graphs, or read them from the cache, and give them the checkpoint's weights.

        every_layer: compile what `layers` needs.
        """
        self.dims: ModelDimensions = checkpoint.dims
        self._device = device.driver
        self._graphs = load_graphs(checkpoint, device, progress, every_layer=every_layer)
        self._aligner = Aligner(checkpoint, device, progress, self._graphs.weights)
        self.log10_mel: Log10Mel = CompiledLog10Mel(self._graphs.log10_mel)
        self._storage: list[driver.Buffer] = []  # one for each cache, as large as the largest needed so far

    def encode(self, log_mel: np.ndarray) -> MaxFeatures:
        """Encode log-mel windows, float32 [batch, n_mels, 3000]."""
        *_, features = self._graphs.encoder.execute(on_device(log_mel, self._device))
        return MaxFeatures(len(log_mel), features)

    def select(self, features: MaxFeatures, windows: Sequence[int]) -> MaxFeatures:
        """Some windows of a batch, in the order given. Windows that follow each other are not copied."""
        if list(windows) == list(range(features.batch)):
            return features
        first, last = windows[0], windows[-1]
        if list(windows) == list(range(first, last + 1)):
            return _each_buffer([features], lambda tensors: _rows(tensors[0], first, last + 1))
        return _each_buffer(
            [features], lambda tensors: _concatenated([_rows(tensors[0], i, i + 1) for i in windows], self._device)
        )

    def join(self, features: Sequence[MaxFeatures]) -> MaxFeatures:
        """The windows of several batches as one batch."""
        if len(features) == 1:
            return features[0]
        return _each_buffer(features, lambda tensors: _concatenated(tensors, self._device))

    def start(
        self, features: MaxFeatures, *, group: int = 1, padding: Sequence[int] | None = None
    ) -> "MaxDecoderState":
        """A decoder over `group` hypotheses for each encoded window, with an empty KV cache.

        padding: for each window, how many of the first tokens stand for nothing.
        There is one KV cache, so a state is valid until the next one is started.
        """
        cross = self._cross(features)
        padding = self._padding_of(features, padding)
        caches = self._caches(features.batch * group, self.dims.n_text_ctx + max(padding))
        return MaxDecoderState(self._graphs.decoder, self._device, self.dims, caches, cross, group, padding)

    def _padding_of(self, features: MaxFeatures, padding: Sequence[int] | None) -> Sequence[int]:
        padding = padding or [0] * features.batch
        if len(padding) != features.batch:
            raise ValueError(f"padding for {len(padding)} windows of {features.batch}")
        return padding

    def cross_attention(self, features: MaxFeatures, tokens: np.ndarray, n_text: int) -> CrossAttention:
        """How the tokens int64 [batch, n] look at the audio of their windows; see Aligner."""
        return self._aligner.cross_attention(features.features, tokens, n_text)

    def _cross(self, features: MaxFeatures) -> list[driver.Buffer]:
        if features.cross is None:
            features.cross = self._graphs.cross_attention.execute(features.features)
        return features.cross

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
        audio = self._graphs.encoder.execute(on_device(log_mel, self._device))
        text = self.start(self.encode(log_mel)).layers(tokens, range(tokens.shape[1]))
        names = ["conv1", "conv2", *(f"blocks.{i}" for i in range(self.dims.n_audio_layer)), "ln_post"]
        values = dict(zip((f"encoder.{name}" for name in names), audio, strict=True))
        names = [*(f"blocks.{i}" for i in range(self.dims.n_text_layer)), "ln", "logits"]
        values |= dict(zip((f"decoder.{name}" for name in names), text, strict=True))
        return {name: value.to_numpy() for name, value in values.items()}

    def synchronize(self, features: MaxFeatures) -> None:
        """Wait until the features are there."""
        self._device.synchronize()


def _each_buffer(
    batches: Sequence[MaxFeatures], combine: Callable[[list[driver.Buffer]], driver.Buffer]
) -> MaxFeatures:
    """Batches combined, buffer by buffer; with the keys and values of cross-attention where all have theirs."""
    features = combine([batch.features for batch in batches])
    cross = [batch.cross for batch in batches if batch.cross is not None]
    if len(cross) < len(batches):
        return MaxFeatures(features.shape[0], features)
    return MaxFeatures(features.shape[0], features, [combine(list(tensors)) for tensors in zip(*cross, strict=True)])


def _rows(tensor: driver.Buffer, start: int, stop: int) -> driver.Buffer:
    """Windows of a tensor, where they lie."""
    all_of_it = [slice(None)] * (tensor.rank - 1)
    return tensor[[slice(start, stop), *all_of_it]]


def _concatenated(tensors: Sequence[driver.Buffer], device: driver.Device) -> driver.Buffer:
    """Copies of tensors, one after the other, in one."""
    shape = (sum(tensor.shape[0] for tensor in tensors), *tensors[0].shape[1:])
    whole = driver.Buffer(tensors[0].dtype, shape, device)
    start = 0
    for tensor in tensors:
        stop = start + tensor.shape[0]
        _rows(whole, start, stop).inplace_copy_from(tensor)
        start = stop
    device.synchronize()  # on a CPU, MAX 26.7 copies on another thread, and a graph would not wait for it
    return whole


class MaxDecoderState:
    """The decoder graph with its caches and how many tokens they hold."""

    def __init__(
        self,
        decoder: engine.Model,
        device: driver.Device,
        dims: ModelDimensions,
        caches: Sequence[driver.Buffer],
        cross: Sequence[driver.Buffer],
        group: int,
        padding: Sequence[int],
    ) -> None:
        self._decoder = decoder
        self._device = device
        self._dims = dims
        self._caches = caches
        self._cross = cross
        self._group = group
        self._padding = np.repeat(np.array(padding, dtype=np.int64), group)  # of each row
        self._longest_padding = int(self._padding.max())
        self._rows = np.arange(len(self._padding))  # which row of the caches holds each hypothesis
        self._n_tokens = 0  # that the caches hold, padding counted in

    def advance(self, tokens: np.ndarray, positions: Sequence[int]) -> np.ndarray:
        """Append tokens, int64 [rows, n], and return float32 logits [rows, len(positions), n_vocab].

        Raises ValueError where every row would hold more than n_text_ctx tokens. A row that does while another does not
        yet, because that one has more padding, gives logits of no meaning from there on.
        """
        by_row = np.empty_like(tokens)
        by_row[self._rows] = tokens
        logits = self.layers(by_row, positions)[-1].to_numpy()
        logits = logits.reshape(len(tokens), *logits.shape[2:])
        return logits if self._is_in_order() else logits[self._rows]

    def layers(self, tokens: np.ndarray, positions: Sequence[int]) -> list[driver.Buffer]:
        """As `advance`, with what every layer gives if the graph was compiled for it; the logits are the last.

        tokens: int64 [rows, n], in the order of the caches' rows. All values are [windows, group, ...].
        """
        start, stop = self._n_tokens, self._n_tokens + tokens.shape[1]
        places = self._places(start, stop)
        shape = (-1, self._group, stop - start)
        values = self._decoder.execute(
            on_device(tokens.reshape(shape), self._device),
            on_device(places.reshape(shape), self._device),
            np.array([start], dtype=np.int64),
            on_device(self._mask(start, stop), self._device),
            on_device(np.array(positions, dtype=np.int64), self._device),
            *self._caches,
            *self._cross,
        )
        self._n_tokens = stop
        return values

    def _places(self, start: int, stop: int) -> np.ndarray:
        """The positions of tokens start to stop in their texts: int64 [rows, stop - start].

        Raises ValueError where they do not fit.
        """
        context = self._dims.n_text_ctx
        if stop - self._longest_padding > context:
            raise ValueError(f"{stop - self._longest_padding} tokens do not fit into a context of {context}")
        return (np.arange(start, stop) - self._padding[:, None]).clip(0, context - 1)

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

    def reorder(self, sources: Sequence[int]) -> None:
        """Let row i go on from what row sources[i] holds; a source is a row of the same window.

        Of those that go on from one row, the first takes it over, and each other one takes a copy to a row from which
        nobody goes on. The copies are made on the device.
        """
        if any(source // self._group != row // self._group for row, source in enumerate(sources)):
            raise ValueError(f"reorder: a source of {list(sources)} is a row of another window")
        wanted = self._rows[list(sources)].tolist()
        # Both the hypotheses and the free rows are in the order of the windows, and each window has one for each copy.
        free = iter(sorted(set(range(len(wanted))) - set(wanted)))
        taken: set[int] = set()
        for hypothesis, source in enumerate(wanted):
            row = next(free) if source in taken else source
            if row != source:
                self._copy_row(source, row)
            taken.add(row)
            self._rows[hypothesis] = row

    def _copy_row(self, source: int, target: int) -> None:
        for cache in self._caches:
            if cache.is_host:
                array = cache.to_numpy()  # where it lies
                array[target, :, : self._n_tokens] = array[source, :, : self._n_tokens]
            else:
                _rows(cache, target, target + 1).inplace_copy_from(_rows(cache, source, source + 1))

    def _is_in_order(self) -> bool:
        return bool((self._rows[:-1] < self._rows[1:]).all())
