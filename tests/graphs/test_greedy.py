"""The fused decoder's own choice of tokens is what rules and search choose from the same logits, token by token."""

from collections.abc import Callable

import numpy as np
import pytest

from max_whisper.backends.fused import FusedModel
from max_whisper.checkpoint import Checkpoint
from max_whisper.decoding.greedy import GreedySearch
from max_whisper.decoding.hypothesis import Hypothesis
from max_whisper.decoding.on_device import ChoiceRules
from max_whisper.decoding.rules import (
    LogitRule,
    NoRepeatNgrams,
    RepetitionPenalty,
    SuppressBlank,
    SuppressTokens,
    TimestampRules,
)
from max_whisper.runtime import select_device
from max_whisper.tokenizer import get_tokenizer

TOKENIZER = get_tokenizer(multilingual=True, num_languages=99, language="en", task="transcribe")
LIMITS = [30, 7, 1, 12]
PADDING = [0, 2, 1, 0]


@pytest.fixture(scope="module")
def model(tiny: Checkpoint) -> FusedModel:
    return FusedModel(tiny, select_device("cpu"), "int8")


def stepwise(model: FusedModel, log_mel: np.ndarray, prompt: np.ndarray, rules: list[LogitRule]) -> list[Hypothesis]:
    """Texts chosen by the rules and the search in Python, each window alone."""
    features, texts = model.encode(log_mel), []
    for window, limit in enumerate(LIMITS):
        state = model.start(model.select(features, [window]), padding=[PADDING[window]])
        logits = state.advance(prompt[window : window + 1], [prompt.shape[1] - 1])
        search = GreedySearch(TOKENIZER.eot)
        for step in range(limit):
            for rule in rules:
                rule.apply(logits[:, 0], [search.rows[0].tokens])
            choice = search.choose(logits[:, 0])
            if search.finished or step + 1 == limit:
                break
            logits = state.advance(np.array([choice.tokens]), [0])
        texts.append(search.rows[0])
    return texts


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [SuppressBlank(TOKENIZER), SuppressTokens(range(0, 50000, 3)), TimestampRules(TOKENIZER, 50)],
        [SuppressTokens([*range(30000), TOKENIZER.no_speech]), TimestampRules(TOKENIZER, None)],
        [SuppressTokens([t for t in range(51865) if t % 1000 and t != TOKENIZER.eot])],  # the end of the text is likely
    ],
    ids=["none", "all", "late", "few"],
)
def test_it_chooses_what_rules_and_search_choose(
    model: FusedModel, noise: Callable[..., np.ndarray], rules: list[LogitRule]
) -> None:
    log_mel = noise(4)
    prompt = np.random.default_rng(1).integers(0, 50000, (4, 5))
    expected = stepwise(model, log_mel, prompt, rules)

    state = model.start(model.encode(log_mel), padding=PADDING)
    logits = state.advance(prompt, [4])
    numbers = ChoiceRules.of(rules, TOKENIZER.eot)
    assert numbers is not None
    texts = state.finish_greedily(logits[:, 0], LIMITS, numbers)
    assert [text.tokens for text in texts] == [text.tokens for text in expected]
    assert [text.finished for text in texts] == [text.finished for text in expected]
    np.testing.assert_allclose(
        [text.sum_logprob for text in texts], [text.sum_logprob for text in expected], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("rule", [RepetitionPenalty(1.1, TOKENIZER.eot), NoRepeatNgrams(3, TOKENIZER.eot)])
def test_other_rules_are_left_to_python(rule: LogitRule) -> None:
    assert ChoiceRules.of([SuppressBlank(TOKENIZER), rule], TOKENIZER.eot) is None
