"""How tokens look at the audio, for the times of words: a graph of its own, compiled when it is first asked."""

from collections.abc import Mapping

import numpy as np
from max import driver, engine

from max_whisper.backends.interface import CrossAttention
from max_whisper.models.whisper.checkpoint import Checkpoint
from max_whisper.models.whisper.compiled import load_alignment
from max_whisper.progress import Progress
from max_whisper.runtime.devices import Device

# Added to the scores of tokens that may not be looked at. The softmax gives them zero as it does for minus infinity, of
# which the attention would make NaN where it meets a whole block of such tokens first.
HIDDEN = float(np.finfo(np.float32).min / 2)

# Of so many logits a softmax is taken together; for more, the windows of a batch are aligned a few at a time.
LOGITS_AT_ONCE = 1 << 25


class WordAligner:
    """Tells how texts lie on the features of their windows, in float32 whatever the features were computed in."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: Device,
        progress: Progress,
        weights: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """weights: those of `compiled.load_graphs`, where they have been loaded."""
        self._checkpoint = checkpoint
        self._device = device
        self._progress = progress
        self._weights = weights
        self._graphs: dict[int, engine.Model] = {}  # by the number of text tokens

    def cross_attention(self, features: driver.Buffer, tokens: np.ndarray, n_text: int) -> CrossAttention:
        """How the tokens int64 [batch, n] look at the audio of their windows; see SpeechModel.

        features: float32 [batch, n_audio_ctx, n_audio_state], on the device.

        The heads are the checkpoint's alignment heads, in the order of layers and heads; of a checkpoint that names
        none, those of the upper half of the decoder (whisper/model.py). The graph is compiled when first asked for.
        """
        batch, n = tokens.shape
        if n > self._checkpoint.dims.n_text_ctx:
            raise ValueError(f"{n} tokens do not fit into a context of {self._checkpoint.dims.n_text_ctx}")
        if n_text not in self._graphs:
            self._graphs[n_text] = load_alignment(
                self._checkpoint, self._device, self._weights, self._heads(), n_text, self._progress
            )
        followers = np.roll(tokens, -1, axis=1).clip(max=n_text - 1)
        mask = on_device(np.triu(np.full((n, n), HIDDEN, dtype=np.float32), k=1), self._device.driver)
        scores, probabilities = [], []
        step = max(1, LOGITS_AT_ONCE // (n * n_text))
        for start in range(0, batch, step):
            stop = min(start + step, batch)
            values = self._graphs[n_text].execute(
                on_device(tokens[start:stop], self._device.driver),
                on_device(followers[start:stop], self._device.driver),
                mask,
                features[start:stop, :, :],
            )
            scores.append(values[0].to_numpy())
            probabilities.append(values[1].to_numpy()[:, :-1])
        return CrossAttention(np.concatenate(scores), np.concatenate(probabilities))

    def _heads(self) -> list[tuple[int, int]]:
        heads = self._checkpoint.alignment_heads
        if heads is not None:
            return sorted({(layer, head) for layer, head in heads.tolist()})
        layers = range(self._checkpoint.dims.n_text_layer // 2, self._checkpoint.dims.n_text_layer)
        return [(layer, head) for layer in layers for head in range(self._checkpoint.dims.n_text_head)]


def on_device(array: np.ndarray, device: driver.Device) -> driver.Buffer:
    """An array as a buffer of the device."""
    return driver.Buffer.from_numpy(array).to(device)
