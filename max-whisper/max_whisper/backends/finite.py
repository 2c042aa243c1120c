"""A model of MAX whose results are looked at: NaN or infinite logits are an error, or are computed again in float32.

Half precision rounds what exceeds it to infinity, and infinity less infinity is NaN. What comes of it is no text: the
most probable of NaN is the first token, `!`, for as long as a text may be. So the logits of such a window are computed
again by the same checkpoint in float32, which is loaded when it is first needed. Where float32 has no finite logits
either, the recording ends with an error.

Whole texts (`TextDecoder`) are told by their sums: the log probability of a token is NaN or infinite where a logit is
infinite, or all that it was chosen from are NaN. A single NaN among finite logits is not seen there, and never chosen.
Logits that come token by token are looked at themselves.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from max_whisper.audio.log_mel import Log10Mel
from max_whisper.backends.interface import (
    AudioFeatures,
    CrossAttention,
    DecodedTexts,
    DecoderState,
    Prompts,
    SpeechModel,
    TokenRules,
)
from max_whisper.errors import NonFiniteError, PrecisionWarning, warn
from max_whisper.models.whisper.dimensions import ModelDimensions


class DeviceModel(SpeechModel, Protocol):
    """A SpeechModel whose features come when the device has them."""

    def synchronize(self, features: AudioFeatures) -> None:
        """Wait until the features are there."""
        ...


class InFloat32:
    """The same model in float32, loaded when it is first asked for, by any thread."""

    def __init__(self, name: str, compute_type: str, load: Callable[[], DeviceModel]) -> None:
        self._name = name
        self._compute_type = compute_type
        self._load = load
        self._lock = threading.Lock()
        self._model: DeviceModel | None = None

    @property
    def model(self) -> DeviceModel:
        """The model. Warns PrecisionWarning, once."""
        with self._lock:
            if self._model is None:
                warn(
                    f"{self._name}: {self._compute_type} gives NaN or infinite logits; windows where it does are"
                    " computed in float32",
                    PrecisionWarning,
                )
                self._model = self._load()
            return self._model


@dataclass(frozen=True)
class WatchedFeatures:
    """A batch of encoded windows, with what they were encoded from where they may have to be encoded again."""

    features: AudioFeatures
    log_mel: np.ndarray | None  # float32 [batch, n_mels, 3000]


class FiniteModel:
    """A SpeechModel that gives what another one gives, all of it finite."""

    def __init__(self, model: DeviceModel, name: str, in_float32: InFloat32 | None = None) -> None:
        """name: of the model, for messages. in_float32: None where the model itself is in float32."""
        self.watched = model
        self.dims: ModelDimensions = model.dims
        self.turns = model.turns
        self.log10_mel: Log10Mel = model.log10_mel
        self._name = name
        self._in_float32 = in_float32

    def encode(self, log_mel: np.ndarray) -> WatchedFeatures:
        """Encode log-mel windows, float32 [batch, n_mels, 3000]."""
        return WatchedFeatures(self.watched.encode(log_mel), None if self._in_float32 is None else log_mel)

    def select(self, features: WatchedFeatures, windows: Sequence[int]) -> WatchedFeatures:
        """The features of some windows of a batch, in the order given."""
        log_mel = None if features.log_mel is None else features.log_mel[list(windows)]
        return WatchedFeatures(self.watched.select(features.features, windows), log_mel)

    def join(self, features: Sequence[WatchedFeatures]) -> WatchedFeatures:
        """The windows of several batches as one batch."""
        log_mels = [batch.log_mel for batch in features if batch.log_mel is not None]
        joined = self.watched.join([batch.features for batch in features])
        return WatchedFeatures(joined, np.concatenate(log_mels) if log_mels else None)

    def start(
        self, features: WatchedFeatures, *, group: int = 1, padding: Sequence[int] | None = None
    ) -> "FiniteDecoderState":
        """A decoder over these features with an empty KV cache; see SpeechModel."""
        return FiniteDecoderState(self, features, group, padding)

    def cross_attention(self, features: WatchedFeatures, tokens: np.ndarray, n_text: int) -> CrossAttention:
        """How the tokens attend to the audio of their windows; see SpeechModel."""
        attention = self.watched.cross_attention(features.features, tokens, n_text)
        values = [attention.scores, attention.probabilities]
        windows = sorted({window for array in values for window in _not_finite(array, len(tokens))})
        if windows:
            values = [array.copy() for array in values]
            model, exact = self.in_float32(features, windows)
            again = model.cross_attention(exact, tokens[windows], n_text)
            for array, computed in zip(values, (again.scores, again.probabilities), strict=True):
                self.check(computed, len(windows))
                array[windows] = computed
        return CrossAttention(*values)

    def synchronize(self, features: WatchedFeatures) -> None:
        """Wait until the features are there."""
        self.watched.synchronize(features.features)

    def in_float32(self, features: WatchedFeatures, windows: Sequence[int]) -> tuple[DeviceModel, AudioFeatures]:
        """The model in float32 and what it makes of some windows. Raises NonFiniteError where there is no other."""
        if self._in_float32 is None or features.log_mel is None:
            raise self.error()
        model = self._in_float32.model
        return model, model.encode(np.ascontiguousarray(features.log_mel[list(windows)]))

    def check(self, values: np.ndarray, windows: int) -> None:
        """Raise NonFiniteError where values [n, ...] of so many windows are NaN or infinite in float32."""
        if _not_finite(values, windows):
            raise self.error()

    def error(self) -> NonFiniteError:
        """The error of a recording for which float32 has no finite values."""
        return NonFiniteError(
            f"{self._name}: its logits are NaN or infinite for this recording, in float32 too; take another checkpoint,"
            " from before its training went astray"
        )


class FiniteTextDecoder(FiniteModel):
    """A FiniteModel that decodes to the end of the texts by itself: a TextDecoder."""

    def decode_greedily(self, features: WatchedFeatures, prompts: Prompts, rules: TokenRules) -> list[DecodedTexts]:
        """The windows' texts to their ends; see TextDecoder."""
        return self._decode(features, prompts, lambda model, *given: model.decode_greedily(*given, rules))

    def decode_with_beams(
        self, features: WatchedFeatures, prompts: Prompts, rules: TokenRules, beam_size: int, max_candidates: int
    ) -> list[DecodedTexts]:
        """The windows' texts and hypotheses to their ends; see TextDecoder."""
        return self._decode(
            features,
            prompts,
            lambda model, *given: model.decode_with_beams(*given, rules, beam_size, max_candidates),
        )

    def _decode(
        self, features: WatchedFeatures, prompts: Prompts, decode: Callable[..., list[DecodedTexts]]
    ) -> list[DecodedTexts]:
        texts = decode(self.watched, features.features, prompts)
        windows = [window for window, text in enumerate(texts) if not _is_finite(text)]
        if windows:
            model, exact = self.in_float32(features, windows)
            again = decode(model, exact, prompts.of(windows))
            if not all(map(_is_finite, again)):
                raise self.error()
            for window, text in zip(windows, again, strict=True):
                texts[window] = text
        return texts


class FiniteDecoderState:
    """A decoder with its caches, and, for windows that it has no finite logits of, one in float32 beside it.

    That one is given all tokens so far at once. The tokens that were chosen until then were chosen from finite logits,
    and stay.
    """

    def __init__(
        self, model: FiniteModel, features: WatchedFeatures, group: int, padding: Sequence[int] | None
    ) -> None:
        self._model = model
        self._features = features
        self._group = group
        self._padding = padding
        self._state = model.watched.start(features.features, group=group, padding=padding)
        self._tokens: np.ndarray | None = None  # int64 [rows, n]: those of each row so far
        self._in_float32: DecoderState | None = None
        self._windows: list[int] = []  # that are computed in float32, ascending

    def advance(self, tokens: np.ndarray, positions: Sequence[int]) -> np.ndarray:
        """Append tokens, int64 [rows, n], and return float32 logits [rows, len(positions), n_vocab]."""
        logits = self._state.advance(tokens, positions)
        before = 0 if self._tokens is None else self._tokens.shape[1]
        self._tokens = tokens.copy() if self._tokens is None else np.concatenate([self._tokens, tokens], axis=1)
        n_windows = len(logits) // self._group
        windows = set(_not_finite(logits, n_windows)) | set(self._windows)
        windows -= {window for window in range(n_windows) if self._is_over(window)}
        if not windows:
            self._in_float32, self._windows = None, []
            return logits
        if self._in_float32 is not None and sorted(windows) == self._windows:
            computed = self._in_float32.advance(tokens[self._rows()], positions)
        else:
            computed = self._start_again(sorted(windows), [before + i for i in positions])
        self._model.check(computed, len(self._windows))
        logits = logits.copy()
        logits[self._rows()] = computed
        return logits

    def reorder(self, sources: Sequence[int]) -> None:
        """Let row i go on from what row sources[i] holds; a source is a row of the same window."""
        self._state.reorder(sources)
        if self._tokens is not None:
            self._tokens = self._tokens[list(sources)]
        if self._in_float32 is not None:
            numbers = {row: number for number, row in enumerate(self._rows())}
            self._in_float32.reorder([numbers[sources[row]] for row in self._rows()])

    def _start_again(self, windows: list[int], positions: Sequence[int]) -> np.ndarray:
        """Give a decoder in float32 all tokens of some windows; its logits [rows, len(positions), n_vocab]."""
        assert self._tokens is not None
        model, features = self._model.in_float32(self._features, windows)
        padding = None if self._padding is None else [self._padding[window] for window in windows]
        self._windows = windows
        self._in_float32 = model.start(features, group=self._group, padding=padding)
        return self._in_float32.advance(self._tokens[self._rows()], positions)

    def _is_over(self, window: int) -> bool:
        """Whether a window's text is longer than the context, so that its logits have no meaning."""
        assert self._tokens is not None
        padding = 0 if self._padding is None else self._padding[window]
        return self._tokens.shape[1] - padding > self._model.dims.n_text_ctx

    def _rows(self) -> list[int]:
        return [window * self._group + i for window in self._windows for i in range(self._group)]


def _not_finite(values: np.ndarray, windows: int) -> list[int]:
    """Which of so many windows have NaN or infinite values; values: float32 [n, ...], as many of each window.

    A sum is NaN or infinite where a value is.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        sums = values.reshape(windows, -1).sum(axis=1)
    return np.flatnonzero(~np.isfinite(sums)).tolist()


def _is_finite(texts: DecodedTexts) -> bool:
    """Whether a window's texts were chosen from finite logits.

    Beams that only forbidden tokens were left for have the log probability minus infinity, which is no fault.
    """
    sums = np.array([text.sum_logprob for text in (*texts.ended, *texts.going_on)])
    return bool(np.isfinite(texts.no_speech_prob)) and not np.isnan(sums).any() and not np.isposinf(sums).any()
