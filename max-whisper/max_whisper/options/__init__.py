"""What a transcription can be told: the options, their checks, and their names in other programs."""

from max_whisper.options.transcribe import NOT_IN_REFERENCE, TranscribeOptions

__all__ = ["NOT_IN_REFERENCE", "TranscribeOptions"]
