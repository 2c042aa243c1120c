"""OpenAI Whisper speech recognition on MAX Graph.

    import max_whisper

    model = max_whisper.load_model("turbo")
    print(model.transcribe("talk.mp3").text)

`load_model` gives a `Transcriber`, whose `transcribe` gives a `Transcription`: its text, its `Segment`s with times in
seconds, its language. Options are keywords, under openai-whisper's names, or an object, `TranscribeOptions`. Every
error that a user can cause is a `MaxWhisperError` with a message of one line. Names are imported when they are first
asked for.
"""

from typing import TYPE_CHECKING

from max_whisper import lazily

if TYPE_CHECKING:
    from max_whisper.audio.recording import AudioWarning, load_audio
    from max_whisper.audio.vad.parameters import VadParameters
    from max_whisper.backends.factory import available_models
    from max_whisper.errors import (
        AudioError,
        CheckpointError,
        CheckpointWarning,
        DeviceError,
        DownloadError,
        MaxWhisperError,
        NonFiniteError,
        OptionError,
        PrecisionWarning,
    )
    from max_whisper.options.transcribe import TranscribeOptions
    from max_whisper.progress import Progress, Step
    from max_whisper.results.event import RecordingEvent
    from max_whisper.results.segment import Segment, Word
    from max_whisper.results.transcription import Transcription
    from max_whisper.transcriber import Transcriber, TranscriptionStream, compile_model, load_model
    from max_whisper.version import __version__
else:
    __getattr__, __dir__ = lazily.names_of(
        __name__,
        {
            "audio.recording": ["AudioWarning", "load_audio"],
            "audio.vad.parameters": ["VadParameters"],
            "backends.factory": ["available_models"],
            "errors": [
                "AudioError",
                "CheckpointError",
                "CheckpointWarning",
                "DeviceError",
                "DownloadError",
                "MaxWhisperError",
                "NonFiniteError",
                "OptionError",
                "PrecisionWarning",
            ],
            "options.transcribe": ["TranscribeOptions"],
            "progress": ["Progress", "Step"],
            "results.event": ["RecordingEvent"],
            "results.segment": ["Segment", "Word"],
            "results.transcription": ["Transcription"],
            "transcriber": ["Transcriber", "TranscriptionStream", "compile_model", "load_model"],
            "version": ["__version__"],
        },
    )

__all__ = [
    "AudioError",
    "AudioWarning",
    "CheckpointError",
    "CheckpointWarning",
    "DeviceError",
    "DownloadError",
    "MaxWhisperError",
    "NonFiniteError",
    "OptionError",
    "PrecisionWarning",
    "Progress",
    "RecordingEvent",
    "Segment",
    "Step",
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
