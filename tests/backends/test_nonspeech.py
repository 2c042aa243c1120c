"""Sounds without speech give no text: 90 s of each; `python -m benchmarks.nonspeech` has twenty minutes."""

from typing import Any

import pytest

from benchmarks.nonspeech import SOUNDS, sound
from max_whisper.transcriber import Transcriber

# What nano knows: its training had silence, hiss and hum without text, but neither loud noise nor music.
KNOWN = ("silence", "dither", "quiet white noise", "quiet pink noise", "hum")

# Silero VAD takes a few seconds of a melody for speech.
NO_SPEECH = [name for name in SOUNDS if name != "melody"]


@pytest.mark.parametrize("name", KNOWN)
def test_silence_and_quiet_noise_give_no_text(nano: Transcriber, name: str) -> None:
    assert nano.transcribe(sound(name, 90)).text == ""


@pytest.mark.parametrize("name", NO_SPEECH)
@pytest.mark.parametrize("options", [{"vad_filter": True}, {"batch_size": 4}], ids=str)
def test_where_speech_is_looked_for_there_is_no_text(nano: Transcriber, name: str, options: dict[str, Any]) -> None:
    result = nano.transcribe(sound(name, 90), **options)
    assert (result.text, result.segments) == ("", ())
