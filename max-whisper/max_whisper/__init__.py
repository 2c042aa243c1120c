"""OpenAI Whisper speech recognition on MAX Graph.

import max_whisper

model = max_whisper.load_model("nano")
print(model.transcribe("talk.mp3").text)
"""

from max_whisper.audio import AudioWarning, load_audio
from max_whisper.audio.vad import VadParameters
from max_whisper.backends.factory import available_models
from max_whisper.errors import AudioError, CheckpointError, DeviceError, MaxWhisperError, OptionError
from max_whisper.options import TranscribeOptions
from max_whisper.results import Segment, Transcription, Word
from max_whisper.transcriber import Transcriber, TranscriptionStream, compile_model, load_model
from max_whisper.version import __version__

__all__ = [
    "AudioError",
    "AudioWarning",
    "CheckpointError",
    "DeviceError",
    "MaxWhisperError",
    "OptionError",
    "Segment",
    "TranscribeOptions",
    "Transcriber",
    "Transcription",
    "TranscriptionStream",
    "VadParameters",
    "Word",
    "__version__",
    "available_models",
    "compile_model",
    "load_audio",
    "load_model",
]
