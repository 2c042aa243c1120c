"""The grammar, and the split between what is trained on and what is kept for evaluation."""

from __future__ import annotations

import random
import re

import pytest

from training.texts import (
    NUMBERS,
    ONES,
    RULES,
    VOCABULARY,
    expand,
    held_out_sentence,
    is_held_out,
    random_words,
    sentence,
    training_text,
)


def test_sentences_use_only_words_of_the_vocabulary() -> None:
    rng = random.Random(0)
    known = set(VOCABULARY)
    for _ in range(2000):
        text = sentence(rng)
        assert set(text.split()) <= known, text
        assert re.fullmatch(r"[a-z']+( [a-z']+)*", text), text


@pytest.mark.parametrize("production", RULES["sentence"])
def test_every_slot_of_a_production_is_known(production: str) -> None:
    rng = random.Random(0)
    for _ in range(50):
        assert not set("{}()|") & set(expand(production, rng))


def test_training_never_draws_a_held_out_sentence() -> None:
    rng = random.Random(0)
    trained = {training_text(rng) for _ in range(5000)}
    kept = {held_out_sentence(rng) for _ in range(500)}
    assert not trained & kept
    assert not any(is_held_out(text) for text in trained)


def test_about_a_sixteenth_is_held_out() -> None:
    rng = random.Random(0)
    texts = [random_words(rng) for _ in range(4000)]
    assert 0.05 < sum(map(is_held_out, texts)) / len(texts) < 0.075


def test_short_texts_and_digit_strings_are_never_held_out() -> None:
    rng = random.Random(0)
    assert not any(is_held_out(" ".join(rng.choices(ONES, k=6))) for _ in range(500))
    assert not any(is_held_out(f"{a} {b}") for a in VOCABULARY[:40] for b in VOCABULARY[:40])


def test_a_and_an() -> None:
    rng = random.Random(0)
    texts = [expand("{a thing}", rng) for _ in range(300)]
    assert {text.split()[0] for text in texts} == {"a", "an"}
    assert all((text.split()[1][0] in "aeiou") == text.startswith("an ") for text in texts)


def test_numbers_below_a_hundred() -> None:
    rng = random.Random(0)
    spoken = {NUMBERS["1-99"](rng) for _ in range(5000)}
    assert len(spoken) == 99
    assert {"seven", "twelve", "forty", "ninety nine"} <= spoken
