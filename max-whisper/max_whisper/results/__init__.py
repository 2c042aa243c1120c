"""What a transcription gives, and the text files that it is written to."""

from max_whisper.results.segment import Segment, Word
from max_whisper.results.transcription import Transcription

__all__ = ["Segment", "Transcription", "Word"]
