"""Texts chosen by the rules and the searches in Python, which a model's own choice is compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from max_whisper.backends.fused import FusedModel
from max_whisper.backends.interface import DecodedTexts, Hypothesis, Prompts
from max_whisper.decoding.beam import candidates
from max_whisper.decoding.decode import token_probability
from max_whisper.decoding.rules import LogitRule, SuppressBlank, SuppressTokens, TimestampRules
from max_whisper.decoding.search import Search
from max_whisper.models.whisper.tokenizer import get_tokenizer

TOKENIZER = get_tokenizer(multilingual=True, num_languages=99, language="en", task="transcribe")
PADDING = [0, 2, 1, 0]
LIMITS = [40, 7, 1, 12]
PROMPTS = Prompts(np.random.default_rng(1).integers(0, 50000, (4, 5)), PADDING, sot_index=3, max_new_tokens=LIMITS)
"""For four windows."""

RULES: dict[str, list[LogitRule]] = {
    "none": [],
    "all": [SuppressBlank(TOKENIZER), SuppressTokens(range(0, 50000, 3)), TimestampRules(TOKENIZER, 50)],
    "late": [SuppressTokens([*range(30000), TOKENIZER.no_speech]), TimestampRules(TOKENIZER, None)],
    # The end of the text is likely.
    "few": [SuppressTokens([token for token in range(51865) if token % 1000 and token != TOKENIZER.eot])],
    # Fewer first tokens than beams.
    "early": [SuppressBlank(TOKENIZER), TimestampRules(TOKENIZER, 2)],
}


@dataclass(frozen=True)
class Candidates:
    """What was decoded from one window."""

    candidates: list[Hypothesis]
    no_speech_prob: float


def candidates_of(decoded: Sequence[DecodedTexts], beam_size: int = 1) -> list[Candidates]:
    """The texts among which decoding chooses, of a model's own decoding."""
    return [Candidates(candidates(texts.ended, texts.going_on, beam_size), texts.no_speech_prob) for texts in decoded]


def stepwise(
    model: FusedModel, log_mel: np.ndarray, prompts: Prompts, rules: Sequence[LogitRule], search: Callable[[], Search]
) -> list[Candidates]:
    """The candidates of each window alone. search: makes one for a window."""
    features, texts = model.encode(log_mel), []
    for window, limit in enumerate(prompts.max_new_tokens):
        choosing = search()
        group = len(choosing.rows)
        state = model.start(model.select(features, [window]), group=group, padding=[prompts.padding[window]])
        given = prompts.tokens[window : window + 1].repeat(group, axis=0)
        logits = state.advance(given, [prompts.sot_index, given.shape[1] - 1])
        no_speech_prob = token_probability(logits[0, 0], TOKENIZER.no_speech)
        for step in range(limit):
            for rule in rules:
                rule.apply(logits[:, -1], [row.tokens for row in choosing.rows])
            choice = choosing.choose(logits[:, -1])
            if choosing.finished or step + 1 == limit:
                break
            state.reorder(choice.sources)
            logits = state.advance(np.array(choice.tokens)[:, None], [0])
        texts.append(Candidates(choosing.candidates(), no_speech_prob))
    return texts


def assert_same_texts(ours: Sequence[Candidates], expected: Sequence[Candidates]) -> None:
    """The same tokens in the same order, and log probabilities but for rounding."""
    for one, other in zip(ours, expected, strict=True):
        assert [text.tokens for text in one.candidates] == [text.tokens for text in other.candidates]
        assert [text.finished for text in one.candidates] == [text.finished for text in other.candidates]
        np.testing.assert_allclose(
            [text.sum_logprob for text in one.candidates],
            [text.sum_logprob for text in other.candidates],
            rtol=1e-5,
            atol=1e-5,
        )
    np.testing.assert_allclose(
        [one.no_speech_prob for one in ours], [other.no_speech_prob for other in expected], rtol=1e-5
    )
