"""Sounds without speech give no text: 90 s of each; `python -m benchmarks.nonspeech` has twenty minutes."""

from typing import Any

import pytest

from benchmarks.nonspeech import SOUNDS, sound
from max_whisper.transcriber import Transcriber


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_without_speech_give_no_text(nano: Transcriber, name: str) -> None:
    assert nano.transcribe(sound(name, 90)).text == ""


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("options", [{"vad_filter": True}, {"chunking": "vad", "batch_size": 4}], ids=str)
def test_where_speech_is_looked_for_there_is_no_text(nano: Transcriber, name: str, options: dict[str, Any]) -> None:
    result = nano.transcribe(sound(name, 90), **options)
    assert (result.text, result.segments) == ("", ())
