"""What decoding asks of a backend, and what a backend answers.

A backend computes log-mel frames, features and logits. `SpeechModel` and `DecoderState` give logits, token by token.
A `TextDecoder` is told the prompts and the rules once and gives whole texts.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from max_whisper.audio.log_mel import Log10Mel
from max_whisper.models.whisper.dimensions import ModelDimensions

# The encoder's output for a batch of windows. Decoding hands it on and never looks inside, so that it can stay on the
# device, with the cross-attention keys and values beside it.
AudioFeatures: TypeAlias = Any


@dataclass(frozen=True)
class CrossAttention:
    """How the tokens of each window attend to its audio, and how probable they are."""

    # float32 [batch, alignment heads, n, n_audio_ctx]: scaled query-key products, before the softmax
    scores: np.ndarray
    probabilities: np.ndarray  # float32 [batch, n - 1]: of each token but the first, after those before it


class DecoderState(Protocol):
    """A decoder with its KV cache over the rows of one batch: `group` hypotheses for each window, window by window."""

    def advance(self, tokens: np.ndarray, positions: Sequence[int]) -> np.ndarray:
        """Append tokens to the cache and return the logits that follow some of them.

        tokens: int64 [rows, n], the next tokens of each row.
        positions: indices into the n tokens, ascending.
        Returns float32 [rows, len(positions), n_vocab]: the logits after tokens[:, p] for each p; of no meaning for a
        row that holds n_text_ctx tokens already, while others of the batch go on. The caller may change the array,
        until the next call.
        """
        ...

    def reorder(self, sources: Sequence[int]) -> None:
        """Let row i go on from what row sources[i] holds; a source is a row of the same window."""
        ...


class SpeechModel(Protocol):
    """A Whisper model: samples to log-mel windows, these to features, and tokens to logits."""

    @property
    def dims(self) -> ModelDimensions:
        """The sizes of the model."""
        ...

    @property
    def log10_mel(self) -> Log10Mel:
        """What computes the frames of its windows; see `audio.log_mel.log10_mel`."""
        ...

    @property
    def turns(self) -> AbstractContextManager[None]:
        """A turn at the model's device, for `with`: whoever computes on the model from several threads takes one.

        It is kept from the first call of a decoder's state to the last, because there is one KV cache. Features and
        CrossAttention belong to the caller and need no turn.
        """
        ...

    def encode(self, log_mel: np.ndarray) -> AudioFeatures:
        """Features of windows: float32 [batch, n_mels, 3000], C-contiguous, to a handle that `start` takes."""
        ...

    def select(self, features: AudioFeatures, windows: Sequence[int]) -> AudioFeatures:
        """The features of some windows of a batch, in the order given."""
        ...

    def join(self, features: Sequence[AudioFeatures]) -> AudioFeatures:
        """The windows of several batches as one batch."""
        ...

    def start(self, features: AudioFeatures, *, group: int = 1, padding: Sequence[int] | None = None) -> DecoderState:
        """A decoder over these features with an empty KV cache; the same features may be started again.

        group: hypotheses for each window. They share the window's cross-attention keys and values.
        padding: for each window, how many of the first tokens given to `advance` stand for nothing: no token looks at
            them, and the one after them has position 0. So prompts of different lengths make one batch.
        A state is valid until the next one is started.
        """
        ...

    def cross_attention(self, features: AudioFeatures, tokens: np.ndarray, n_text: int) -> CrossAttention:
        """One pass over whole texts: how the alignment heads attend to the audio.

        tokens: int64 [batch, n]; what follows a shorter text may be any token, since none looks ahead.
        n_text: probabilities are of a softmax over the first `n_text` tokens of the vocabulary (those of text); those
            of tokens beyond are of no meaning.
        """
        ...


@dataclass
class Hypothesis:
    """The tokens chosen so far in one row of the batch."""

    tokens: list[int] = field(default_factory=list)  # without the prompt and the end of the text
    sum_logprob: float = 0.0  # natural logarithm, the end of the text counted in
    finished: bool = False  # whether the end of the text has been chosen


@dataclass(frozen=True)
class Prompts:
    """What each window of a batch is given before it chooses a token."""

    tokens: np.ndarray  # int64 [windows, n]; the shorter ones have others before them that stand for nothing
    padding: Sequence[int]  # for each window, how many those are
    sot_index: int  # which of the n tokens is <|startoftranscript|>
    max_new_tokens: Sequence[int]  # for each window, the most tokens that are chosen

    def of(self, windows: Sequence[int]) -> "Prompts":
        """Those of some windows of the batch."""
        padding = [self.padding[window] for window in windows]
        return Prompts(self.tokens[windows], padding, self.sot_index, [self.max_new_tokens[i] for i in windows])


@dataclass(frozen=True)
class TokenRules:
    """The rules of the next token as numbers, with which a model applies them by itself."""

    end_of_text: int
    no_speech: int  # <|nospeech|>, the token of a window without speech
    suppress_tokens: np.ndarray  # int64 [n], ascending, tokens that never come
    begin_suppress_tokens: np.ndarray  # int64 [n], ascending, tokens that do not come first
    first_timestamp: int | None  # where there are rules for timestamps
    last_initial_timestamp: int | None  # the latest timestamp that a text may begin with


@dataclass(frozen=True)
class DecodedTexts:
    """What was decoded from one window: the texts that ended, and those that went on to the last token."""

    ended: list[Hypothesis]
    going_on: list[Hypothesis]  # the most probable first
    no_speech_prob: float  # probability of <|nospeech|> after <|startoftranscript|>


@runtime_checkable
class TextDecoder(Protocol):
    """A SpeechModel that can decode to the end of the texts by itself."""

    def decode_greedily(self, features: AudioFeatures, prompts: Prompts, rules: TokenRules) -> list[DecodedTexts]:
        """For each window one text, always with the most probable token, as GreedySearch chooses it."""
        ...

    def decode_with_beams(
        self, features: AudioFeatures, prompts: Prompts, rules: TokenRules, beam_size: int, max_candidates: int
    ) -> list[DecodedTexts]:
        """For each window the texts of BeamSearch, which ends when `max_candidates` texts have ended."""
        ...
