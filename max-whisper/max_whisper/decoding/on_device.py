"""Decoding by the model itself: it is told the prompts and the rules once and gives whole texts back, not logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from max_whisper.decoding.hypothesis import Hypothesis
from max_whisper.decoding.model import AudioFeatures
from max_whisper.decoding.rules import LogitRule, SuppressBlank, SuppressTokens, TimestampRules


@dataclass(frozen=True)
class Prompts:
    """What each window of a batch is given before it chooses a token."""

    tokens: np.ndarray  # int64 [windows, n]; the shorter ones have others before them that stand for nothing
    padding: Sequence[int]  # for each window, how many those are
    start: int  # which of the n tokens is <|startoftranscript|>
    limits: Sequence[int]  # for each window, the most tokens to choose


@dataclass(frozen=True)
class Texts:
    """What was decoded from one window."""

    candidates: list[Hypothesis]  # of which one is the outcome
    no_speech_prob: float  # probability of <|nospeech|> after <|startoftranscript|>


@dataclass(frozen=True)
class ChoiceRules:
    """What may come next, as numbers."""

    end: int  # the token that ends a text
    no_speech: int  # the token of a window without speech
    forbidden: np.ndarray  # int64 [n], ascending, tokens that never come
    forbidden_first: np.ndarray  # int64 [n], ascending, tokens that do not come first
    timestamps: int | None  # the first timestamp, where there are rules for them
    latest_first: int | None  # the latest timestamp that a text may begin with

    @classmethod
    def of(cls, rules: Sequence[LogitRule], *, end: int, no_speech: int) -> "ChoiceRules | None":
        """The rules as numbers; None where there are others than those that can be told so."""
        forbidden, first = set[int](), set[int]()
        timestamps, latest = None, None
        for rule in rules:
            if isinstance(rule, SuppressTokens):
                forbidden.update(rule.tokens.tolist())
            elif isinstance(rule, SuppressBlank):
                first.update(rule.tokens.tolist())
            elif isinstance(rule, TimestampRules):
                forbidden.add(rule.no_timestamps)
                timestamps = rule.begin
                latest = None if rule.max_initial is None else rule.begin + rule.max_initial
            else:
                return None
        never, not_first = (np.array(sorted(tokens), dtype=np.int64) for tokens in (forbidden, first))
        return cls(end, no_speech, never, not_first, timestamps, latest)


@runtime_checkable
class TextDecoder(Protocol):
    """A SpeechModel that can decode to the end of the texts by itself."""

    def decode_greedily(self, features: AudioFeatures, prompts: Prompts, rules: ChoiceRules) -> list[Texts]:
        """For each window one text, always with the most probable token, as GreedySearch chooses it."""
        ...

    def decode_with_beams(
        self, features: AudioFeatures, prompts: Prompts, rules: ChoiceRules, beam_size: int, enough: int
    ) -> list[Texts]:
        """For each window the candidates of BeamSearch, which ends when `enough` texts have ended."""
        ...
