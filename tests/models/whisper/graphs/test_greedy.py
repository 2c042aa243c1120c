"""The fused decoder's own choice of tokens is what rules and search choose from the same logits, token by token."""

from collections.abc import Callable

import numpy as np
import pytest

from max_whisper.backends.fused import FusedModel
from max_whisper.backends.interface import TokenRules
from max_whisper.decoding.greedy import GreedySearch
from max_whisper.decoding.on_device import token_rules
from max_whisper.decoding.rules import LogitRule, NoRepeatNgrams, RepetitionPenalty, SuppressBlank
from tests.models.whisper.graphs.stepwise import PROMPTS, RULES, TOKENIZER, assert_same_texts, candidates_of, stepwise


def rules_of(rules: list[LogitRule]) -> TokenRules | None:
    return token_rules(rules, end_of_text=TOKENIZER.eot, no_speech=TOKENIZER.no_speech)


@pytest.mark.parametrize("rules", RULES)
def test_it_chooses_what_rules_and_search_choose(
    fused_tiny: FusedModel, noise: Callable[..., np.ndarray], rules: str
) -> None:
    log_mel = noise(4)
    numbers = rules_of(RULES[rules])
    assert numbers is not None
    texts = candidates_of(fused_tiny.decode_greedily(fused_tiny.encode(log_mel), PROMPTS, numbers))
    assert_same_texts(texts, stepwise(fused_tiny, log_mel, PROMPTS, RULES[rules], lambda: GreedySearch(TOKENIZER.eot)))


@pytest.mark.parametrize("rule", [RepetitionPenalty(1.1, TOKENIZER.eot), NoRepeatNgrams(3, TOKENIZER.eot)])
def test_other_rules_are_left_to_python(rule: LogitRule) -> None:
    assert rules_of([SuppressBlank(TOKENIZER), rule]) is None
