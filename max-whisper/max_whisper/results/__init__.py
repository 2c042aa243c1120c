"""What a transcription gives, and the text files that it is written to."""

from max_whisper.results.event import RecordingEvent
from max_whisper.results.segment import Segment, Word
from max_whisper.results.transcription import Transcription

__all__ = ["RecordingEvent", "Segment", "Transcription", "Word"]
