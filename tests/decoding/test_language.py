"""Language detection against openai-whisper's."""

import numpy as np
import pytest
import torch

from max_whisper.decoding import language_probabilities, mean_probabilities, most_probable_language
from max_whisper.errors import OptionError
from max_whisper.models.whisper.tokenizer import get_tokenizer
from tests.decoding.scripted import Script, ScriptedModel, ScriptedReference, dimensions


@pytest.mark.parametrize("vocabulary", ["multilingual", "large-v3"])
def test_languages_equal_the_reference(vocabulary: str) -> None:
    found = set()
    for seed in range(5):
        script = Script(dimensions(vocabulary), seed)
        log_mel = np.random.default_rng(seed).standard_normal((1, 80, 3000), dtype=np.float32)
        token, expected = ScriptedReference(script).detect_language(torch.from_numpy(log_mel[0]))
        model, tokenizer = ScriptedModel(script), get_tokenizer(True, num_languages=script.dims.num_languages)
        (probabilities,) = language_probabilities(model, model.encode(log_mel), 1, tokenizer)
        code = most_probable_language(probabilities)
        assert tokenizer.to_language_token(code) == int(token)
        assert probabilities == pytest.approx(expected, abs=1e-6)
        assert sum(probabilities.values()) == pytest.approx(1)
        found.add(code)
    assert len(found) > 1


def test_english_only() -> None:
    model = ScriptedModel(Script(dimensions("english"), seed=0))
    with pytest.raises(OptionError, match="English-only"):
        language_probabilities(model, [0], 1, get_tokenizer(False))


def test_several_windows() -> None:
    """Each window of a batch has its own languages; of several the mean decides."""
    model, tokenizer = ScriptedModel(Script(dimensions("multilingual"), 0)), get_tokenizer(True)
    log_mel = np.random.default_rng(0).standard_normal((4, 80, 3000), dtype=np.float32)
    features = model.encode(log_mel)
    every = language_probabilities(model, features, 4, tokenizer)
    for probabilities, window in zip(every, features, strict=True):
        assert probabilities == pytest.approx(language_probabilities(model, [window], 1, tokenizer)[0], abs=1e-7)
    mean = mean_probabilities(every)
    assert mean["de"] == pytest.approx(np.mean([window["de"] for window in every]))
    assert sum(mean.values()) == pytest.approx(1)
