"""Greedy decoding and beam search refuse prompts, rules and memory that do not fit each other, and say which."""

import re
from collections.abc import Mapping

import numpy as np
import pytest
from max import driver

from max_whisper.backends.fused import FusedModel, sampling_inputs
from max_whisper.backends.graph_model import GraphFeatures
from max_whisper.decoding.on_device import token_rules
from tests.models.whisper.graphs.stepwise import PROMPTS, RULES, TOKENIZER

WINDOWS, LENGTH = PROMPTS.tokens.shape
N_VOCAB, N_TEXT_CTX = 51865, 448
BEAMS = 2

Changed = Mapping[str, object]
NOTHING: Changed = {}

rules = token_rules(RULES["all"], end_of_text=TOKENIZER.eot, no_speech=TOKENIZER.no_speech)
assert rules is not None
GOOD = sampling_inputs(PROMPTS, rules)


def prompts_with(token: int) -> np.ndarray:
    tokens = PROMPTS.tokens.copy()
    tokens[1, 2] = token
    return tokens


WRONG = [
    ("prompts", prompts_with(N_VOCAB), f"prompts has {N_VOCAB} at 7, and must be below {N_VOCAB}"),
    ("prompts", prompts_with(-1), f"prompts has -1 at 7, and must be below {N_VOCAB}"),
    ("padding", [0, 2, -1, 0], "padding of a window is -1, and must be from 0 to 3"),
    ("padding", [0, 4, 1, 0], "padding of a window is 4, and must be from 0 to 3"),
    ("max_new_tokens", [40, 7, 0, 12], "max_new_tokens of a window is 0, and must be from 1 to 448"),
    ("max_new_tokens", [40, 449, 1, 12], "max_new_tokens of a window is 449, and must be from 1 to 448"),
    ("max_new_tokens", [445, 7, 1, 12], "position ids of a window is 449, and must be from 1 to 448"),
    ("sot_index", -1, "sot_index is -1, and must be from 0 to 4"),
    ("sot_index", LENGTH, "sot_index is 5, and must be from 0 to 4"),
    ("no_speech_token", N_VOCAB, "no_speech_token is 51865, and must be from 0 to 51864"),
    ("end_of_text", -1, "end_of_text is -1, and must be from 0 to 51864"),
    ("first_timestamp", -2, "first_timestamp is -2, and must be from -1 to 51864"),
    ("first_timestamp", N_VOCAB, "first_timestamp is 51865, and must be from -1 to 51864"),
    ("last_initial_timestamp", -2, "last_initial_timestamp, if not -1, is -2, and must be at least 50364"),
    ("last_initial_timestamp", 50363, "last_initial_timestamp, if not -1, is 50363, and must be at least 50364"),
    ("suppress_tokens", [3, N_VOCAB], f"suppress_tokens has {N_VOCAB} at 1, and must be below {N_VOCAB}"),
    ("suppress_tokens", [-1, 3], f"suppress_tokens has -1 at 0, and must be below {N_VOCAB}"),
    ("suppress_tokens", [3, 9, 7], "suppress_tokens has 7 after 9, and must ascend"),
    ("begin_suppress_tokens", [3, 3], "begin_suppress_tokens has 3 after 3, and must ascend"),
]


@pytest.fixture(scope="module")
def features(fused_tiny: FusedModel) -> GraphFeatures:
    return fused_tiny.encode(np.random.default_rng(0).standard_normal((WINDOWS, 80, 3000), dtype=np.float32))


def decode_greedily(
    model: FusedModel, features: GraphFeatures, changed: Changed = NOTHING, *, positions: int = N_TEXT_CTX
) -> list[np.ndarray]:
    """The outputs of the graph `greedy`, of the good inputs but for some. positions: that the caches have room for.

    What follows the tokens that count, which has no meaning, is set to -1.
    """
    cache = model._cache_for(WINDOWS, positions)
    results = model._greedy.execute(cache, *changed_inputs(changed), *model._cross(features))
    tokens, lengths, *others = (result.to_numpy() for result in results)
    tokens = np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens, -1)
    return [tokens, lengths, *others]


def search_beams(
    model: FusedModel,
    features: GraphFeatures,
    changed: Changed = NOTHING,
    *,
    rows: int = WINDOWS * BEAMS,
    positions: int = N_TEXT_CTX,
    texts: int = 2 * BEAMS,
) -> list[np.ndarray]:
    """The outputs of the graph `beams`, of the good inputs but for some; rows, positions: of the caches."""
    cache = model._cache_for(rows, positions)
    shape = (WINDOWS, texts)
    buffers = [
        driver.Buffer.from_numpy(np.full((*shape, N_TEXT_CTX), -1, np.int64)),
        driver.Buffer.from_numpy(np.zeros(shape, np.int64)),
        driver.Buffer.from_numpy(np.zeros(shape, np.float32)),
    ]
    (probs,) = model._beams.execute(cache, *buffers, *changed_inputs(changed), *model._cross(features))
    return [result.to_numpy() for result in (*buffers, probs)]


def changed_inputs(changed: Changed) -> list[driver.Buffer]:
    arrays = {name: driver.Buffer.from_numpy(np.array(value, np.int64)) for name, value in changed.items()}
    assert arrays.keys() <= GOOD.keys()
    return list({**GOOD, **arrays}.values())


@pytest.mark.parametrize(("name", "value", "message"), WRONG, ids=[f"{name}: {text}" for name, _, text in WRONG])
@pytest.mark.parametrize("operation", ["decoder_greedy", "decoder_beams"])
def test_wrong_prompts_and_rules(
    fused_tiny: FusedModel, features: GraphFeatures, operation: str, name: str, value: object, message: str
) -> None:
    decode = {"decoder_greedy": decode_greedily, "decoder_beams": search_beams}[operation]
    with pytest.raises(ValueError, match=re.escape(f"{operation}: {message}")):
        decode(fused_tiny, features, {name: value})


def test_caches_too_small(fused_tiny: FusedModel, features: GraphFeatures) -> None:
    """The longest text is 5 tokens of its prompt and 39 of the 40 that follow; the caches have whole blocks of 32."""
    message = "tokens of a text in the caches is 44, and must be from 0 to 32"
    with pytest.raises(ValueError, match=f"decoder_greedy: {message}"):
        decode_greedily(fused_tiny, features, positions=32)
    with pytest.raises(ValueError, match=f"decoder_beams: {message}"):
        search_beams(fused_tiny, features, positions=32)


def test_caches_that_are_just_large_enough(fused_tiny: FusedModel, features: GraphFeatures) -> None:
    changed: Changed = {"max_new_tokens": [28, 28, 28, 28]}  # of which 27 are read, after a prompt of 5
    for decode in (decode_greedily, search_beams):
        assert_equal(decode(fused_tiny, features, changed, positions=32), decode(fused_tiny, features, changed))


@pytest.mark.parametrize("rows", [WINDOWS - 1, WINDOWS * BEAMS + 1])
def test_rows_that_are_not_of_whole_windows(fused_tiny: FusedModel, features: GraphFeatures, rows: int) -> None:
    message = f"rows of the caches is {rows}, and must be a multiple of {WINDOWS}"
    with pytest.raises(ValueError, match=f"decoder_beams: {message}"):
        search_beams(fused_tiny, features, rows=rows)


def test_fewer_texts_than_beams(fused_tiny: FusedModel, features: GraphFeatures) -> None:
    with pytest.raises(ValueError, match=f"decoder_beams: texts of a window is 1, and must be at least {BEAMS}"):
        search_beams(fused_tiny, features, texts=1)


def test_a_refusal_leaves_no_trace(fused_tiny: FusedModel, features: GraphFeatures) -> None:
    for decode in (decode_greedily, search_beams):
        before = decode(fused_tiny, features)
        with pytest.raises(ValueError, match="sot_index"):
            decode(fused_tiny, features, {"sot_index": -1})
        assert_equal(decode(fused_tiny, features), before)


def assert_equal(ours: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(one, other)
