"""Layouts of channels: their names, how FFmpeg mixes them to one, and those with which PyAV cannot work."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from max_whisper.errors import AudioError

if TYPE_CHECKING:
    import av

_ALSO_CALLED = {"left": "fl", "right": "fr", "center": "fc", "centre": "fc"}
_UNNAMED = "NONE"  # PyAV's name of a channel in a layout that is a count alone, as in a plain WAV file
_USUAL = {1: "mono", 2: "stereo"}  # what such a count means; more of them are as often microphones of a room
# FFmpeg's channels in its own order (libavutil/channel_layout.h). A layout in another order is a list of channels.
_ORDER = (
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC"),
    *("TFL", "TFC", "TFR", "TBL", "TBC", "TBR", "DL", "DR", "WL", "WR", "SDL", "SDR", "LFE2"),
    *("TSL", "TSR", "BFC", "BFL", "BFR", "SSL", "SSR", "TTL", "TTR", "BIL", "BIR"),
)


class Layouts:
    """The layouts of a file's audio streams, made safe for PyAV.

    PyAV copies a layout without the list of channels that it may point to, so that the list is freed twice as soon as a
    frame has been decoded, and the process ends (seen with PyAV 18). MOV and CAF files have such layouts where channels
    stand in another order, or twice. These streams are decoded as a count of channels, whose names are kept here.
    """

    def __init__(self, container: av.container.InputContainer) -> None:
        """To be made before anything else asks for a layout, or for a number of channels."""
        self._by_stream: dict[int, av.AudioLayout] = {}
        for stream in container.streams.audio:
            if stream.codec_context is None:
                continue
            layout = stream.codec_context.layout
            if _is_list(layout):
                # From here on the list belongs to this object alone.
                stream.codec_context.layout = f"{layout.nb_channels} channels"
            self._by_stream[stream.index] = layout

    def of(self, stream: av.AudioStream) -> av.AudioLayout:
        """The layout that the file states for a stream."""
        return self._by_stream[stream.index]


def channel_index(layout: av.AudioLayout, channel: int | str) -> int | None:
    """Where a channel stands in a layout, by its number from 1 on or its name; None where it does not."""
    if isinstance(channel, int):
        return channel - 1 if channel <= layout.nb_channels else None
    wanted = channel.lower()
    wanted = _ALSO_CALLED.get(wanted, wanted)
    return next((index for index, known in enumerate(_names(layout)) if wanted in known), None)


def listed_channels(layout: av.AudioLayout) -> str:
    """The channels of a layout in a message: 1 (FL), 2 (FR)."""
    numbered = enumerate(_names(layout), start=1)
    return ", ".join(f"{number} ({names[0].upper()})" if names else str(number) for number, names in numbered)


def mixing_gains(layout: av.AudioLayout, name: str) -> NDArray[np.float32]:
    """The factors with which FFmpeg mixes the channels of a layout to one, float32 [channels]: those of its own mix.

    Raises AudioError, in which the recording is called `name`, where FFmpeg has no mix for the layout.
    """
    import av

    single = np.eye(layout.nb_channels, dtype=np.float32)  # as many samples as channels, each in one of them
    frame = av.AudioFrame.from_ndarray(single.reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate = 48_000
    resampler = av.AudioResampler("flt", "mono", 48_000)
    try:
        pieces = [*resampler.resample(frame), *resampler.resample(None)]
    except av.error.FFmpegError as error:
        raise AudioError(
            f"{name} has channels that FFmpeg cannot mix to one; give one of them as channel: {listed_channels(layout)}"
        ) from error
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces if piece is not None])


def _names(layout: av.AudioLayout) -> list[tuple[str, ...]]:
    """The names of each channel in lower case, ('fl', 'front left'); none where the layout is a count alone."""
    channels = layout.channels
    if all(channel.name == _UNNAMED for channel in channels):
        import av

        if layout.nb_channels not in _USUAL:
            return [()] * layout.nb_channels
        channels = av.AudioLayout(_USUAL[layout.nb_channels]).channels
    return [(channel.name.lower(), channel.description.lower()) for channel in channels]


def _is_list(layout: av.AudioLayout) -> bool:
    """Whether a layout is a list of channels, and neither a count nor a set of them in FFmpeg's order."""
    names = [channel.name for channel in layout.channels]
    if all(name == _UNNAMED for name in names) or all(name.startswith("AMBI") for name in names):
        return False
    places = [_ORDER.index(name) if name in _ORDER else -1 for name in names]
    return -1 in places or any(after <= before for before, after in pairwise(places))
