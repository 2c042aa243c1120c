"""Where there is speech in a recording: Silero VAD, spans of speech, and times mapped back from the speech alone."""

from max_whisper.audio.vad.detector import SpeechDetector
from max_whisper.audio.vad.find import find_speech
from max_whisper.audio.vad.network import FRAME_SAMPLES
from max_whisper.audio.vad.parameters import BATCHED, VadParameters
from max_whisper.audio.vad.spans import Span, pack_spans, speech_spans
from max_whisper.audio.vad.times import SpeechTimes

__all__ = [
    "BATCHED",
    "FRAME_SAMPLES",
    "Span",
    "SpeechDetector",
    "SpeechTimes",
    "VadParameters",
    "find_speech",
    "pack_spans",
    "speech_spans",
]
