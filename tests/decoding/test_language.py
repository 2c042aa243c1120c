"""Language detection against openai-whisper's."""

import numpy as np
import pytest
import torch

from max_whisper.decoding import detect_language
from max_whisper.errors import OptionError
from max_whisper.tokenizer import get_tokenizer
from tests.decoding.scripted import Script, ScriptedModel, ScriptedReference, dimensions


@pytest.mark.parametrize("vocabulary", ["multilingual", "large-v3"])
def test_languages_equal_the_reference(vocabulary: str) -> None:
    found = set()
    for seed in range(5):
        script = Script(dimensions(vocabulary), seed)
        log_mel = np.random.default_rng(seed).standard_normal((1, 80, 3000), dtype=np.float32)
        token, expected = ScriptedReference(script).detect_language(torch.from_numpy(log_mel[0]))
        model, tokenizer = ScriptedModel(script), get_tokenizer(True, num_languages=script.dims.num_languages)
        code, probabilities = detect_language(model, model.encode(log_mel), tokenizer)
        assert tokenizer.to_language_token(code) == int(token)
        assert probabilities == pytest.approx(expected, abs=1e-6)
        assert sum(probabilities.values()) == pytest.approx(1)
        found.add(code)
    assert len(found) > 1


def test_english_only() -> None:
    model = ScriptedModel(Script(dimensions("english"), seed=0))
    with pytest.raises(OptionError, match="English-only"):
        detect_language(model, [0], get_tokenizer(False))
