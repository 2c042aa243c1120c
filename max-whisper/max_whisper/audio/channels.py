"""The channels of a sound: one of them chosen, or all mixed, and whether the mix loses what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from max_whisper.audio.layouts import channel_index, listed_channels, mixing_gains
from max_whisper.errors import AudioError

if TYPE_CHECKING:
    import av

LOUDEST = 4.0  # of float samples, whose full scale is 1: the sum of four voices at their loudest

_PACKED = {"s16": 1 / 2**15, "s32": 1 / 2**31, "u8": 1 / 2**7, "flt": 1.0, "dbl": 1.0}  # formats, and 1 / full scale
_FLOATS = ("flt", "dbl")

_MOST_PLANES = 8  # from so many on PyAV looks for more planes than a frame has

_LOOKS = 4  # frames of each second that are looked at
_LOOKED_AT = 2048  # samples of a frame
_BLOCK = 4  # looks that are judged together, 1 s
_CANCELLED = 0.1  # power of the mix, where it would be 1 if the channels had nothing in common: 10 dB are lost
_SILENT = 1e-9  # mean square of a block that is silence, 90 dB below full scale
_WARNED_SHARE = 0.1  # of the power of all blocks: so much is no single effect of a film, and no noise between words
_EVIDENT, _EVIDENT_SHARE = 30, 0.5  # blocks with sound after which, and the share with which, no end is waited for


def selected(
    frames: Iterator[av.AudioFrame], channel: int | str, declared: av.AudioLayout, name: str
) -> Iterator[av.AudioFrame]:
    """Frames of one channel of frames of any layout, in the same sample format and at the same times.

    channel: counted from 1, or its name ('left', 'FL', 'front left'). declared: the layout that the file states. A
    mono stretch of a file that states several channels is taken as it is. name: of the file, in messages.

    Raises AudioError, with the channels that there are, where the channel is not among them.
    """
    import av

    for frame in frames:
        # Of as many channels the file's own names count: a layout of frames may be a count alone.
        layout = declared if frame.layout.nb_channels == declared.nb_channels else frame.layout
        index = channel_index(layout, channel)
        if index is None and layout.nb_channels == 1 and channel_index(declared, channel) is not None:
            index = 0
        if index is None:
            raise AudioError(f"{name} has no channel {channel}; give one of those it has: {listed_channels(layout)}")
        planes, format = _planes(frame)
        one = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes[None, index]), format=format, layout="mono")
        one.sample_rate, one.pts, one.time_base = frame.sample_rate, frame.pts, frame.time_base
        yield one


class MixWatch:
    """Looks at a few frames of each second of a sound that is mixed to one channel, for what spoils the mix.

    Channels that are out of phase cancel each other; and float samples far beyond 1 are cut there. What is found is
    told once, in a line, at the end of the sound or, where it is evident, after half a minute. A file may have several
    sounds, one after the other.
    """

    def __init__(self, name: str, tell: Callable[[str], None]) -> None:
        """name: of the recording. tell: called with the line."""
        self._name = name
        self._tell = tell
        self._has_told = False
        self._layout: av.AudioLayout | None = None
        self._gains: NDArray[np.float32] = np.zeros(0, np.float32)  # [channels], with which FFmpeg mixes them
        self._format = ""
        self._block: list[NDArray[Any]] = []  # the samples of each look, [channels, n]
        self._peak = 0.0  # of float samples
        self._n_blocks = 0  # with sound
        self._power = 0.0  # of all blocks, as if their channels had nothing in common
        self._cancelled = 0.0  # of those blocks whose mix is far below that

    def over(self, frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
        """The same frames."""
        due = 0.0  # seconds to the next look
        for frame in frames:
            if due <= 0:
                self._look(frame)
                due += 1 / _LOOKS
            due -= frame.samples / frame.sample_rate
            yield frame
        self._end_block()
        self._judge(_WARNED_SHARE)
        if self._peak > LOUDEST:
            self._tell_once(
                f"{self._name} has float samples up to {self._peak:.5g}, which are cut at 1; write it again with "
                "samples in [-1, 1], or as integers"
            )

    def _look(self, frame: av.AudioFrame) -> None:
        if frame.samples == 0 or (frame.layout.nb_channels == 1 and frame.format.name[:3] not in _FLOATS):
            return
        planes, format = _planes(frame)
        if (frame.layout, format) != (self._layout, self._format):
            self._end_block()
            self._layout, self._format, self._gains = frame.layout, format, mixing_gains(frame.layout, self._name)
        self._block.append(planes[:, :_LOOKED_AT])
        if len(self._block) == _BLOCK:
            self._end_block()
            if self._n_blocks == _EVIDENT:
                self._judge(_EVIDENT_SHARE)

    def _end_block(self) -> None:
        """Judge the looks since the block before."""
        if not self._block:
            return
        planes = np.ascontiguousarray(np.concatenate(self._block, axis=1))
        self._block.clear()
        if self._format in _FLOATS:
            peak = float(np.abs(planes).max())
            self._peak = max(self._peak, peak if np.isfinite(peak) else np.inf)
        if len(planes) == 1 or self._peak > LOUDEST:
            return
        samples = planes.astype(np.float32) * np.float32(_PACKED[self._format])
        samples -= samples.mean(axis=1, keepdims=True)  # a constant is no sound, and cheap converters have one
        apart = float(np.square(self._gains) @ np.square(samples).mean(axis=1))
        if apart > _SILENT:
            mixed = float(np.square(self._gains @ samples).mean())
            self._n_blocks += 1
            self._power += apart
            self._cancelled += apart if mixed < _CANCELLED * apart else 0.0

    def _judge(self, least_share: float) -> None:
        """Tell of channels that cancel in at least so much of the sound."""
        if self._layout is not None and self._cancelled > least_share * self._power:
            self._tell_once(
                f"{self._name} has channels out of phase, which cancel each other in the mix "
                f"({self._cancelled / self._power:.0%} of the sound); "
                f"give one of them as channel: {listed_channels(self._layout)}"
            )

    def _tell_once(self, line: str) -> None:
        if not self._has_told:
            self._has_told = True
            self._tell(line)


def _planes(frame: av.AudioFrame) -> tuple[NDArray[Any], str]:
    """The samples of a frame, [channels, n], and the name of their format where it is packed."""
    import av

    format = frame.format.name.removesuffix("p")
    if format not in _PACKED:  # 64-bit integers, for which PyAV has no arrays
        format = "dbl"
    if format not in frame.format.name or (frame.format.is_planar and frame.layout.nb_channels >= _MOST_PLANES):
        (frame,) = av.AudioResampler(format, frame.layout, frame.sample_rate).resample(frame)
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(frame.samples, frame.layout.nb_channels).T
    return array, format
