"""The events of several recordings that are transcribed together."""

from __future__ import annotations

from dataclasses import dataclass

from max_whisper.results.segment import Segment
from max_whisper.results.transcription import Transcription


@dataclass(frozen=True)
class RecordingEvent:
    """What has become of one of several recordings: a segment that is final, or at last its outcome."""

    number: int  # of the recording, from 0
    content: Segment | Transcription | Exception  # an error is the outcome of a recording that failed
    language: str = ""  # of a segment: the code of the recording's language
