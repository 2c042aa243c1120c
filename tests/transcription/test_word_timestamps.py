"""Word timestamps against openai-whisper's whisper/timing.py."""

# ruff: noqa: RUF001 (punctuation of many scripts looks alike)

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import whisper.timing
import whisper.tokenizer
from whisper.model import Whisper, disable_sdpa

from max_whisper.models.whisper.tokenizer import get_tokenizer
from max_whisper.transcription.word_timestamps import (
    SegmentDraft,
    WordTiming,
    add_word_timestamps,
    align_words,
    attention_map,
    dynamic_time_warping,
    median_filter,
    merge_punctuations,
    text_tokens_of,
    tokens_to_align,
)
from tests.decoding.torch_model import random_whisper

PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、"

N_VOCAB = {"english": 51864, "multilingual": 51865, "large-v3": 51866}


@pytest.mark.parametrize("width", [3, 5, 7, 9, 13])
@pytest.mark.parametrize("shape", [(1,), (4,), (50,), (3, 7), (2, 3, 8), (2, 3, 40), (1, 2, 3, 20)])
def test_median_filter(shape: tuple[int, ...], width: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, dtype=np.float32)
    ties = rng.integers(0, 3, shape).astype(np.float32)
    broken = np.where(rng.random(shape) < 0.4, np.float32(np.nan), x)
    for values in (x, ties, broken, np.full(shape, np.nan, np.float32)):
        expected = whisper.timing.median_filter(torch.from_numpy(values), width).numpy()
        np.testing.assert_array_equal(median_filter(values, width), expected)


def test_attention_map() -> None:
    scores = 3 * np.random.default_rng(0).standard_normal((6, 12, 200), dtype=np.float32)
    weights = torch.from_numpy(scores).softmax(dim=-1)
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    expected = whisper.timing.median_filter((weights - mean) / std, 7).mean(axis=0)
    np.testing.assert_allclose(attention_map(scores), expected.numpy(), atol=2e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 5), (3, 40), (40, 3), (30, 200), (4, 0)])
def test_dynamic_time_warping(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(shape)
    for cost in (
        noise,
        noise.astype(np.float32).astype(np.float64),
        rng.integers(0, 2, shape).astype(np.float64),
        np.zeros(shape),
        np.full(shape, np.nan),
        np.where(noise > 0, np.inf, noise),
        np.where(noise > 1, np.nan, noise),
    ):
        text_indices, time_indices = dynamic_time_warping(cost)
        expected = whisper.timing.dtw_cpu(cost)
        np.testing.assert_array_equal(text_indices, expected[0])
        np.testing.assert_array_equal(time_indices, expected[1])


def cross_attention(model: Whisper, log_mel: torch.Tensor, tokens: list[int], n_text: int) -> tuple[Any, Any]:
    """What a SpeechModel gives for one window: the scores of the alignment heads and the tokens' probabilities."""
    scores: dict[int, torch.Tensor] = {}
    hooks = [
        block.cross_attn.register_forward_hook(lambda _, inputs, outputs, i=i: scores.update({i: outputs[-1][0]}))
        for i, block in enumerate(model.decoder.blocks)
    ]
    with torch.no_grad(), disable_sdpa():
        logits = model(log_mel[None], torch.tensor([tokens]))[0, :-1, :n_text]
    for hook in hooks:
        hook.remove()
    heads = torch.stack([scores[int(layer)][int(head)] for layer, head in model.alignment_heads.indices().T])
    probabilities = logits.softmax(dim=-1)
    return heads.numpy(), np.array(
        [row[token] if token < n_text else np.nan for row, token in zip(probabilities, tokens[1:], strict=True)],
        dtype=np.float32,
    )


@pytest.mark.filterwarnings("ignore:std_mean")
@pytest.mark.parametrize("n_frames", [1, 2, 3, 8, 9, 501, 3000])
@pytest.mark.parametrize(
    ("vocabulary", "language", "text"),
    [
        ("english", None, ' And so my fellow Americans, ask not! What "your country" can do for you...'),
        ("multilingual", "de", " Größer, schöner -- (älter): 'so' weiter \ufffd 今天"),
        ("multilingual", "ja", "今日はとても天気がいいですね。カタカナも。"),
        ("large-v3", "yue", "今天天气很好，我们去公园吧。 OK"),
        ("multilingual", "en", ""),
        ("multilingual", "en", "."),
    ],
)
def test_align_words(vocabulary: str, language: str | None, text: str, n_frames: int) -> None:
    model = random_whisper(N_VOCAB[vocabulary], seed=1)
    options: dict[str, Any] = {"num_languages": model.num_languages, "language": language}
    tokenizer = get_tokenizer(model.is_multilingual, **options)
    reference = whisper.tokenizer.get_tokenizer(model.is_multilingual, **options)
    text_tokens = tokenizer.encode(text)
    log_mel = torch.randn(80, 3000, generator=torch.Generator().manual_seed(n_frames))

    expected = whisper.timing.find_alignment(model, reference, list(text_tokens), log_mel, n_frames)
    tokens = tokens_to_align(text_tokens, tokenizer)
    scores, probabilities = cross_attention(model, log_mel, tokens, tokenizer.eot)
    words = align_words(scores, probabilities, tokenizer, text_tokens, n_frames)

    assert [vars(word) for word in words] == [
        {**vars(word), "probability": pytest.approx(word.probability, abs=1e-6)} for word in expected
    ]
    assert bool(words) == bool(text)


def test_align_tokens_that_are_no_text() -> None:
    """Any tokens, with broken characters across words and at the end."""
    model = random_whisper(N_VOCAB["multilingual"], seed=2)
    log_mel = torch.randn(80, 3000, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    for language in ("en", "zh") * 4:
        tokenizer = get_tokenizer(True, language=language)
        reference = whisper.tokenizer.get_tokenizer(True, language=language)
        text_tokens = rng.integers(0, tokenizer.eot, int(rng.integers(1, 40))).tolist()
        expected = whisper.timing.find_alignment(model, reference, text_tokens, log_mel, 2000)
        scores, probabilities = cross_attention(model, log_mel, tokens_to_align(text_tokens, tokenizer), tokenizer.eot)
        words = align_words(scores, probabilities, tokenizer, text_tokens, 2000)
        assert [(word.word, word.tokens, word.start, word.end) for word in words] == [
            (word.word, word.tokens, word.start, word.end) for word in expected
        ]


WORDS = [
    " a",
    " word",
    "word",
    " two.",
    ".",
    "?",
    "！",
    "。",
    ",",
    " -",
    " (",
    ")",
    ' "',
    '"',
    " '",
    "'s",
    " ¿",
    "...",
    " ",
]


def timings(seed: int, last: float = 29.0) -> list[tuple[str, list[int], float, float, float]]:
    """Words, their tokens, and times in steps of 20 ms: some long, some of no duration."""
    rng = np.random.default_rng(seed)
    n_words = int(rng.integers(0, 25))
    times = np.sort(rng.integers(0, int(last * 50), n_words + 1))
    if rng.random() < 0.5 and n_words:
        times = np.minimum(np.cumsum(rng.choice([0, 5, 10, 20, 120], n_words + 1)) + rng.integers(0, 200), 1500)
    return [
        (
            str(rng.choice(WORDS)),
            rng.integers(0, 50000, int(rng.integers(1, 4))).tolist(),
            start / 50,
            end / 50,
            float(rng.random()),
        )
        for start, end in pairwise(times)
    ]


def test_merge_punctuations() -> None:
    for seed in range(200):
        ours = [WordTiming(*timing) for timing in timings(seed)]
        expected = [whisper.timing.WordTiming(*timing) for timing in timings(seed)]
        prepended, appended = (PREPENDED, APPENDED) if seed % 3 else (" -", ".")
        merge_punctuations(ours, prepended, appended)
        whisper.timing.merge_punctuations(expected, prepended, appended)
        assert [vars(word) for word in ours] == [vars(word) for word in expected]


def drafts_of(alignment: list[Any], seed: int, timestamp_begin: int) -> list[SegmentDraft]:
    """The tokens of the words as segments that begin and end somewhere near them, in a window somewhere."""
    rng = np.random.default_rng([seed, 1])
    seek = int(rng.choice([0, 0, 50, 2917, 123456]))
    tokens = [token for _, tokens, *_ in alignment for token in tokens]
    cuts = sorted(rng.integers(0, len(tokens) + 1, int(rng.integers(0, 4))).tolist())
    drafts = []
    for first, after in zip([0, *cuts], [*cuts, len(tokens)], strict=True):
        start, end = sorted(rng.integers(0, 1501, 2).tolist())
        if rng.random() < 0.5 and alignment:
            start = round(50 * alignment[min(first, len(alignment) - 1)][2])
            end = round(50 * alignment[min(after, len(alignment) - 1)][3])
        segment_tokens = (timestamp_begin + start, *tokens[first:after], timestamp_begin + end)
        drafts.append(SegmentDraft(seek, seek * 0.01 + start * 0.02, seek * 0.01 + end * 0.02, segment_tokens, ""))
    return drafts


def assert_equal_words(
    alignment: list[Any], drafts: list[SegmentDraft], last_speech_timestamp: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Add the words of an alignment to segments in both ways."""
    tokenizer = get_tokenizer(True)
    options = {"prepend_punctuations": PREPENDED, "append_punctuations": APPENDED}
    expected: list[dict[str, Any]] = [
        {"seek": draft.seek, "start": draft.start, "end": draft.end, "tokens": list(draft.tokens)} for draft in drafts
    ]

    def find_alignment(model: None, tokenizer: Any, text_tokens: list[int], *rest: Any) -> Any:
        assert text_tokens == text_tokens_of(drafts, tokenizer)
        return [
            whisper.timing.WordTiming(word, list(tokens), np.float64(start), np.float64(end), probability)
            for word, tokens, start, end, probability in alignment
        ]

    monkeypatch.setattr(whisper.timing, "find_alignment", find_alignment)
    whisper.timing.add_word_timestamps(
        segments=expected,
        model=None,
        tokenizer=tokenizer,
        mel=None,
        num_frames=3000,
        last_speech_timestamp=last_speech_timestamp,
        **options,
    )
    timed = [WordTiming(*timing) for timing in alignment]
    add_word_timestamps(drafts, timed, tokenizer, last_speech_timestamp=last_speech_timestamp, **options)
    ours = [
        {
            "seek": draft.seek,
            "start": draft.start,
            "end": draft.end,
            "tokens": list(draft.tokens),
            "words": [vars(word) for word in draft.words or ()],
        }
        for draft in drafts
    ]
    # As JSON, in which 0 is not 0.0.
    assert json.dumps(ours) == json.dumps(expected)


@pytest.mark.filterwarnings("error")
def test_add_word_timestamps(monkeypatch: pytest.MonkeyPatch) -> None:
    n_changed = 0
    for seed in range(1500):
        alignment = timings(seed, last=29.0 if seed % 2 else 4.0)
        drafts = drafts_of(alignment, seed, get_tokenizer(True).timestamp_begin)
        assert_equal_words(alignment, drafts, drafts[0].start - float(seed % 5), monkeypatch)
        times = {round(time, 2) for _, _, start, end, _ in alignment for time in (start, end)}
        n_changed += any(
            round(time - draft.seek * 0.01, 2) not in times
            for draft in drafts
            for word in draft.words or ()
            for time in (word.start, word.end)
        )
    assert n_changed > 100  # times of long words


def test_a_long_word_that_would_begin_before_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    alignment = [(" a", [1], 0.0, 0.6, 0.5), (" b", [2], 0.6, 1.4, 0.5), (" c", [3], 1.4, 2.2, 0.5)]
    draft = SegmentDraft(0, 0.52, 2.2, (1, 2, 3), "")
    assert_equal_words(alignment, [draft], 0.0, monkeypatch)
    assert draft.words
    assert draft.words[0].start == 0


def test_no_words_for_no_segments() -> None:
    add_word_timestamps(
        [], [], get_tokenizer(True), prepend_punctuations="", append_punctuations="", last_speech_timestamp=0.0
    )
    assert text_tokens_of([], get_tokenizer(True)) == []
