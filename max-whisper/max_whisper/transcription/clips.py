"""The parts of a recording that are transcribed, and times that stay in them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from max_whisper.audio.constants import FRAMES_PER_SECOND
from max_whisper.results import Segment


@dataclass(frozen=True)
class Clip:
    """A part of the recording, to its end at most."""

    first: int  # mel frame (10 ms each)
    stop: int  # mel frame after the last one
    start: float  # seconds from the beginning of the recording
    end: float

    def clamped(self, segment: Segment) -> Segment:
        """A segment and its words, as far as they are in the clip.

        The timestamps of a model go on to the end of its window of 30 s, into the silence behind a recording or the
        sound behind a clip. What lies there as a whole is put at the clip's end, without length.
        """
        words = segment.words and tuple(
            replace(word, start=self._clamped(word.start), end=self._clamped(word.end)) for word in segment.words
        )
        return replace(segment, start=self._clamped(segment.start), end=self._clamped(segment.end), words=words)

    def _clamped(self, seconds: float) -> float:
        return min(max(seconds, self.start), self.end)


def clips_of(points: Sequence[float], content_frames: int) -> list[Clip]:
    """The clips from one point to the next, with a pause after every second one, in their order.

    points: seconds, ascending; an odd number runs to the end of the recording.
    content_frames: mel frames of the recording.
    """
    content = content_frames / FRAMES_PER_SECOND
    ends = [*points[1::2], content] if len(points) % 2 else points[1::2]
    return [
        Clip(
            round(start * FRAMES_PER_SECOND),
            min(round(end * FRAMES_PER_SECOND), content_frames),
            start,
            min(end, content),
        )
        for start, end in zip(points[::2], ends, strict=True)
    ]


def clamped(segments: Sequence[Segment], clips: Sequence[Clip]) -> tuple[Segment, ...]:
    """The segments of all clips, each as far as it is in its own, which is the clip of its window."""
    firsts = [clip.first for clip in clips]
    return tuple(clips[bisect_right(firsts, segment.seek) - 1].clamped(segment) for segment in segments)
