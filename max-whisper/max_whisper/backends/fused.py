"""The product on CPUs: fused operations in Mojo instead of MAX's own, in float32, bfloat16 or 8-bit integers."""

from collections.abc import Sequence

import numpy as np
from max import driver, engine
from max.dtype import DType

from max_whisper.backends.graph_model import GraphDecoderState, GraphFeatures, GraphModel, padding_of
from max_whisper.backends.interface import DecodedTexts, Hypothesis, Prompts, TokenRules
from max_whisper.backends.word_alignment import WordAligner, on_device
from max_whisper.models.whisper.checkpoint import Checkpoint
from max_whisper.models.whisper.compiled import load_fused_graphs
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.graphs.fused import SAMPLING_INPUTS, STEP_INPUTS
from max_whisper.models.whisper.graphs.packing import BLOCK
from max_whisper.progress import Progress, silent
from max_whisper.runtime.devices import Device


class FusedModel(GraphModel):
    """A SpeechModel whose products are of `float32`, `bfloat16` or `int8`; a TextDecoder."""

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
        graphs = load_fused_graphs(checkpoint, device, compute_type, progress, instructions)
        super().__init__(checkpoint.dims, device, compute_type, graphs, WordAligner(checkpoint, device, progress))
        self._greedy, self._beams, self._block_bytes = graphs.greedy, graphs.beams, graphs.block_bytes
        self._cache = driver.Buffer(DType.uint8, [0], device.driver)

    def encode(self, log_mel: np.ndarray) -> GraphFeatures:
        """Encode log-mel windows, float32 [batch, n_mels, 3000]."""
        return GraphFeatures(len(log_mel), self._encoded(log_mel, self.dims.n_audio_layer))

    def _encoded(self, log_mel: np.ndarray, n_blocks: int) -> driver.Buffer:
        """What the encoder has after so many blocks: float32 [batch, n_audio_ctx, n_audio_state]."""
        stop = driver.Buffer.from_numpy(np.array([n_blocks], dtype=np.int64))
        (features,) = self._encoder.execute(on_device(log_mel, self._device), stop)
        return features

    def layers(self, log_mel: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
        """What the graphs that transcribe give when they stop after each of their blocks, by name.

        log_mel: windows [batch, n_mels, 3000]. tokens: int64 [batch, n], after which logits are taken. The encoder's
        are x float32 [batch, n_audio_ctx, n_audio_state] after its convolutions with positions (`encoder.x.0`) and
        after block i - 1 (`encoder.x.i`), then `encoder.ln_post`. The decoder's are logits [batch, n, n_vocab] that its
        last norm and vocabulary make of x before the first block (`decoder.logits.0`) and after block i - 1
        (`decoder.logits.i`); of the last i they are the model's.
        """
        values = {f"encoder.x.{i}": self._encoded(log_mel, i).to_numpy() for i in range(self.dims.n_audio_layer)}
        features = self.encode(log_mel)
        values["encoder.ln_post"] = features.features.to_numpy()
        for i in range(self.dims.n_text_layer + 1):
            logits = self.start(features, n_blocks=i).advance(tokens, range(tokens.shape[1]))
            values[f"decoder.logits.{i}"] = logits
        return values

    def start(
        self,
        features: GraphFeatures,
        *,
        group: int = 1,
        padding: Sequence[int] | None = None,
        n_blocks: int | None = None,
    ) -> "FusedDecoderState":
        """A decoder with an empty KV cache; see GraphModel.

        n_blocks: after how many blocks to stop, by default after all.
        """
        padding = padding_of(features, padding)
        cross = self._cross(features)
        cache = self._cache_for(features.batch * group, self.dims.n_text_ctx + max(padding))
        return FusedDecoderState(self._decoder, self._device, self.dims, [cache], cross, group, padding, n_blocks)

    def decode_greedily(self, features: GraphFeatures, prompts: Prompts, rules: TokenRules) -> list[DecodedTexts]:
        """The windows' texts to their ends; see TextDecoder."""
        cache = self._cache_for(features.batch, self.dims.n_text_ctx + max(prompts.padding))
        results = self._greedy.execute(cache, *sampling_inputs(prompts, rules).values(), *self._cross(features))
        texts = []
        for row, count, total, prob in zip(*(result.to_numpy() for result in results), strict=True):
            tokens = row[:count].tolist()
            has_ended = tokens[-1] == rules.end_of_text
            text = Hypothesis(tokens[:-1] if has_ended else tokens, float(total), has_ended)
            texts.append(DecodedTexts([text] if has_ended else [], [] if has_ended else [text], float(prob)))
        return texts

    def decode_with_beams(
        self, features: GraphFeatures, prompts: Prompts, rules: TokenRules, beam_size: int, max_candidates: int
    ) -> list[DecodedTexts]:
        """The windows' texts and hypotheses to their ends; see TextDecoder."""
        windows, context = features.batch, self.dims.n_text_ctx
        cache = self._cache_for(windows * beam_size, context + max(prompts.padding))
        shape = (windows, max_candidates + beam_size)
        tokens = driver.Buffer(DType.int64, (*shape, context), self._device)
        lengths = driver.Buffer(DType.int64, shape, self._device)
        sums = driver.Buffer(DType.float32, shape, self._device)
        (probs,) = self._beams.execute(
            cache, tokens, lengths, sums, *sampling_inputs(prompts, rules).values(), *self._cross(features)
        )
        results = []
        for *texts, prob in zip(*(values.to_numpy() for values in (tokens, lengths, sums, probs)), strict=True):
            hypotheses = [
                Hypothesis(row[:length].tolist(), float(total), number < max_candidates)
                for number, (row, length, total) in enumerate(zip(*texts, strict=True))
                if length >= 0
            ]
            ended = [text for text in hypotheses if text.finished]
            results.append(DecodedTexts(ended, hypotheses[len(ended) :], float(prob)))
        return results

    def _cache_for(self, rows: int, context: int) -> driver.Buffer:
        """Keys and values uint8 [rows, n_text_layer, bytes], of unknown content."""
        head = 2 * -(-context // BLOCK) * self._block_bytes
        shape = (rows, self.dims.n_text_layer, self.dims.n_text_head * head)
        size = int(np.prod(shape))
        if self._cache.num_elements < size:
            self._cache = driver.Buffer(DType.uint8, [size], self._device)
        return self._cache[:size].view(DType.uint8, shape)


def sampling_inputs(prompts: Prompts, rules: TokenRules) -> dict[str, driver.Buffer]:
    """The prompts and the rules as `graphs.fused.SAMPLING_INPUTS`."""
    none = -1
    values = {
        "prompts": prompts.tokens,
        "padding": prompts.padding,
        "max_new_tokens": prompts.max_new_tokens,
        "suppress_tokens": rules.suppress_tokens,
        "begin_suppress_tokens": rules.begin_suppress_tokens,
        "sot_index": prompts.sot_index,
        "no_speech_token": rules.no_speech,
        "end_of_text": rules.end_of_text,
        "first_timestamp": none if rules.first_timestamp is None else rules.first_timestamp,
        "last_initial_timestamp": none if rules.last_initial_timestamp is None else rules.last_initial_timestamp,
    }
    return {name: driver.Buffer.from_numpy(np.array(values[name], dtype=np.int64)) for name in SAMPLING_INPUTS}


class FusedDecoderState(GraphDecoderState):
    """The fused decoder with its caches and how many tokens they hold.

    Each hypothesis writes to a slot of its window's caches and reads its text where it is, in other slots too.
    """

    def __init__(
        self,
        decoder: engine.Model,
        device: driver.Device,
        dims: ModelDimensions,
        caches: Sequence[driver.Buffer],
        cross: Sequence[driver.Buffer],
        group: int,
        padding: Sequence[int],
        n_blocks: int | None = None,
    ) -> None:
        """n_blocks: after how many blocks to stop, by default after all."""
        super().__init__(decoder, device, dims, caches, cross, group, padding)
        capacity = -(-(dims.n_text_ctx + max(padding)) // BLOCK) * BLOCK
        slots = np.arange(group, dtype=np.uint16)[:, None]
        self._slots = np.tile(slots, (len(padding), capacity))  # which one holds each position of a row
        self._n_blocks = dims.n_text_layer if n_blocks is None else n_blocks

    def _step(self, tokens: np.ndarray, positions: Sequence[int]) -> driver.Buffer:
        start, stop = self._n_tokens, self._n_tokens + tokens.shape[1]
        shape = (-1, self._group, stop - start)
        values = [values.reshape(shape) for values in (tokens, self._position_ids(start, stop))]
        is_shared = start == 0 and self._group > 1 and bool((values[0] == values[0][:, :1]).all())
        if is_shared:
            # A prompt of all rows of a window is read once, and all go on from there.
            values = [np.ascontiguousarray(each[:, :1]) for each in values]
            self._slots[:, :stop] = 0
        inputs = {
            "tokens": values[0],
            "position_ids": values[1],
            "cache_length": np.array([start], dtype=np.int64),
            "padding": self._padding[:: self._group].copy(),
            "positions": np.array(positions, dtype=np.int64),
            "cache_indirection": self._slots.reshape(-1, self._group, self._slots.shape[1]),
            "n_blocks": np.array([self._n_blocks], dtype=np.int64),
        }
        buffers = [driver.Buffer.from_numpy(inputs[name]) for name in STEP_INPUTS]
        (logits,) = self._decoder.execute(self._caches[0], *buffers, self._cross[0])
        self._n_tokens = stop
        return driver.Buffer.from_numpy(logits.to_numpy().repeat(self._group, axis=1)) if is_shared else logits

    def _copy_row(self, source: int, target: int) -> None:
        self._slots[target, : self._n_tokens] = self._slots[source, : self._n_tokens]
