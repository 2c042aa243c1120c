"""One batch of windows at one temperature: features to tokens and text."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from max_whisper.audio import CHUNK_LENGTH
from max_whisper.backends.interface import AudioFeatures, Hypothesis, Prompts, SpeechModel, TextDecoder
from max_whisper.decoding.beam import BeamSearch, candidates, enough_texts
from max_whisper.decoding.greedy import GreedySearch
from max_whisper.decoding.on_device import token_rules
from max_whisper.decoding.prompt import initial_tokens
from max_whisper.decoding.ranking import most_likely
from max_whisper.decoding.rules import (
    LogitRule,
    NoRepeatNgrams,
    RepetitionPenalty,
    SuppressBlank,
    SuppressTokens,
    TimestampRules,
)
from max_whisper.decoding.sampling import SamplingSearch
from max_whisper.decoding.search import Search
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.tokenizer import Tokenizer
from max_whisper.options import TranscribeOptions


@dataclass(frozen=True)
class WindowContext:
    """What a window is decoded with, beside its audio."""

    tokenizer: Tokenizer  # with the language and the task
    previous: Sequence[int] = ()  # tokens said before the window
    seek: int = 0  # first mel frame of the window in its recording; with `options.seed` it seeds the sampling


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


@dataclass(frozen=True)
class _Texts:
    """What was decoded from one window."""

    candidates: Sequence[Hypothesis]  # of which one is the outcome
    no_speech_prob: float  # probability of <|nospeech|> after <|startoftranscript|>


class WindowDecoder:
    """Decodes windows of one model under one set of options (whisper/decoding.py, DecodingTask)."""

    def __init__(self, model: SpeechModel, tokenizer: Tokenizer, options: TranscribeOptions) -> None:
        """tokenizer: of any language and task. options: resolved for the model."""
        self.model = model
        self.options = options
        self._tokenizer = tokenizer
        self._n_ctx = model.dims.n_text_ctx
        self._sample_len = options.sample_len or model.dims.n_text_ctx // 2
        if options.max_new_tokens is not None:
            self._sample_len = min(self._sample_len, options.max_new_tokens)
        self._rules = logit_rules(tokenizer, options, model.dims)
        self._token_rules = token_rules(self._rules, end_of_text=tokenizer.eot, no_speech=tokenizer.no_speech)

    def decode(
        self, features: AudioFeatures, windows: Sequence[WindowContext], temperature: float
    ) -> list[DecodingResult]:
        """Decode a batch of windows, each as if it were alone.

        features: of `model.encode`. windows: one for each window of the features.
        """
        prompts = self._prompts(windows)
        texts = self._on_device(features, prompts, temperature)
        if texts is None:
            texts = self._token_by_token(features, prompts, [self._search(window, temperature) for window in windows])
        return [self._result(text, window, temperature) for text, window in zip(texts, windows, strict=True)]

    def _prompts(self, windows: Sequence[WindowContext]) -> Prompts:
        initial = [initial_tokens(w.tokenizer, self.options, w.previous, self._n_ctx) for w in windows]
        longest = max(map(len, initial))
        padding = [longest - len(tokens) for tokens in initial]
        return Prompts(
            tokens=np.array([[0] * pad + list(row) for pad, row in zip(padding, initial, strict=True)], dtype=np.int64),
            padding=padding,
            sot_index=padding[0] + initial[0].index(self._tokenizer.sot),  # as many tokens follow it in every window
            # The last token chosen is never fed, so one more than the context holds can be chosen.
            max_new_tokens=[min(self._sample_len, self._n_ctx + 1 - len(tokens)) for tokens in initial],
        )

    def _on_device(self, features: AudioFeatures, prompts: Prompts, temperature: float) -> list[_Texts] | None:
        """The windows' texts by the model itself; None where it cannot tell them or not by these rules."""
        model, rules, options = self.model, self._token_rules, self.options
        if temperature > 0 or rules is None or not isinstance(model, TextDecoder):
            return None
        if options.beam_size is None:
            decoded = model.decode_greedily(features, prompts, rules)
        else:
            max_candidates = enough_texts(options.beam_size, options.patience)
            decoded = model.decode_with_beams(features, prompts, rules, options.beam_size, max_candidates)
        beams = options.beam_size or 1
        return [_Texts(candidates(texts.ended, texts.going_on, beams), texts.no_speech_prob) for texts in decoded]

    def _search(self, window: WindowContext, temperature: float) -> Search:
        options, eot = self.options, self._tokenizer.eot
        if temperature > 0:
            # Of the window alone, so that neither a batch nor the windows before it change what is drawn.
            generator = np.random.default_rng([options.seed, window.seek, round(temperature * 1e6)])
            return SamplingSearch(eot, temperature, options.best_of or 1, options.top_p, generator)
        if options.beam_size is not None:
            return BeamSearch(eot, options.beam_size, options.patience)
        return GreedySearch(eot)

    def _token_by_token(self, features: AudioFeatures, prompts: Prompts, searches: Sequence[Search]) -> list[_Texts]:
        """Feed the prompts, then a token a time, until every search has ended."""
        group = len(searches[0].rows)
        state = self.model.start(features, group=group, padding=prompts.padding if any(prompts.padding) else None)
        start, last = prompts.sot_index, prompts.tokens.shape[1] - 1
        logits = state.advance(prompts.tokens.repeat(group, axis=0), [start, last] if start < last else [last])
        no_speech_probs = [token_probability(row, self._tokenizer.no_speech) for row in logits[::group, 0]]

        active = [True] * len(searches)
        for step in range(max(prompts.max_new_tokens)):
            tokens, sources = self._choose(logits[:, -1], searches, active)
            active = [
                not search.finished and step + 1 < limit
                for search, limit in zip(searches, prompts.max_new_tokens, strict=True)
            ]
            if not any(active):
                break
            state.reorder(sources)
            logits = state.advance(np.array(tokens, dtype=np.int64)[:, None], [0])
        return [_Texts(search.candidates(), prob) for search, prob in zip(searches, no_speech_probs, strict=True)]

    def _choose(
        self, logits: np.ndarray, searches: Sequence[Search], active: Sequence[bool]
    ) -> tuple[list[int], list[int]]:
        """A token for each row and the row that it goes on from; logits: float32 [rows, n_vocab]."""
        group = len(logits) // len(searches)
        tokens, sources = [self._tokenizer.eot] * len(logits), list(range(len(logits)))
        for number, (search, is_active) in enumerate(zip(searches, active, strict=True)):
            if not is_active:
                continue
            first = number * group
            rows = logits[first : first + group]
            sampled = [hypothesis.tokens for hypothesis in search.rows]
            for rule in self._rules:
                rule.apply(rows, sampled)
            choice = search.choose(rows)
            tokens[first : first + group] = choice.tokens
            sources[first : first + group] = [first + source for source in choice.sources]
        return tokens, sources

    def _result(self, texts: _Texts, window: WindowContext, temperature: float) -> DecodingResult:
        outcome = most_likely(texts.candidates, self.options.length_penalty)
        text = window.tokenizer.decode(outcome.tokens).strip()
        return DecodingResult(
            tokens=tuple(outcome.tokens),
            text=text,
            language=window.tokenizer.language or "en",
            avg_logprob=outcome.sum_logprob / (len(outcome.tokens) + 1),
            no_speech_prob=texts.no_speech_prob,
            temperature=temperature,
            compression_ratio=compression_ratio(text),
        )


def logit_rules(tokenizer: Tokenizer, options: TranscribeOptions, dims: ModelDimensions) -> list[LogitRule]:
    """The rules that the options ask for, in the order in which they apply."""
    rules: list[LogitRule] = []
    if options.repetition_penalty != 1:
        rules.append(RepetitionPenalty(options.repetition_penalty, tokenizer.eot))
    if options.no_repeat_ngram_size:
        rules.append(NoRepeatNgrams(options.no_repeat_ngram_size, tokenizer.eot))
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
