"""Sound on the time line of its container: where the time stamps leave a gap, or begin late, there is silence.

A player shows the times of the container, so text with these times fits. Its start is time 0, as in `ffmpeg` and mpv,
even where its first time stamp is another: a transport stream may begin at any hour.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av

# Seconds. Time stamps are rounded, and the streams of a film seldom begin together: what is no longer than this is no
# gap. FFmpeg's `aresample=async=1` leaves as much alone (min_hard_comp), and nobody sees it in a subtitle.
_JITTER = 0.1
# A leap back by so many seconds starts another count of the time, that of a file joined to the first. FFmpeg takes as
# many (dts_delta_threshold).
_RESTART = 10.0
_CONFIRMATION = 0.5  # seconds of sound that have to follow a leap before it is believed: a damaged stamp leaps back
_LONGEST = 3600.0  # seconds of silence, all gaps together, where no header declares how long the recording is
_BEYOND = 1.0  # seconds after the end that a header declares, which may be rounded, at which there may be sound


def on_timeline(
    frames: Iterable[av.AudioFrame], start: float | None, end: float | None, disbelieve: Callable[[float], None]
) -> Iterator[av.AudioFrame]:
    """The frames, and frames of silence before each that begins more than 0.1 s after the end of those before it.

    All frames are given as they are. One that overlaps moves those after it, until the next gap makes up for that. A
    gap that reaches beyond the declared end, or makes more than an hour of silence where none is declared, is left out,
    and the time goes on from there. The frames of half a second are held; silence comes in pieces of a second.

    Args:
        frames: in order, with their times in seconds of the container's clock.
        start: at which the container starts, in seconds of this clock; None: with the first frame.
        end: at which a header says that it ends; None where none does.
        disbelieve: called with the seconds of every gap that is left out.
    """
    coming = _LookAhead(frames)
    position: float | None = None  # seconds, where the next frame will begin
    shift = 0.0  # from time stamps to positions
    silent = 0.0
    for frame in coming:
        stamp = None if frame.time is None else frame.time + shift
        if position is None:
            position = _first_position(stamp, start)
        late = 0.0 if stamp is None else stamp - position
        if late > _JITTER and coming.stands(first=frame.time):
            if silent + late <= _LONGEST if end is None else position + late <= end + _BEYOND:
                silent += late
                for silence in _silence(frame, late):
                    position += silence.samples / silence.sample_rate
                    yield silence
            else:
                disbelieve(late)
                shift -= late
        elif late < -_RESTART and coming.stands(before=position - shift):
            shift -= late
        position += frame.samples / frame.sample_rate
        yield frame


class _LookAhead:
    """An iterator over frames that can be asked about those that are still to come."""

    def __init__(self, frames: Iterable[av.AudioFrame]) -> None:
        self._frames = iter(frames)
        self._ahead: deque[av.AudioFrame] = deque()

    def __iter__(self) -> Iterator[av.AudioFrame]:
        while self._ahead or self._read():
            yield self._ahead.popleft()

    def stands(self, first: float = -math.inf, before: float = math.inf) -> bool:
        """Whether the frames of the next half second, or up to the end, have their stamps in [first, before)."""
        seconds = 0.0
        number = 0
        while seconds < _CONFIRMATION and (number < len(self._ahead) or self._read()):
            frame = self._ahead[number]
            if frame.time is not None and not first <= frame.time < before:
                return False
            seconds += frame.samples / frame.sample_rate
            number += 1
        return True

    def _read(self) -> bool:
        frame = next(self._frames, None)
        if frame is not None:
            self._ahead.append(frame)
        return frame is not None


def _first_position(stamp: float | None, start: float | None) -> float:
    """Where the first frame's position is counted from: the container's start, if the frame begins late."""
    if stamp is None:
        return start or 0.0
    return stamp if start is None or stamp - start <= _JITTER else start


def _silence(frame: av.AudioFrame, seconds: float) -> Iterator[av.AudioFrame]:
    """Silence in the format of a frame, rounded to whole samples, no piece longer than a second."""
    import av

    # PyAV cannot reach the planes of more than eight channels.
    format = frame.format if len(frame.layout.channels) <= 8 else frame.format.packed
    zero = b"\x80" if format.name.startswith("u8") else b"\0"
    n_samples = round(seconds * frame.sample_rate)
    for start in range(0, n_samples, frame.sample_rate):
        samples = min(frame.sample_rate, n_samples - start)
        silence = av.AudioFrame(format=format.name, layout=frame.layout, samples=samples)
        silence.sample_rate = frame.sample_rate
        for plane in silence.planes:
            plane.update(zero * plane.buffer_size)
        yield silence
