"""Where there is speech in a recording: Silero VAD, spans of speech, and times mapped back from the speech alone."""

from typing import TYPE_CHECKING

from max_whisper import lazily

if TYPE_CHECKING:
    from max_whisper.audio.vad.detector import SpeechDetector
    from max_whisper.audio.vad.find import Stretch, find_speech, read_speech
    from max_whisper.audio.vad.network import FRAME_SAMPLES
    from max_whisper.audio.vad.parameters import CHUNKED, VadParameters
    from max_whisper.audio.vad.spans import Span, SpeechChunks, SpeechSpans, pack_spans, speech_spans
    from max_whisper.audio.vad.times import SpeechTimes, Spoken
else:
    __getattr__, __dir__ = lazily.names_of(
        __name__,
        {
            "detector": ["SpeechDetector"],
            "find": ["Stretch", "find_speech", "read_speech"],
            "network": ["FRAME_SAMPLES"],
            "parameters": ["CHUNKED", "VadParameters"],
            "spans": ["Span", "SpeechChunks", "SpeechSpans", "pack_spans", "speech_spans"],
            "times": ["SpeechTimes", "Spoken"],
        },
    )

__all__ = [
    "CHUNKED",
    "FRAME_SAMPLES",
    "Span",
    "SpeechChunks",
    "SpeechDetector",
    "SpeechSpans",
    "SpeechTimes",
    "Spoken",
    "Stretch",
    "VadParameters",
    "find_speech",
    "pack_spans",
    "read_speech",
    "speech_spans",
]
