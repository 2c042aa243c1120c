"""Logit rules as the numbers with which a `TextDecoder` applies them by itself."""

from collections.abc import Sequence

import numpy as np

from max_whisper.backends.interface import TokenRules
from max_whisper.decoding.rules import LogitRule, SuppressBlank, SuppressTokens, TimestampRules


def token_rules(rules: Sequence[LogitRule], *, end_of_text: int, no_speech: int) -> TokenRules | None:
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
    return TokenRules(end_of_text, no_speech, never, not_first, first, last_initial)
