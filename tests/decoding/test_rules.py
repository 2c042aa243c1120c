"""Each rule against openai-whisper's logit filter of the same purpose."""

from collections import Counter

import numpy as np
import pytest
import torch
import whisper.decoding
import whisper.tokenizer

from max_whisper.decoding.decode import logit_rules
from max_whisper.decoding.rules import SuppressBlank, SuppressTokens, TimestampRules
from max_whisper.models.whisper.tokenizer import get_tokenizer
from max_whisper.options import TranscribeOptions
from tests.decoding.scripted import dimensions

VOCABULARIES = {"english": (False, 99), "multilingual": (True, 99), "large-v3": (True, 100)}
PROMPT = [1, 2, 3]


def random_tokens(rng: np.random.Generator, eot: int, begin: int) -> list[int]:
    """Text and timestamps in any order, which the rules themselves would not all allow."""
    tokens: list[int] = []
    for _ in range(int(rng.integers(0, 7))):
        is_text = rng.random() < 0.5
        tokens.append(int(rng.integers(0, eot) if is_text else rng.integers(begin, begin + 1501)))
    return tokens


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("limit", [None, 50, 0])
def test_timestamp_rules_equal_the_reference(vocabulary: str, limit: int | None) -> None:
    multilingual, num_languages = VOCABULARIES[vocabulary]
    ours = get_tokenizer(multilingual, num_languages=num_languages)
    reference = whisper.decoding.ApplyTimestampRules(
        whisper.tokenizer.get_tokenizer(multilingual, num_languages=num_languages), len(PROMPT), limit
    )
    rule = TimestampRules(ours, limit)
    rng = np.random.default_rng(num_languages + multilingual)
    forced: Counter[bool] = Counter()
    for _ in range(60):
        rows = [random_tokens(rng, ours.eot, ours.timestamp_begin)]
        rows.append([int(rng.integers(0, ours.encoding.n_vocab)) for _ in rows[0]])
        logits = rng.standard_normal((2, ours.encoding.n_vocab), dtype=np.float32)
        # Whole numbers tie often; a few of each sort stand out, so that either side of the comparison can win.
        logits = np.round(logits) if rng.random() < 0.5 else logits
        logits[:, rng.integers(0, ours.eot, size=3)] += np.float32(rng.choice([2, 4, 8]))
        logits[:, rng.integers(ours.timestamp_begin, ours.encoding.n_vocab, size=2)] += np.float32(rng.choice([0, 8]))
        logits[:, rng.random(ours.encoding.n_vocab) < rng.choice([0, 0.5, 0.99])] = -np.inf
        logits[:, ours.eot] = 1

        expected = torch.from_numpy(logits.copy())
        reference.apply(expected, torch.tensor([PROMPT + row for row in rows]))
        rule.apply(logits, rows)
        np.testing.assert_array_equal(logits, expected.numpy())
        forced[bool(rows[0]) and bool(np.isneginf(logits[0, : ours.timestamp_begin]).all())] += 1
    assert min(forced.values()) >= 3, "neither side of the comparison of probabilities may be missing"


def test_a_tie_between_text_and_timestamp_is_text() -> None:
    tokenizer = get_tokenizer(True)
    logits = np.full((2, 51865), -np.inf, dtype=np.float32)
    logits[:, 100] = logits[:, tokenizer.timestamp_begin + 9] = 7.3
    logits[1, tokenizer.timestamp_begin + 10] = -5  # both timestamps together exceed the text
    TimestampRules(tokenizer, None).apply(logits, [[tokenizer.timestamp_begin, 5]] * 2)
    assert np.isfinite(logits[:, 100]).tolist() == [True, False]


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_suppression_equals_the_reference(vocabulary: str) -> None:
    multilingual, num_languages = VOCABULARIES[vocabulary]
    ours = get_tokenizer(multilingual, num_languages=num_languages)
    theirs = whisper.tokenizer.get_tokenizer(multilingual, num_languages=num_languages)
    forbidden = [5, 7, 7, ours.no_speech]
    for sampled in ([], [9], [9, 10]):
        logits = np.random.default_rng(0).standard_normal((2, ours.encoding.n_vocab), dtype=np.float32)
        expected = torch.from_numpy(logits.copy())
        tokens = torch.tensor([PROMPT + sampled] * 2)
        whisper.decoding.SuppressBlank(theirs, len(PROMPT)).apply(expected, tokens)
        whisper.decoding.SuppressTokens(forbidden).apply(expected, tokens)
        SuppressBlank(ours).apply(logits, [sampled, sampled])
        SuppressTokens(forbidden).apply(logits, [sampled, sampled])
        np.testing.assert_array_equal(logits, expected.numpy())


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize(
    "options",
    [
        TranscribeOptions(),
        TranscribeOptions(suppress_tokens=[5, 6]),
        TranscribeOptions(suppress_tokens="-1,5", suppress_blank=False),
        TranscribeOptions(suppress_tokens=None, without_timestamps=True),
        TranscribeOptions(max_initial_timestamp=0),
        TranscribeOptions(max_initial_timestamp=0.43),
    ],
    ids=str,
)
def test_options_choose_the_references_filters(vocabulary: str, options: TranscribeOptions) -> None:
    dims = dimensions(vocabulary)
    tokenizer = get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages)
    task = whisper.decoding.DecodingTask(
        whisper.model.Whisper(whisper.model.ModelDimensions(**dims.to_dict())),
        whisper.DecodingOptions(
            language="en",
            suppress_tokens=list(options.suppressed),
            suppress_blank=options.suppress_blank,
            without_timestamps=options.without_timestamps,
            max_initial_timestamp=options.max_initial_timestamp,
        ),
    )
    logits = np.random.default_rng(0).standard_normal((1, dims.n_vocab), dtype=np.float32)
    expected = torch.from_numpy(logits.copy())
    for logit_filter in task.logit_filters:
        logit_filter.apply(expected, torch.tensor([task.initial_tokens]))
    for rule in logit_rules(tokenizer, options, dims):
        rule.apply(logits, [[]])
    np.testing.assert_array_equal(logits, expected.numpy())
