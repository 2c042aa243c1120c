"""What a transcription and the loading of a model can be told: the options, and their names in other programs."""

from max_whisper.options.loading import LoadOptions
from max_whisper.options.transcribe import NOT_IN_REFERENCE, TranscribeOptions

__all__ = ["NOT_IN_REFERENCE", "LoadOptions", "TranscribeOptions"]
