"""Options are checked at the door, each with its one line."""

import inspect
from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest
import whisper

from max_whisper.errors import OptionError
from max_whisper.options import TranscribeOptions
from tests.decoding.scripted import dimensions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.4}, "temperature: only 0.0 (greedy) is available, got 0.4"),
        ({"temperature": (0.0, 0.2)}, "temperature: only 0.0 (greedy) is available, got (0.0, 0.2)"),
        ({"temperature": None}, "temperature: only 0.0 (greedy) is available, got None"),
        ({"temperature": float("nan")}, "temperature: only 0.0 (greedy) is available, got nan"),
        ({"temperature": False}, "temperature: only 0.0 (greedy) is available, got False"),
        ({"language": "Germn"}, "language: Whisper has no language 'Germn'; did you mean german"),
        ({"language": 7}, "language: a code or a name, got 7"),
        ({"task": "summarize"}, "task: 'transcribe' or 'translate', got 'summarize'"),
        ({"task": None}, "task: 'transcribe' or 'translate', got None"),
        ({"without_timestamps": "yes"}, "without_timestamps: True or False, got 'yes'"),
        ({"condition_on_previous_text": None}, "condition_on_previous_text: True or False, got None"),
        ({"suppress_blank": 1}, "suppress_blank: True or False, got 1"),
        ({"no_speech_threshold": "0.6"}, "no_speech_threshold: a number or None, got '0.6'"),
        ({"logprob_threshold": float("nan")}, "logprob_threshold: a number or None, got nan"),
        ({"compression_ratio_threshold": True}, "compression_ratio_threshold: a number or None, got True"),
        ({"suppress_tokens": "1,b"}, "suppress_tokens: token numbers, -1 for the usual ones, or None, got '1,b'"),
        ({"suppress_tokens": 5}, "suppress_tokens: token numbers"),
        ({"suppress_tokens": [-2]}, "suppress_tokens: token numbers"),
        ({"suppress_tokens": [1.5]}, "suppress_tokens: token numbers"),
        ({"max_initial_timestamp": -1}, "max_initial_timestamp: seconds from 0 to 30, or None, got -1"),
        ({"max_initial_timestamp": 31.0}, "max_initial_timestamp: seconds from 0 to 30, or None, got 31.0"),
        ({"sample_len": 0}, "sample_len: a number of tokens of at least 1, or None, got 0"),
        ({"sample_len": 2.5}, "sample_len: a number of tokens of at least 1, or None, got 2.5"),
        ({"temprature": 0}, "temprature: no such option; did you mean temperature?"),
        ({"beam_size": 5}, "beam_size: no such option; "),
    ],
)
def test_wrong_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as raised:
        TranscribeOptions.from_keywords(options)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_defaults_are_the_references() -> None:
    """As openai-whisper's at temperature 0, where an option has the same name there."""
    defaults: dict[str, Any] = {}
    for function in (whisper.transcribe, whisper.DecodingOptions):
        for name, parameter in inspect.signature(function).parameters.items():
            defaults.setdefault(name, parameter.default)
    defaults |= {"temperature": 0.0}
    for option in fields(TranscribeOptions):
        assert option.default == defaults[option.name], option.name


def test_values_are_kept_in_one_form() -> None:
    options = TranscribeOptions(language=" Mandarin", temperature=0, suppress_tokens="-1, 50")
    assert (options.language, options.temperature, options.suppressed) == ("zh", 0.0, (-1, 50))
    assert isinstance(options.temperature, float)
    assert TranscribeOptions(temperature=np.float32(0)) == TranscribeOptions()
    nothings: list[Any] = [None, "", " ", [], ()]
    assert [TranscribeOptions(suppress_tokens=nothing).suppressed for nothing in nothings] == [()] * 5
    assert TranscribeOptions(suppress_tokens=iter(np.array([3, 4]))).suppressed == (3, 4)
    for infinite in ("no_speech_threshold", "logprob_threshold", "compression_ratio_threshold"):
        assert getattr(TranscribeOptions.from_keywords({infinite: float("inf")}), infinite) == float("inf")


def test_options_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        TranscribeOptions().language = "de"  # type: ignore[misc]


def test_resolve_for_an_english_only_model() -> None:
    dims = dimensions("english")
    assert TranscribeOptions().resolve(dims).language == "en"
    assert TranscribeOptions(language="English").resolve(dims).language == "en"
    with pytest.raises(OptionError, match=r"language: this model knows English only, got 'de' \(german\)"):
        TranscribeOptions(language="german").resolve(dims)
    with pytest.raises(OptionError, match="task: an English-only model cannot translate"):
        TranscribeOptions(task="translate").resolve(dims)


def test_resolve_for_a_multilingual_model() -> None:
    options = TranscribeOptions(task="translate")
    assert options.resolve(dimensions("multilingual")) == options
    cantonese = TranscribeOptions(language="yue")
    assert cantonese.resolve(dimensions("large-v3")) == cantonese
    with pytest.raises(OptionError, match=r"language: this model has no cantonese \(yue\)"):
        cantonese.resolve(dimensions("multilingual"))
    with pytest.raises(OptionError, match="suppress_tokens: this model's tokens end at 51864, got 51865"):
        TranscribeOptions(suppress_tokens=[-1, 51865]).resolve(dimensions("multilingual"))
