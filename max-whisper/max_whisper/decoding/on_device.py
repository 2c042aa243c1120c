"""Logit rules as the numbers that a `TextDecoder` takes, and its texts as candidates."""

from collections.abc import Sequence

import numpy as np

from max_whisper.backends.interface import SamplingRules
from max_whisper.decoding.rules import LogitRule, SuppressBlank, SuppressTokens, TimestampRules


def sampling_rules(rules: Sequence[LogitRule], *, end: int, no_speech: int) -> SamplingRules | None:
    """The rules as numbers; None where there are others than those that numbers can tell."""
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
    return SamplingRules(end, no_speech, never, not_first, timestamps, latest)
