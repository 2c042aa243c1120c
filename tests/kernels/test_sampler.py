"""The sampler against the rules and the ranking in NumPy, on logits of its own: ties, few tokens, chunks cut short."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from max.driver import Buffer
from max.dtype import DType
from max.engine import Model
from max.graph import DeviceRef, Graph, TensorType, ops
from max.graph import Module as GraphModule

from benchmarks.kernel_parts import packaged_parts
from max_whisper.decoding.beam import most_probable
from max_whisper.decoding.on_device import token_rules
from max_whisper.decoding.rules import LogitRule, SuppressBlank, SuppressTokens, TimestampRules
from max_whisper.decoding.search import log_softmax
from tests.kernels.asserting import asserting_session

K = [1, 6]
TEXT, END, NO_TIMESTAMPS, BEGIN, N_VOCAB = 800, 800, 801, 802, 1300  # two whole chunks of 512 tokens and a part
TOKENIZER: Any = SimpleNamespace(
    eot=END, no_timestamps=NO_TIMESTAMPS, timestamp_begin=BEGIN, encode=lambda text: [32] if text == " " else []
)
TEXTS = [
    [],  # nothing yet
    [BEGIN + 7],  # the timestamp that a window begins with
    [BEGIN + 7, 5],
    [BEGIN + 7, 5, BEGIN + 90],  # the end of a segment
    [BEGIN + 7, 5, BEGIN + 90, BEGIN + 90],  # and the begin of the next
    [BEGIN + 7, 5, BEGIN + 90, BEGIN + 90, 6, 7],
    [5, 6],  # no timestamp, which rules forbid but a prefix can bring about
]
RULES: dict[str, list[LogitRule]] = {
    "none": [],
    "suppressed": [SuppressBlank(TOKENIZER), SuppressTokens(range(0, 1300, 3))],
    "timestamps": [SuppressBlank(TOKENIZER), TimestampRules(TOKENIZER, 50)],
    "without a limit": [TimestampRules(TOKENIZER, None)],
    # Of text three tokens, and of timestamps fewer than are wanted to begin with.
    "few": [
        SuppressTokens([token for token in range(TEXT) if token not in (100, 511, 512)]),
        TimestampRules(TOKENIZER, 2),
    ],
}


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    """The sampler for each k, compiled together."""
    module = GraphModule()
    cpu = DeviceRef.CPU()
    inputs = [
        TensorType(DType.float32, ["rows", "n_vocab"], cpu),
        TensorType(DType.int64, ["rows", "capacity"], cpu),
        TensorType(DType.int64, ["rows"], cpu),
        TensorType(DType.int64, ["suppressed"], cpu),
        TensorType(DType.int64, ["suppressed_at_begin"], cpu),
        *[TensorType(DType.int64, [], cpu)] * 3,
    ]
    for k in K:
        results = [TensorType(dtype, ["rows", k], cpu) for dtype in (DType.int64, DType.float32)]
        with Graph(str(k), input_types=inputs, module=module, custom_extensions=[packaged_parts()]) as graph:
            graph.output(*ops.custom("sampler_alone", cpu, list(graph.inputs), results))
    return asserting_session().load_all(module, custom_extensions=[packaged_parts()])


def sampled(model: Model, logits: np.ndarray, rules: list[LogitRule]) -> list[np.ndarray]:
    """The tokens and log probabilities [rows, k] that may follow each of TEXTS."""
    numbers = token_rules(rules, end_of_text=END, no_speech=0)
    assert numbers is not None
    texts = np.zeros((len(TEXTS), 8), np.int64)
    for row, text in zip(texts, TEXTS, strict=True):
        row[: len(text)] = text
    tokens = [numbers.end_of_text, numbers.first_timestamp, numbers.last_initial_timestamp]
    arrays = [
        logits,
        texts,
        np.array([len(text) for text in TEXTS]),
        numbers.suppress_tokens,
        numbers.begin_suppress_tokens,
        *(np.array(-1 if token is None else token, np.int64) for token in tokens),
    ]
    return [result.to_numpy() for result in model.execute(*map(Buffer.from_numpy, arrays))]


def assert_as_numpy(model: Model, k: int, logits: np.ndarray, rules: list[LogitRule]) -> None:
    tokens, logprobs = sampled(model, logits, rules)
    twin = logits.copy()
    for rule in rules:
        rule.apply(twin, TEXTS)
    expected = np.array([most_probable(row, k) for row in twin])
    np.testing.assert_array_equal(tokens, expected)
    np.testing.assert_allclose(logprobs, np.take_along_axis(log_softmax(twin), expected, axis=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("k", K)
def test_the_most_probable_tokens(models: dict[str, Model], k: int, rules: str) -> None:
    for seed in range(8):
        logits = np.random.default_rng(seed).normal(0, 5, (len(TEXTS), N_VOCAB)).astype(np.float32)
        assert_as_numpy(models[str(k)], k, logits, RULES[rules])


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("k", K)
def test_of_equal_logits_the_first_token_comes_first(models: dict[str, Model], k: int, rules: str) -> None:
    for seed in range(8):
        logits = np.random.default_rng(seed).integers(0, 3, (len(TEXTS), N_VOCAB)).astype(np.float32)
        assert_as_numpy(models[str(k)], k, logits, RULES[rules])
    assert_as_numpy(models[str(k)], k, np.zeros((len(TEXTS), N_VOCAB), np.float32), RULES[rules])


@pytest.mark.parametrize("k", K)
@pytest.mark.parametrize("above", [-0.01, 0.01])
def test_timestamps_win_where_they_together_are_more_probable(models: dict[str, Model], k: int, above: float) -> None:
    """Of equal timestamps: the other token's logit is just below or above the logarithm of how many they are."""
    logits = np.full((len(TEXTS), N_VOCAB), -20, np.float32)
    logits[:, BEGIN:] = 0
    logits[:, 513] = np.log(N_VOCAB - BEGIN) + above
    rules: list[LogitRule] = [TimestampRules(TOKENIZER, None)]
    tokens, _ = sampled(models[str(k)], logits, rules)
    assert_as_numpy(models[str(k)], k, logits, rules)
    assert tokens[TEXTS.index([5, 6]), 0] == (513 if above > 0 else BEGIN)


@pytest.mark.parametrize("n_vocab", [N_VOCAB, 1024, 1025, 1030])
def test_vocabularies_that_end_anywhere_in_a_chunk(models: dict[str, Model], n_vocab: int) -> None:
    logits = np.random.default_rng(n_vocab).normal(0, 5, (len(TEXTS), n_vocab)).astype(np.float32)
    logits[:, -1] = 20
    assert_as_numpy(models["6"], 6, logits, [])
