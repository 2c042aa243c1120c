"""Recordings in which several languages are spoken, over a model that writes down which one it was told to write."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from max_whisper import Transcription
from max_whisper.decoding import mean_probabilities
from tests.backends.recordings import ScriptedTranscriber, assert_same_transcription, sample, silence
from tests.decoding.scripted import Script, ScriptedModel, dimensions


class Polyglot(Script):
    """Hears one of three languages in a window, and writes the code of the one that its prompt names."""

    def language(self, window: int) -> str:
        return ("de", "fr", "pl")[window % 3]

    def logits(self, window: int, tokens: Sequence[int]) -> np.ndarray:
        tokenizer, begin = self.tokenizer, self.tokenizer.timestamp_begin
        start = list(tokens).index(tokenizer.sot)
        logits = np.zeros(self.dims.n_vocab, np.float32)
        if len(tokens) == start + 1:
            logits[tokenizer.to_language_token(self.language(window))] = 20
            return logits
        written = tokenizer.all_language_codes[tokens[start + 1] - tokenizer.sot - 1]
        text = [begin, *tokenizer.encode(f" {written}"), begin + 50, tokenizer.eot]
        logits[text[len(tokens) - start - 3]] = 20
        return logits


class PolyglotModel(ScriptedModel):
    """Keeps the windows that it was given."""

    def __init__(self) -> None:
        super().__init__(Polyglot(dimensions("multilingual"), 0))
        self.windows: list[int] = []

    def encode(self, log_mel: np.ndarray) -> list[int]:
        windows = super().encode(log_mel)
        self.windows += windows
        return windows

    @property
    def heard(self) -> list[str]:
        """The languages of the windows."""
        assert isinstance(self.script, Polyglot)
        return [self.script.language(window) for window in self.windows]


@pytest.fixture
def model() -> PolyglotModel:
    return PolyglotModel()


def noise(seed: int, n_windows: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(n_windows * 480_000, dtype=np.float32)


def test_one_language_for_the_whole_recording(model: PolyglotModel) -> None:
    result = ScriptedTranscriber(model).transcribe(noise(0, 5))
    assert len(set(model.heard)) > 1
    assert result.language == model.heard[0]
    assert result.text.split() == [result.language] * 5


def test_a_language_for_each_window(model: PolyglotModel) -> None:
    result = ScriptedTranscriber(model).transcribe(noise(0, 5), multilingual=True)
    assert result.text.split() == [segment.text.strip() for segment in result.segments]
    by_window = dict(zip(model.windows, model.heard, strict=True))
    assert len(by_window) == 5
    assert result.text.split() == list(by_window.values())
    assert len(set(by_window.values())) > 1
    assert result.language == result.text.split()[0]


@pytest.mark.parametrize("options", [{}, {"multilingual": True}, {"language": "nl"}], ids=str)
def test_many_recordings_have_the_languages_that_they_have_alone(model: PolyglotModel, options: dict[str, Any]) -> None:
    transcriber = ScriptedTranscriber(model)
    audios = [noise(seed, 1 + seed % 3) for seed in range(6)]
    languages = set()
    for audio, ours in zip(audios, transcriber.transcribe_many(audios, batch_size=4, **options), strict=True):
        assert isinstance(ours, Transcription)
        assert_same_transcription(ours, transcriber.transcribe(audio, **options))
        languages.add(ours.language)
    assert languages == {"nl"} if options.get("language") else len(languages) > 1


def test_stretches_of_speech_have_languages_of_their_own(model: PolyglotModel) -> None:
    transcriber = ScriptedTranscriber(model)
    names = ("digits.flac", "weather.flac", "numbers.flac", "greeting.ogg", "kitchen.wav")
    audio = np.concatenate([part for name in names for part in (silence(4), sample(name))])
    together = transcriber.transcribe(audio, chunking="vad", batch_size=3, multilingual=True)
    assert together == transcriber.transcribe(audio, chunking="vad", batch_size=1, multilingual=True)
    assert len(together.segments) == len(names)
    assert len({segment.text for segment in together.segments}) > 1
    single = transcriber.transcribe(audio, chunking="vad", batch_size=3)
    assert {segment.text.strip() for segment in single.segments} == {single.language}


def test_the_mean_of_several_windows_decides(model: PolyglotModel) -> None:
    transcriber = ScriptedTranscriber(model)
    for seed in range(20):
        model.windows.clear()
        code, probabilities = transcriber.detect_language(noise(seed, 3), segments=3)
        first, second, third = model.heard
        if first != second == third:
            break
    assert code == second
    assert transcriber.detect_language(noise(seed, 3))[0] == first
    every = [{code: float(code == heard) for code in probabilities} for heard in model.heard[:3]]
    assert probabilities == pytest.approx(mean_probabilities(every), abs=1e-4)
    result = transcriber.transcribe(noise(seed, 3), language_detection_segments=3)
    assert (result.language, result.language_probabilities) == (code, pytest.approx(probabilities))
