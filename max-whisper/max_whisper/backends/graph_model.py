"""Features, caches and hypotheses in device buffers: the base of both models that run on MAX's graphs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from max import driver, engine

from max_whisper.audio.log_mel import Log10Mel
from max_whisper.backends.interface import CrossAttention
from max_whisper.backends.log_mel import CompiledLog10Mel
from max_whisper.backends.word_alignment import WordAligner, on_device
from max_whisper.models.whisper.compiled import LoadedGraphs
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.runtime.devices import Device
from max_whisper.runtime.turns import turns_at


@dataclass
class GraphFeatures:
    """A batch of encoded windows, on the device."""

    batch: int
    features: driver.Buffer  # float32 [batch, n_audio_ctx, n_audio_state]
    cross: list[driver.Buffer] | None = (
        None  # cross-attention's keys and values of all decoder layers, when first needed
    )


class GraphModel(ABC):
    """The half of a SpeechModel that every kind of graphs shares: windows to features, and features in batches."""

    def __init__(
        self, dims: ModelDimensions, device: Device, compute_type: str, graphs: LoadedGraphs, aligner: WordAligner
    ) -> None:
        self.dims = dims
        self.compute_type = compute_type  # of the products: `float32`, `bfloat16` or `int8`
        self.log10_mel: Log10Mel = CompiledLog10Mel(graphs.log10_mel)
        self.turns = turns_at(device.name)
        self._device = device.driver
        self._encoder = graphs.encoder
        self._cross_attention = graphs.cross_attention
        self._decoder = graphs.decoder
        self._aligner = aligner

    def encode(self, log_mel: np.ndarray) -> GraphFeatures:
        """Encode log-mel windows, float32 [batch, n_mels, 3000]."""
        *_, features = self._encoder.execute(on_device(log_mel, self._device))
        return GraphFeatures(len(log_mel), features)

    def select(self, features: GraphFeatures, windows: Sequence[int]) -> GraphFeatures:
        """Some windows of a batch, in the order given. Windows that follow each other are not copied."""
        if list(windows) == list(range(features.batch)):
            return features
        first, last = windows[0], windows[-1]
        if list(windows) == list(range(first, last + 1)):
            return _each_buffer([features], lambda tensors: window_rows(tensors[0], first, last + 1))
        return _each_buffer(
            [features],
            lambda tensors: _concatenated([window_rows(tensors[0], i, i + 1) for i in windows], self._device),
        )

    def join(self, features: Sequence[GraphFeatures]) -> GraphFeatures:
        """The windows of several batches as one batch."""
        if len(features) == 1:
            return features[0]
        return _each_buffer(features, lambda tensors: _concatenated(tensors, self._device))

    @abstractmethod
    def start(
        self, features: GraphFeatures, *, group: int = 1, padding: Sequence[int] | None = None
    ) -> "GraphDecoderState":
        """A decoder over `group` hypotheses for each encoded window, with an empty KV cache; see SpeechModel.

        There is one KV cache, so a state is valid until the next one is started.
        """

    def cross_attention(self, features: GraphFeatures, tokens: np.ndarray, n_text: int) -> CrossAttention:
        """How the tokens int64 [batch, n] attend to the audio of their windows; see WordAligner."""
        return self._aligner.cross_attention(features.features, tokens, n_text)

    def synchronize(self, features: GraphFeatures) -> None:
        """Wait until the features are there."""
        self._device.synchronize()

    def _cross(self, features: GraphFeatures) -> list[driver.Buffer]:
        if features.cross is None:
            features.cross = self._cross_attention.execute(features.features)
        return features.cross


def padding_of(features: GraphFeatures, padding: Sequence[int] | None) -> Sequence[int]:
    """The padding of each window, 0 where none is given. Raises ValueError for that of another number of windows."""
    padding = padding or [0] * features.batch
    if len(padding) != features.batch:
        raise ValueError(f"padding for {len(padding)} windows of {features.batch}")
    return padding


def _each_buffer(
    batches: Sequence[GraphFeatures], combine: Callable[[list[driver.Buffer]], driver.Buffer]
) -> GraphFeatures:
    """Batches combined, buffer by buffer; with the keys and values of cross-attention where all have theirs."""
    features = combine([batch.features for batch in batches])
    cross = [batch.cross for batch in batches if batch.cross is not None]
    if len(cross) < len(batches):
        return GraphFeatures(features.shape[0], features)
    return GraphFeatures(features.shape[0], features, [combine(list(tensors)) for tensors in zip(*cross, strict=True)])


def window_rows(tensor: driver.Buffer, start: int, stop: int) -> driver.Buffer:
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
        window_rows(whole, start, stop).inplace_copy_from(tensor)
        start = stop
    device.synchronize()  # on a CPU, MAX 26.7 copies on another thread, and a graph would not wait for it
    return whole


class GraphDecoderState(ABC):
    """A decoder graph with its caches: how many tokens they hold, and which row holds each hypothesis."""

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
        """caches, cross: keys and values of self-attention and of cross-attention, as the decoder graph takes them."""
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
        logits = self._step(by_row, positions).to_numpy()
        logits = logits.reshape(len(tokens), *logits.shape[2:])
        return logits if self._is_in_order() else logits[self._rows]

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

    @abstractmethod
    def _step(self, tokens: np.ndarray, positions: Sequence[int]) -> driver.Buffer:
        """The logits [windows, group, len(positions), n_vocab] after tokens int64 [rows, n], in the caches' order."""

    @abstractmethod
    def _copy_row(self, source: int, target: int) -> None:
        """Let a row of the caches hold what another one does."""

    def _position_ids(self, start: int, stop: int) -> np.ndarray:
        """The positions of tokens start to stop in their texts: int64 [rows, stop - start].

        Raises ValueError where they do not fit.
        """
        context = self._dims.n_text_ctx
        if stop - self._longest_padding > context:
            raise ValueError(f"{stop - self._longest_padding} tokens do not fit into a context of {context}")
        return (np.arange(start, stop) - self._padding[:, None]).clip(0, context - 1)

    def _is_in_order(self) -> bool:
        return bool((self._rows[:-1] < self._rows[1:]).all())
