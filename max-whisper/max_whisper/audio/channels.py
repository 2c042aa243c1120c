"""The channels of a sound: one of them chosen, or all mixed, and whether the mix loses what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from max_whisper.errors import AudioError

if TYPE_CHECKING:
    import av

LOUDEST = 4.0  # of float samples, whose full scale is 1: the sum of four voices at their loudest

_NAMES = {"left": "FL", "right": "FR", "center": "FC", "centre": "FC"}
_UNNAMED = "NONE"  # PyAV's name of a channel in a layout that is a count alone, as in a plain WAV file
_USUAL = {1: "mono", 2: "stereo"}  # what such a count means; more of them are as often microphones of a room
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
        index = _index(frame.layout, channel)
        if index is None and frame.layout.nb_channels == 1 and _index(declared, channel) is not None:
            index = 0
        if index is None:
            raise AudioError(f"{name} has no channel {channel}; give one of those it has: {_listed(frame.layout)}")
        planes, format = _planes(frame)
        one = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes[None, index]), format=format, layout="mono")
        one.sample_rate, one.pts, one.time_base = frame.sample_rate, frame.pts, frame.time_base
        yield one


class MixWatch:
    """Looks at a few frames of each second of a sound that is mixed to one channel, for what spoils the mix.

    Channels that are out of phase cancel each other; and float samples far beyond 1 are cut there. What is found is
    told once, in a line, at the end of the sound or, where it is evident, after half a minute.
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
            self._tell(
                f"{self._name} has float samples up to {self._peak:.5g}, which are cut at 1; write it again with "
                "samples in [-1, 1], or as integers"
            )

    def _look(self, frame: av.AudioFrame) -> None:
        if frame.samples == 0 or (frame.layout.nb_channels == 1 and frame.format.name[:3] not in _FLOATS):
            return
        planes, format = _planes(frame)
        if (frame.layout, format) != (self._layout, self._format):
            self._end_block()
            self._layout, self._format, self._gains = frame.layout, format, _mixing_gains(frame.layout)
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
        if self._has_told or self._layout is None or self._cancelled <= least_share * self._power:
            return
        self._has_told = True
        self._tell(
            f"{self._name} has channels out of phase, which cancel each other in the mix "
            f"({self._cancelled / self._power:.0%} of the sound); give one of them as channel: {_listed(self._layout)}"
        )


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


def _mixing_gains(layout: av.AudioLayout) -> NDArray[np.float32]:
    """The factors with which FFmpeg mixes the channels of a layout to one, float32 [channels]: those of its own mix."""
    import av

    single = np.eye(layout.nb_channels, dtype=np.float32)  # as many samples as channels, each in one of them
    frame = av.AudioFrame.from_ndarray(single.reshape(1, -1), format="flt", layout=layout.name)
    frame.sample_rate = 48_000
    resampler = av.AudioResampler("flt", "mono", 48_000)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    gains = np.concatenate([piece.to_ndarray()[0] for piece in pieces if piece is not None])
    return np.asarray(gains, np.float32)


def _index(layout: av.AudioLayout, channel: int | str) -> int | None:
    """Where a channel stands in a layout; None where it does not."""
    if isinstance(channel, int):
        return channel - 1 if channel <= layout.nb_channels else None
    wanted = _NAMES.get(channel.lower(), channel).lower()
    for index, known in enumerate(_known(layout)):
        if wanted in known:
            return index
    return None


def _known(layout: av.AudioLayout) -> list[tuple[str, ...]]:
    """The names of each channel in lower case, ('fl', 'front left'); none where the layout is a count alone."""
    if all(channel.name == _UNNAMED for channel in layout.channels):
        import av

        if layout.nb_channels not in _USUAL:
            return [()] * layout.nb_channels
        layout = av.AudioLayout(_USUAL[layout.nb_channels])
    return [(channel.name.lower(), channel.description.lower()) for channel in layout.channels]


def _listed(layout: av.AudioLayout) -> str:
    """1 (FL), 2 (FR)"""
    numbered = enumerate(_known(layout), start=1)
    return ", ".join(f"{number} ({names[0].upper()})" if names else str(number) for number, names in numbered)
