"""Parts of a profile, from times that are made up."""

import pytest

from benchmarks.profile import FEW, Part, decoder_parts, encoder_parts, medians
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS

TINY = OFFICIAL_MODELS["tiny"].dims


def test_attention_is_what_grows_with_the_square_of_the_positions() -> None:
    took = {"convolutions": 2.0, "blocks 1500": 8.0 + 12.0, "blocks 750": 8.0 / 2 + 12.0 / 4}
    convolutions, attention, rest = encoder_parts(TINY, took)
    assert [part.milliseconds for part in (convolutions, attention, rest)] == pytest.approx([2, 12, 8])
    assert attention.operations == 4 * 2 * 2 * 1500 * 1500 * 384  # layers, two products, of which each has two kinds
    assert rest.operations == 4 * 2 * 1500 * 12 * 384 * 384


def test_the_vocabulary_is_what_is_left_without_layers() -> None:
    cross, others, vocabulary = 0.1, 0.2, 0.9  # of one layer, but for the vocabulary
    took = {
        "step 1500 4": 4 * (cross + others) + vocabulary,
        "step 1500 1": cross + others + vocabulary,
        f"step {FEW} 4": 4 * (cross * FEW / 1500 + others) + vocabulary,
    }
    sizes = {"keys and values": 1, "decoder.blocks": 2, "decoder.embedding": 3}
    parts = decoder_parts(TINY, took, sizes)
    assert [part.milliseconds for part in parts] == pytest.approx([4 * cross, 4 * others, vocabulary])
    assert [part.weights for part in parts] == [1, 2, 3]


def test_a_row_has_share_and_rates() -> None:
    assert Part("this", 2.0, 3e9, 5e7).row(8.0) == ["this", "2.00", "25%", "1,500", "25"]
    assert Part("that", 2.0).row(8.0) == ["that", "2.00", "25%", "", ""]


def test_calls_are_made_in_turn() -> None:
    calls: list[str] = []
    took = medians({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert set(took) == {"a", "b"}
