"""Rules of what may come next: most forbid tokens by setting their logits to minus infinity.

They compose in any order but for two: `RepetitionPenalty` changes logits that are still the model's own, so it comes
first, and `TimestampRules` compares probabilities of what the rules before it have left, so it comes last.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from max_whisper.models.whisper.tokenizer import Tokenizer

_FORBIDDEN = np.float32(-np.inf)


class LogitRule(Protocol):
    """One reason for which a token may not come next."""

    def apply(self, logits: np.ndarray, sampled: Sequence[Sequence[int]]) -> None:
        """Forbid tokens in place.

        logits: float32 [batch, n_vocab] of the next token.
        sampled: for each row the tokens chosen so far in this window, without the prompt.
        """
        ...


class RepetitionPenalty:
    """Makes the text tokens of a row less probable to come again (Keskar et al. 2019, "CTRL", section 4.1).

    Their logits are divided by the penalty where positive, and multiplied by it where negative. Timestamps, which come
    in pairs, are left alone.
    """

    def __init__(self, penalty: float, eot: int) -> None:
        self._penalty = np.float32(penalty)
        self._eot = eot

    def apply(self, logits: np.ndarray, sampled: Sequence[Sequence[int]]) -> None:
        for row, tokens in zip(logits, sampled, strict=True):
            text = np.array(sorted({token for token in tokens if token < self._eot}), dtype=np.intp)
            values = row[text]
            row[text] = np.where(values > 0, values / self._penalty, values * self._penalty)


class NoRepeatNgrams:
    """Forbids a text token that would complete a run of `size` tokens which the row has already.

    The timestamps between text tokens do not count, so that a sentence in a loop is found although its times differ.
    """

    def __init__(self, size: int, eot: int) -> None:
        self._size = size
        self._eot = eot

    def apply(self, logits: np.ndarray, sampled: Sequence[Sequence[int]]) -> None:
        before = self._size - 1
        for row, tokens in zip(logits, sampled, strict=True):
            text = [token for token in tokens if token < self._eot]
            if len(text) < self._size:
                continue
            last = text[len(text) - before :]
            repeated = [text[i + before] for i in range(len(text) - before) if text[i : i + before] == last]
            row[repeated] = _FORBIDDEN


class SuppressTokens:
    """Forbids the same tokens everywhere."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = np.array(sorted(set(tokens)), dtype=np.intp)

    def apply(self, logits: np.ndarray, sampled: Sequence[Sequence[int]]) -> None:
        logits[:, self.tokens] = _FORBIDDEN


class SuppressBlank:
    """Forbids a blank and the end of the text as the first token of a window."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokens = np.array([*tokenizer.encode(" "), tokenizer.eot], dtype=np.intp)

    def apply(self, logits: np.ndarray, sampled: Sequence[Sequence[int]]) -> None:
        for row, tokens in zip(logits, sampled, strict=True):
            if not tokens:
                row[self.tokens] = _FORBIDDEN


class TimestampRules:
    """Makes timestamps come in pairs around text and never go back (whisper/decoding.py, ApplyTimestampRules).

    A window begins with a timestamp. A timestamp after text ends a segment, and another one or the end of the text
    follows it; after a pair comes text. A segment has a length above zero. Where timestamps together are more probable
    than the most probable other token, the next token is a timestamp.
    """

    def __init__(self, tokenizer: Tokenizer, max_initial_timestamp_index: int | None) -> None:
        """max_initial_timestamp_index: the latest first timestamp, in encoder positions (20 ms each)."""
        self.begin = tokenizer.timestamp_begin
        self._eot = tokenizer.eot
        self.no_timestamps = tokenizer.no_timestamps
        self.max_initial = max_initial_timestamp_index

    def apply(self, logits: np.ndarray, sampled: Sequence[Sequence[int]]) -> None:
        logits[:, self.no_timestamps] = _FORBIDDEN
        for row, tokens in zip(logits, sampled, strict=True):
            if tokens:
                self._continue(row, tokens)
            else:
                self._begin_window(row)
            if self._timestamps_prevail(row):
                row[: self.begin] = _FORBIDDEN

    def _begin_window(self, row: np.ndarray) -> None:
        row[: self.begin] = _FORBIDDEN
        if self.max_initial is not None:
            row[self.begin + self.max_initial + 1 :] = _FORBIDDEN

    def _continue(self, row: np.ndarray, tokens: Sequence[int]) -> None:
        begin = self.begin
        ends_with_timestamp = tokens[-1] >= begin
        # The timestamp that a window begins with counts as the second of a pair.
        ends_with_pair = ends_with_timestamp and (len(tokens) < 2 or tokens[-2] >= begin)
        if ends_with_pair:
            row[begin:] = _FORBIDDEN
        elif ends_with_timestamp:
            row[: self._eot] = _FORBIDDEN

        last = next((token for token in reversed(tokens) if token >= begin), None)
        if last is not None:
            # The next segment may begin where the last one ended; it may not end where it began.
            earliest = last if ends_with_timestamp and not ends_with_pair else last + 1
            row[begin:earliest] = _FORBIDDEN

    def _timestamps_prevail(self, row: np.ndarray) -> bool:
        """Whether the sum of the timestamps' probabilities exceeds every other token's.

        Both sides share the softmax's denominator, so the logits are compared as they are.
        """
        timestamps = row[self.begin :]
        peak = timestamps.max()
        if peak == _FORBIDDEN:
            return False
        total = peak + np.log(np.exp(timestamps - peak).sum())
        return bool(total > row[: self.begin].max())
