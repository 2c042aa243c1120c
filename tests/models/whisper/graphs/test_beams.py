"""The fused decoder's own beam search gives the candidates of rules and search in Python, token by token."""

from collections.abc import Callable

import numpy as np
import pytest

from max_whisper.backends.fused import FusedModel
from max_whisper.backends.interface import Prompts
from max_whisper.decoding.beam import BeamSearch, enough_texts
from max_whisper.decoding.on_device import token_rules
from tests.models.whisper.graphs.stepwise import (
    PADDING,
    PROMPTS,
    RULES,
    TOKENIZER,
    Candidates,
    assert_same_texts,
    candidates_of,
    stepwise,
)

Noise = Callable[..., np.ndarray]


def decoded(
    model: FusedModel, log_mel: np.ndarray, prompts: Prompts, rules: str, beam_size: int, patience: float | None
) -> list[Candidates]:
    numbers = token_rules(RULES[rules], end_of_text=TOKENIZER.eot, no_speech=TOKENIZER.no_speech)
    assert numbers is not None
    enough = enough_texts(beam_size, patience)
    return candidates_of(model.decode_with_beams(model.encode(log_mel), prompts, numbers, beam_size, enough), beam_size)


@pytest.mark.parametrize(
    ("rules", "beam_size", "patience"),
    [
        ("none", 5, None),
        ("all", 1, None),
        ("all", 2, 2.0),
        ("all", 5, None),
        ("late", 5, 2.0),
        ("few", 1, 3.0),
        ("few", 2, None),
        ("few", 5, 0.4),
        ("few", 5, 2.0),
        ("few", 1, 0.2),
        ("early", 5, None),
    ],
)
def test_it_finds_what_rules_and_search_find(
    fused_tiny: FusedModel, noise: Noise, rules: str, beam_size: int, patience: float | None
) -> None:
    log_mel = noise(4)
    texts = decoded(fused_tiny, log_mel, PROMPTS, rules, beam_size, patience)
    expected = stepwise(
        fused_tiny, log_mel, PROMPTS, RULES[rules], lambda: BeamSearch(TOKENIZER.eot, beam_size, patience)
    )
    assert_same_texts(texts, expected)


def test_texts_longer_than_a_block_of_the_caches(fused_tiny: FusedModel, noise: Noise) -> None:
    """Parts of texts that hypotheses share lie in several slots of several blocks."""
    log_mel = noise(1)
    prompts = Prompts(np.random.default_rng(2).integers(0, 50000, (1, 50)), [9], sot_index=46, max_new_tokens=[120])
    texts = decoded(fused_tiny, log_mel, prompts, "all", 5, None)
    expected = stepwise(fused_tiny, log_mel, prompts, RULES["all"], lambda: BeamSearch(TOKENIZER.eot, 5))
    assert_same_texts(texts, expected)
    assert max(len(text.tokens) for text in texts[0].candidates) == 120


def test_a_batch_gives_each_window_what_it_gets_alone(fused_tiny: FusedModel, noise: Noise) -> None:
    log_mel = noise(4)
    together = decoded(fused_tiny, log_mel, PROMPTS, "few", 5, None)
    lengths = set()
    for window in range(4):
        here = slice(window, window + 1)
        alone = Prompts(PROMPTS.tokens[here], PADDING[here], PROMPTS.sot_index, PROMPTS.max_new_tokens[here])
        (text,) = decoded(fused_tiny, log_mel[here], alone, "few", 5, None)
        assert text == together[window]
        lengths.add(max(len(candidate.tokens) for candidate in text.candidates))
    assert len(lengths) > 1


def test_the_context_can_be_filled(fused_tiny: FusedModel, noise: Noise) -> None:
    context = fused_tiny.dims.n_text_ctx
    prompts = Prompts(
        np.random.default_rng(3).integers(0, 50000, (1, context - 3)), [0], sot_index=400, max_new_tokens=[4]
    )
    texts = decoded(fused_tiny, noise(1), prompts, "none", 2, None)
    expected = stepwise(fused_tiny, noise(1), prompts, [], lambda: BeamSearch(TOKENIZER.eot, 2))
    assert_same_texts(texts, expected)
