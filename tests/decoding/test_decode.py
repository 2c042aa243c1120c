"""One batch of windows against openai-whisper's decoding of each."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import whisper
import whisper.utils

from max_whisper.decoding import DecodingResult, WindowContext, WindowDecoder
from max_whisper.decoding.decode import compression_ratio, token_probability
from max_whisper.models.whisper.tokenizer import get_tokenizer
from max_whisper.options import TranscribeOptions
from tests.decoding.scripted import Script, ScriptedModel, ScriptedReference, dimensions
from tests.decoding.torch_model import random_whisper, speech_model


def assert_equal(ours: DecodingResult, reference: Any) -> None:
    assert ours.tokens == tuple(reference.tokens)
    assert (ours.text, ours.language) == (reference.text, reference.language)
    assert (ours.temperature, ours.compression_ratio) == (reference.temperature, reference.compression_ratio)
    assert ours.avg_logprob == pytest.approx(reference.avg_logprob, abs=1e-4)
    assert ours.no_speech_prob == pytest.approx(reference.no_speech_prob, abs=1e-5)


def random_log_mel(seed: int, n_batch: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n_batch, 80, 3000), dtype=np.float32)


@pytest.mark.parametrize("vocabulary", ["english", "multilingual"])
@pytest.mark.parametrize(
    ("n_prompt", "n_text_ctx", "without_timestamps"),
    [(0, 448, False), (1, 448, True), (222, 448, False), (223, 448, False), (300, 448, True), (50, 24, False)],
)
def test_prompts_equal_the_reference(vocabulary: str, n_prompt: int, n_text_ctx: int, without_timestamps: bool) -> None:
    """The last n_text_ctx // 2 - 1 tokens of a prompt are used, after <|startofprev|>."""
    script = Script(dimensions(vocabulary, n_text_ctx), seed=n_prompt)
    log_mel = random_log_mel(n_prompt, 1)
    prompt = np.random.default_rng(n_prompt).integers(0, 50000, n_prompt).tolist()
    reference = ScriptedReference(script).decode(
        torch.from_numpy(log_mel[0]),
        whisper.DecodingOptions(
            language="en", prompt=prompt, fp16=False, sample_len=8, without_timestamps=without_timestamps
        ),
    )
    model = ScriptedModel(script)
    options = TranscribeOptions(temperature=0.0, language="en", sample_len=8, without_timestamps=without_timestamps)
    tokenizer = get_tokenizer(script.dims.is_multilingual, language="en", task="transcribe")
    window = WindowContext(tokenizer, prompt)
    (result,) = WindowDecoder(model, tokenizer, options).decode(model.encode(log_mel), [window], 0.0)
    assert_equal(result, reference)


# Each with what openai-whisper's DecodingOptions call the same.
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"beam_size": 5},
    "one beam": {"beam_size": 1},
    "patience": {"beam_size": 3, "patience": 2.5},
    "little patience": {"beam_size": 4, "patience": 0.5},
    "length penalty": {"beam_size": 4, "length_penalty": 0.3},
    "no length penalty": {"beam_size": 4, "length_penalty": 0.0},
    "beams without timestamps": {"beam_size": 3, "without_timestamps": True},
    "few tokens": {"beam_size": 3, "sample_len": 3},
    "prefix": {"prefix": "so it goes", "beam_size": 2},
    "prefix of tokens": {"prefix": [1000, 2000], "suppress_blank": False},
    "prefix cut to fit": {"prefix": "one two three four five six seven", "sample_len": 220},
    "nothing suppressed": {"beam_size": 3, "suppress_tokens": "", "suppress_blank": False},
}


@pytest.mark.parametrize("vocabulary", ["english", "multilingual"])
@pytest.mark.parametrize("name", SEARCHES)
def test_searches_equal_the_reference(name: str, vocabulary: str) -> None:
    options = {"language": "en", "sample_len": 30, **SEARCHES[name]}
    for seed in range(4):
        script = Script(dimensions(vocabulary), seed, confidence=[3.0, 6.0, 8.0, 10.0][seed])
        log_mel = random_log_mel(seed, 1)
        expected = ScriptedReference(script).decode(
            torch.from_numpy(log_mel[0]), whisper.DecodingOptions(fp16=False, prompt=[11, 13], **copy.deepcopy(options))
        )
        model = ScriptedModel(script)
        tokenizer = get_tokenizer(script.dims.is_multilingual, language="en", task="transcribe")
        decoder = WindowDecoder(model, tokenizer, TranscribeOptions(temperature=0.0, **options))
        (ours,) = decoder.decode(model.encode(log_mel), [WindowContext(tokenizer, [11, 13])], 0.0)
        assert_equal(ours, expected)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("seed", [3, 16])
def test_searches_of_a_torch_model_equal_the_reference(name: str, seed: int) -> None:
    options = {"language": "de", "sample_len": 25, **SEARCHES[name]}
    reference = random_whisper(51865, seed)
    model, tokenizer = speech_model(reference), get_tokenizer(True, language="de", task="transcribe")
    decoder = WindowDecoder(model, tokenizer, TranscribeOptions(temperature=0.0, **options))
    log_mel = random_log_mel(seed, 3)
    ours = decoder.decode(model.encode(log_mel), [WindowContext(tokenizer)] * 3, 0.0)
    for window in range(3):
        given = whisper.DecodingOptions(fp16=False, **copy.deepcopy(options))
        assert_equal(ours[window], reference.decode(torch.from_numpy(log_mel[window]), given))


BATCH_OPTIONS: dict[str, dict[str, Any]] = {
    **SEARCHES,
    "sampling": {"temperature": 0.7},
    "best of five": {"temperature": 1.0, "best_of": 5},
    "nucleus": {"temperature": 1.0, "top_p": 0.7, "best_of": 2, "sample_len": 30},
    "penalties": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
}


@pytest.mark.parametrize("name", BATCH_OPTIONS)
@pytest.mark.parametrize("n_text_ctx", [448, 30])
def test_every_window_of_a_batch_equals_itself_alone(name: str, n_text_ctx: int) -> None:
    """With prompts of different lengths, so that windows reach the end of the context at different steps."""
    options = TranscribeOptions(**{"temperature": 0.0, "language": "fr", "task": "translate", **BATCH_OPTIONS[name]})
    script = Script(dimensions("multilingual", n_text_ctx), seed=3, confidence=6.0)
    model, tokenizer = ScriptedModel(script), get_tokenizer(True, language="fr", task="translate")
    decoder = WindowDecoder(model, tokenizer, options)
    log_mel = random_log_mel(3, 5)
    windows = [WindowContext(tokenizer, list(range(500, 500 + 4 * index)), 3000 * index) for index in range(5)]
    temperature = options.temperatures[0]
    batch = decoder.decode(model.encode(log_mel), windows, temperature)
    alone = [decoder.decode(model.encode(log_mel[i : i + 1]), windows[i : i + 1], temperature)[0] for i in range(5)]
    assert batch == alone
    if name == "greedy":
        assert len({len(result.tokens) for result in batch}) > 1


@pytest.mark.parametrize("name", BATCH_OPTIONS)
def test_every_window_of_a_torch_batch_equals_itself_alone(name: str) -> None:
    options = TranscribeOptions(**{"temperature": 0.0, "language": "de", "sample_len": 20, **BATCH_OPTIONS[name]})
    model, tokenizer = speech_model(random_whisper(51865, 16)), get_tokenizer(True, language="de", task="transcribe")
    decoder = WindowDecoder(model, tokenizer, options)
    log_mel = random_log_mel(1, 4)
    windows = [WindowContext(tokenizer, list(range(700, 700 + length))) for length in (0, 40, 3, 40)]
    temperature = options.temperatures[0]
    batch = decoder.decode(model.encode(log_mel), windows, temperature)
    for window in range(4):
        alone = decoder.decode(model.encode(log_mel[window : window + 1]), windows[window : window + 1], temperature)
        assert_equal(batch[window], alone[0])


def test_nothing_said() -> None:
    """openai-whisper divides by zero where the end of the text is the first token; ours is an empty text."""

    class Silent(Script):
        def logits(self, window: int, tokens: Any) -> np.ndarray:
            logits = np.zeros(self.dims.n_vocab, dtype=np.float32)
            logits[self.tokenizer.eot] = 10
            return logits

    model = ScriptedModel(Silent(dimensions("multilingual"), seed=0))
    options = TranscribeOptions(temperature=0.0, language="en", suppress_blank=False, without_timestamps=True)
    decoder = WindowDecoder(model, get_tokenizer(True), options)
    (result,) = decoder.decode(model.encode(random_log_mel(0, 1)), [WindowContext(get_tokenizer(True))], 0.0)
    assert (result.tokens, result.text, result.compression_ratio) == ((), "", 0.0)
    n_allowed = 51865 - 6 - len(get_tokenizer(True).non_speech_tokens)
    assert result.avg_logprob == pytest.approx(-np.log(1 + (n_allowed - 1) * np.exp(-10)), abs=1e-4)


def test_compression_ratio_equals_the_reference() -> None:
    for text in ("", "a", "the same the same the same the same the same", "Ünïcödé 今日は", "x" * 5000):
        assert compression_ratio(text) == whisper.utils.compression_ratio(text)


def test_token_probability_is_a_softmax() -> None:
    logits = 5 * np.random.default_rng(0).standard_normal(51865, dtype=np.float32)
    expected = torch.from_numpy(logits).softmax(dim=-1)
    for token in (0, 77, int(logits.argmax())):
        assert token_probability(logits, token) == pytest.approx(float(expected[token]), rel=1e-5)
