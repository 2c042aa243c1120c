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
    sot_index: int  # which of the n tokens is <|startoftranscript|>
    max_new_tokens: Sequence[int]  # for each window, the most tokens that are chosen


@dataclass(frozen=True)
class Texts:
    """What was decoded from one window."""

    candidates: list[Hypothesis]  # of which one is the outcome
    no_speech_prob: float  # probability of <|nospeech|> after <|startoftranscript|>


@dataclass(frozen=True)
class TokenRules:
    """The rules of the next token as numbers, with which a model applies them by itself."""

    end_of_text: int
    no_speech: int  # <|nospeech|>, the token of a window without speech
    suppress_tokens: np.ndarray  # int64 [n], ascending, tokens that never come
    begin_suppress_tokens: np.ndarray  # int64 [n], ascending, tokens that do not come first
    first_timestamp: int | None  # where there are rules for timestamps
    last_initial_timestamp: int | None  # the latest timestamp that a text may begin with

    @classmethod
    def of(cls, rules: Sequence[LogitRule], *, end_of_text: int, no_speech: int) -> "TokenRules | None":
        """The rules as numbers; None where there is a rule that numbers cannot tell."""
        suppressed, at_begin = set[int](), set[int]()
        first, last_initial = None, None
        for rule in rules:
            if isinstance(rule, SuppressTokens):
                suppressed.update(rule.tokens.tolist())
            elif isinstance(rule, SuppressBlank):
                at_begin.update(rule.tokens.tolist())
            elif isinstance(rule, TimestampRules):
                suppressed.add(rule.no_timestamps)
                first = rule.begin
                last_initial = None if rule.max_initial is None else rule.begin + rule.max_initial
            else:
                return None
        never, not_first = (np.array(sorted(tokens), dtype=np.int64) for tokens in (suppressed, at_begin))
        return cls(end_of_text, no_speech, never, not_first, first, last_initial)


@runtime_checkable
class TextDecoder(Protocol):
    """A SpeechModel that can decode to the end of the texts by itself."""

    def decode_greedily(self, features: AudioFeatures, prompts: Prompts, rules: TokenRules) -> list[Texts]:
        """For each window one text, always with the most probable token, as GreedySearch chooses it."""
        ...

    def decode_with_beams(
        self, features: AudioFeatures, prompts: Prompts, rules: TokenRules, beam_size: int, max_candidates: int
    ) -> list[Texts]:
        """For each window the candidates of BeamSearch, which ends when `max_candidates` texts have ended."""
        ...
