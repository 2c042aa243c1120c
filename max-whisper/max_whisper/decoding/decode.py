"""One batch of windows: features to tokens and text."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from max_whisper.audio import CHUNK_LENGTH
from max_whisper.decoding.greedy import GreedyChooser, Hypothesis, TokenChooser
from max_whisper.decoding.model import AudioFeatures, SpeechModel
from max_whisper.decoding.rules import LogitRule, SuppressBlank, SuppressTokens, TimestampRules
from max_whisper.dimensions import ModelDimensions
from max_whisper.options import TranscribeOptions
from max_whisper.tokenizer import Tokenizer


@dataclass(frozen=True)
class DecodingResult:
    """What was decoded from one window."""

    tokens: tuple[int, ...]  # timestamps among them; without the prompt and the end of the text
    text: str  # without timestamps, stripped
    language: str  # code of the language that was decoded
    avg_logprob: float  # natural logarithm, mean over the tokens and the end of the text
    no_speech_prob: float  # probability of <|nospeech|> after <|startoftranscript|>
    temperature: float  # the softmax temperature at which the tokens were chosen
    compression_ratio: float  # bytes of the text for each byte of it compressed by zlib


class WindowDecoder:
    """Decodes windows of one model under one set of options (whisper/decoding.py, DecodingTask)."""

    def __init__(self, model: SpeechModel, tokenizer: Tokenizer, options: TranscribeOptions) -> None:
        """tokenizer: with the language and the task to decode in. options: resolved for the model."""
        self._model = model
        self._tokenizer = tokenizer
        self._options = options
        self._n_ctx = model.dims.n_text_ctx
        self._sample_len = options.sample_len or model.dims.n_text_ctx // 2
        self._rules = logit_rules(tokenizer, options, model.dims)

    def decode(self, features: AudioFeatures, prompts: Sequence[Sequence[int]]) -> list[DecodingResult]:
        """Decode a batch of windows.

        features: of `model.encode`. prompts: for each window the tokens of what was said before it, all of one length;
        of each the last n_text_ctx // 2 - 1 are used.
        """
        initial = np.array([self._initial_tokens(prompt) for prompt in prompts], dtype=np.int64)
        chooser = GreedyChooser(self._tokenizer.eot)
        hypotheses, no_speech_probs = self._choose_tokens(features, initial, chooser)
        return [
            self._result(hypothesis, no_speech_prob)
            for hypothesis, no_speech_prob in zip(hypotheses, no_speech_probs, strict=True)
        ]

    def _initial_tokens(self, prompt: Sequence[int]) -> list[int]:
        """What the decoder is given before it chooses: the previous text, then the start of the transcript."""
        tokenizer = self._tokenizer
        start = (
            tokenizer.sot_sequence_including_notimestamps
            if self._options.without_timestamps
            else tokenizer.sot_sequence
        )
        previous = [tokenizer.sot_prev, *prompt[-(self._n_ctx // 2 - 1) :]] if prompt else []
        return [*previous, *start]

    def _choose_tokens(
        self, features: AudioFeatures, initial: np.ndarray, chooser: TokenChooser
    ) -> tuple[list[Hypothesis], list[float]]:
        """Feed the initial tokens [batch, n], then a token a time; return each row's tokens and no_speech_prob."""
        n_batch, n_initial = initial.shape
        hypotheses = [Hypothesis() for _ in range(n_batch)]
        sampled = [hypothesis.tokens for hypothesis in hypotheses]
        state = self._model.start(features)

        sot_index = initial[0].tolist().index(self._tokenizer.sot)
        last = n_initial - 1
        logits = state.advance(initial, [sot_index, last] if sot_index < last else [last])
        no_speech_probs = [token_probability(row, self._tokenizer.no_speech) for row in logits[:, 0]]

        # The last token chosen is never fed, so one more than the context holds can be chosen.
        for remaining in reversed(range(min(self._sample_len, self._n_ctx + 1 - n_initial))):
            logits = logits[:, -1]
            for rule in self._rules:
                rule.apply(logits, sampled)
            chosen = chooser.choose(logits, hypotheses)
            if not remaining or all(hypothesis.finished for hypothesis in hypotheses):
                break
            logits = state.advance(np.array(chosen, dtype=np.int64)[:, None], [0])
        return hypotheses, no_speech_probs

    def _result(self, hypothesis: Hypothesis, no_speech_prob: float) -> DecodingResult:
        text = self._tokenizer.decode(hypothesis.tokens).strip()
        return DecodingResult(
            tokens=tuple(hypothesis.tokens),
            text=text,
            language=self._tokenizer.language or "en",
            avg_logprob=hypothesis.sum_logprob / (len(hypothesis.tokens) + 1),
            no_speech_prob=no_speech_prob,
            temperature=self._options.temperature,
            compression_ratio=compression_ratio(text),
        )


def logit_rules(tokenizer: Tokenizer, options: TranscribeOptions, dims: ModelDimensions) -> list[LogitRule]:
    """The rules that the options ask for, in the order in which they apply."""
    rules: list[LogitRule] = []
    if options.suppress_blank:
        rules.append(SuppressBlank(tokenizer))
    if options.suppressed:
        rules.append(SuppressTokens(_suppressed_tokens(tokenizer, options.suppressed)))
    if not options.without_timestamps:
        max_initial_index = None
        if options.max_initial_timestamp:
            max_initial_index = round(options.max_initial_timestamp / (CHUNK_LENGTH / dims.n_audio_ctx))
        rules.append(TimestampRules(tokenizer, max_initial_index))
    return rules


def _suppressed_tokens(tokenizer: Tokenizer, requested: Sequence[int]) -> list[int]:
    """The requested tokens, with -1 spelled out, and those special tokens that never belong in a transcript."""
    tokens = [token for token in requested if token >= 0]
    if -1 in requested:
        tokens += tokenizer.non_speech_tokens
    return [
        *tokens,
        tokenizer.transcribe,
        tokenizer.translate,
        tokenizer.sot,
        tokenizer.sot_prev,
        tokenizer.sot_lm,
        tokenizer.no_speech,
    ]


def token_probability(logits: np.ndarray, token: int) -> float:
    """The softmax probability of one token. logits: float32 [n_vocab]."""
    exponentials = np.exp(logits - logits.max())
    return float(exponentials[token] / exponentials.sum())


def compression_ratio(text: str) -> float:
    """Bytes of the text for each byte of it compressed by zlib; high where a text repeats itself."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))
