"""The product on CPUs in 8-bit integers or bfloat16: fused operations in Mojo instead of MAX's own."""

from collections.abc import Sequence

import numpy as np
from max import driver, engine
from max.dtype import DType

from max_whisper.backends.max import MaxDecoderState, MaxFeatures, MaxModel
from max_whisper.checkpoint import Checkpoint
from max_whisper.decoding.hypothesis import Hypothesis
from max_whisper.decoding.model import CrossAttention
from max_whisper.decoding.on_device import ChoiceRules
from max_whisper.graphs.fused import BLOCK_BYTES, SIDE, head_bytes
from max_whisper.progress import Progress, silent
from max_whisper.runtime import Device, load_fused_graphs


class FusedModel(MaxModel):
    """A SpeechModel whose products are of `int8` or `bfloat16`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: Device,
        compute_type: str,
        progress: Progress = silent,
        *,
        instructions: str | None = None,
    ) -> None:
        """Compile the graphs and pack the weights, or read both from the cache.

        instructions: what products are made of, one of `graphs.fused.INSTRUCTIONS`; by default the best this CPU has.
        Raises OptionError for a model that the operations cannot compute.
        """
        self.dims = checkpoint.dims
        self.compute_type = compute_type
        self._checkpoint = checkpoint
        self._selected = device
        self._progress = progress
        self._device = device.driver
        self._graphs = load_fused_graphs(checkpoint, device, compute_type, progress, instructions)
        self._cache = driver.Buffer(DType.uint8, [0], device.driver)
        self._float32: MaxModel | None = None

    def start(
        self, features: MaxFeatures, *, group: int = 1, padding: Sequence[int] | None = None
    ) -> "FusedDecoderState":
        """A decoder over `group` hypotheses for each encoded window; see MaxModel."""
        padding = self._padding_of(features, padding)
        cross = self._cross(features)
        cache = self._cache_for(features.batch * group, self.dims.n_text_ctx + max(padding))
        state = FusedDecoderState(self._graphs.decoder, self._device, self.dims, [cache], cross, group, padding)
        state.greedy = self._graphs.greedy
        return state

    def _cache_for(self, rows: int, context: int) -> driver.Buffer:
        """Keys and values uint8 [rows, n_text_layer, bytes], of unknown content."""
        shape = (rows, self.dims.n_text_layer, self.dims.n_text_head * head_bytes(context))
        size = int(np.prod(shape))
        if self._cache.num_elements < size:
            self._cache = driver.Buffer(DType.uint8, [size], self._device)
        return self._cache[:size].view(DType.uint8, shape)

    def cross_attention(self, features: MaxFeatures, tokens: np.ndarray, n_text: int) -> CrossAttention:
        """How the tokens look at the audio; see SpeechModel. The float32 model tells, loaded when first asked."""
        if self._float32 is None:
            self._float32 = MaxModel(self._checkpoint, self._selected, self._progress)
        return self._float32.cross_attention(MaxFeatures(features.batch, features.features), tokens, n_text)


class FusedDecoderState(MaxDecoderState):
    """The fused decoder with its caches and how many tokens they hold; a GreedyDecoder."""

    greedy: engine.Model

    def layers(self, tokens: np.ndarray, positions: Sequence[int]) -> list[driver.Buffer]:
        """The logits [windows, group, len(positions), n_vocab] after tokens int64 [rows, n], in the caches' order."""
        start, stop = self._n_tokens, self._n_tokens + tokens.shape[1]
        places = self._places(start, stop)
        shape = (-1, self._group, stop - start)
        values = self._decoder.execute(
            self._caches[0],
            driver.Buffer.from_numpy(tokens.reshape(shape)),
            driver.Buffer.from_numpy(places.reshape(shape)),
            driver.Buffer.from_numpy(np.array([start], dtype=np.int64)),
            driver.Buffer.from_numpy(self._padding[:: self._group].copy()),
            driver.Buffer.from_numpy(np.array(positions, dtype=np.int64)),
            self._cross[0],
        )
        self._n_tokens = stop
        return values

    def finish_greedily(self, logits: np.ndarray, limits: Sequence[int], rules: ChoiceRules) -> list[Hypothesis]:
        """Each window's text to its end; see GreedyDecoder."""
        times = rules.timestamps
        latest = -1 if times is None or times.max_initial is None else times.begin + times.max_initial
        numbers = [rules.end, -1, -1, -1] if times is None else [rules.end, times.begin, times.no_timestamps, latest]
        arrays = [
            np.ascontiguousarray(logits),
            np.array([self._n_tokens]),
            self._padding,
            np.array(limits),
            rules.forbidden,
            rules.forbidden_first,
            np.array(numbers),
        ]
        results = self.greedy.execute(self._caches[0], *map(driver.Buffer.from_numpy, arrays), self._cross[0])
        texts = []
        for row, count, total in zip(*(result.to_numpy() for result in results), strict=True):
            tokens = row[:count].tolist()
            has_ended = tokens[-1:] == [rules.end]
            texts.append(Hypothesis(tokens[:-1] if has_ended else tokens, float(total), has_ended))
        return texts

    def _copy_row(self, source: int, target: int) -> None:
        array = self._caches[0].to_numpy()  # where it lies
        rows, layers, size = array.shape
        blocks = -(-self._n_tokens // SIDE)
        heads = self._dims.n_text_head
        parts = array.reshape(rows, layers, heads, 2, size // (2 * heads))
        keys = parts[:, :, :, 0, : blocks * BLOCK_BYTES]
        keys[target] = keys[source]
        # Values are in four quarters of the head's width, each with all positions.
        values = parts[:, :, :, 1].reshape(rows, layers, heads, 4, -1)[..., : blocks * BLOCK_BYTES // 4]
        values[target] = values[source]
