"""One batch of windows against openai-whisper's decoding of each."""

from typing import Any

import numpy as np
import pytest
import torch
import whisper
import whisper.utils

from max_whisper.decoding import DecodingResult, WindowDecoder
from max_whisper.decoding.decode import compression_ratio, token_probability
from max_whisper.options import TranscribeOptions
from max_whisper.tokenizer import get_tokenizer
from tests.decoding.scripted import Script, ScriptedModel, ScriptedReference, dimensions
from tests.decoding.torch_model import TorchSpeechModel, random_whisper


def assert_equal(ours: DecodingResult, reference: Any) -> None:
    assert list(ours.tokens) == reference.tokens
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
    options = TranscribeOptions(language="en", sample_len=8, without_timestamps=without_timestamps)
    tokenizer = get_tokenizer(script.dims.is_multilingual, language="en", task="transcribe")
    results = WindowDecoder(model, tokenizer, options).decode(model.encode(log_mel), [prompt])
    assert len(results) == 1
    assert_equal(results[0], reference)


def test_every_window_of_a_batch_equals_itself_alone() -> None:
    script = Script(dimensions("multilingual"), seed=3)
    model, tokenizer = ScriptedModel(script), get_tokenizer(True, language="fr", task="translate")
    decoder = WindowDecoder(model, tokenizer, TranscribeOptions(language="fr", task="translate"))
    log_mel, prompts = random_log_mel(3, 5), [[index, 11] for index in range(5)]
    batch = decoder.decode(model.encode(log_mel), prompts)
    alone = [decoder.decode(model.encode(log_mel[i : i + 1]), prompts[i : i + 1])[0] for i in range(5)]
    assert batch == alone
    assert len({len(result.tokens) for result in batch}) > 1


def test_a_batch_of_a_torch_model_equals_the_reference() -> None:
    reference = random_whisper(51865, 16)
    model, tokenizer = TorchSpeechModel(reference), get_tokenizer(True, language="de", task="transcribe")
    log_mel = random_log_mel(0, 3)
    expected = reference.decode(
        torch.from_numpy(log_mel), whisper.DecodingOptions(language="de", fp16=False, sample_len=30)
    )
    decoder = WindowDecoder(model, tokenizer, TranscribeOptions(language="de", sample_len=30))
    for ours, result in zip(decoder.decode(model.encode(log_mel), [[]] * 3), expected, strict=True):
        assert_equal(ours, result)


def test_nothing_said() -> None:
    """openai-whisper divides by zero where the end of the text is the first token; ours is an empty text."""

    class Silent(Script):
        def logits(self, window: int, tokens: Any) -> np.ndarray:
            logits = np.zeros(self.dims.n_vocab, dtype=np.float32)
            logits[self.tokenizer.eot] = 10
            return logits

    model = ScriptedModel(Silent(dimensions("multilingual"), seed=0))
    options = TranscribeOptions(language="en", suppress_blank=False, without_timestamps=True)
    decoder = WindowDecoder(model, get_tokenizer(True), options)
    (result,) = decoder.decode(model.encode(random_log_mel(0, 1)), [[]])
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
