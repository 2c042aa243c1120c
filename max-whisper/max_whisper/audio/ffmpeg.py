"""Sound out of files of every kind, by FFmpeg's libraries, which PyAV carries.

The steps are those of the `ffmpeg` command that openai-whisper runs (whisper/audio.py): `-ac 1 -acodec pcm_s16le -ar`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from max_whisper.audio.channels import MixWatch, selected
from max_whisper.audio.layouts import Layouts
from max_whisper.audio.reading import ReadingOptions
from max_whisper.audio.tracks import chosen_track
from max_whisper.errors import AudioError

if TYPE_CHECKING:
    import av

_PIECE = 1 << 16  # samples that the resampler gives at once: 4 s at 16 kHz


@dataclass
class _Decoded:
    """How far the decoding of a stream has come."""

    end: float = 0.0  # seconds, in the stream's own time, at which the last decoded frame ends
    lost_packets: int = 0  # packets that could not be decoded


def decoded(
    file: str | BinaryIO,
    name: str,
    sample_rate: int,
    reading: ReadingOptions,
    damaged: Callable[[str], None],
    noticed: Callable[[str], None],
) -> Generator[NDArray[np.int16], None, None]:
    """The sound of a file, mixed to one channel, in pieces of int16 [n] at `sample_rate`.

    Args:
        file: an absolute path, or a file object with `read`, and with `seek` and `tell` where it can go back.
        name: of the file, in messages.
        sample_rate: of the pieces, in Hz; `reading.sample_rate` is the one of raw samples.
        reading: the track, the channel and the format; the channel that it names takes the place of the mix.
        damaged: called once, at the end, with a line about the damage to a file that could be read only in part.
        noticed: called with a line about samples that are read as they are, and are not what they should be.

    Raises:
        AudioError: the file cannot be read, holds no sound, or has no such track or channel.
    """
    import av

    state = _Decoded()
    has_samples = False
    declared_end = None
    try:
        # Titles in a file's metadata need not be valid text for its sound to be.
        with av.open(file, metadata_errors="ignore", **_raw(reading)) as container:
            layouts = Layouts(container)
            stream = _audio_stream(container, reading, name)
            declared_end = _declared_end(container, stream)
            frames = _frames(container, stream, state)
            if reading.channel is not None:
                frames = selected(frames, reading.channel, layouts.of(stream), name)
            for piece in resampled(MixWatch(name, noticed).over(frames), "s16", sample_rate):
                has_samples = has_samples or piece.size > 0
                yield piece
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, PermissionError):
            raise AudioError(not_permitted(name)) from error
        if not has_samples:
            raise AudioError(unreadable(name)) from error
        state.lost_packets += 1
    if not has_samples:
        raise AudioError(f"{name} has no samples: nothing in its audio stream can be decoded; record or copy it again")
    if declared_end is not None and declared_end - state.end > 0.5:
        damaged(
            f"{name} is cut short: its header declares {declared_end:.1f} s and the sound ends at {state.end:.1f} s; "
            "what is there is used"
        )
    elif state.lost_packets:
        damaged(f"{name} is damaged or cut short: packets that cannot be decoded are left out ({state.lost_packets})")


def resampled_blocks(
    blocks: Iterator[NDArray[Any]], format: str, from_rate: int, to_rate: int
) -> Generator[NDArray[Any], None, None]:
    """Contiguous blocks [n] at one rate -> pieces at another; `format` is 's16' for int16, 'flt' for float32."""
    import av

    def frames() -> Iterator[av.AudioFrame]:
        for block in blocks:
            frame = av.AudioFrame.from_ndarray(block[None], format=format, layout="mono")
            frame.sample_rate = from_rate
            yield frame

    return resampled(frames(), format, to_rate)


def resampled(frames: Iterator[av.AudioFrame], format: str, sample_rate: int) -> Generator[NDArray[Any], None, None]:
    """Frames of any format, rate and layout, which may change midway -> pieces [n] in `format`, mono."""
    import av

    for _, run in groupby(frames, lambda frame: (frame.format.name, frame.layout.name, frame.sample_rate)):
        resampler = av.AudioResampler(format, "mono", sample_rate, frame_size=_PIECE)
        for frame in chain(run, [None]):  # None makes the resampler give what it still holds
            for piece in resampler.resample(frame):
                if piece is not None:
                    yield piece.to_ndarray()[0]


def unreadable(name: str) -> str:
    """What is said of a file in which there is nothing to decode."""
    return (
        f"{name} is not audio or video that FFmpeg can read, or is damaged or cut short; "
        "check that it plays, or convert it to WAV or FLAC"
    )


def not_permitted(name: str) -> str:
    """What is said of a file that may not be read."""
    return f"no permission to read {name}; change its permissions or copy it to where you may read it"


def _raw(reading: ReadingOptions) -> dict[str, Any]:
    """What FFmpeg has to be told of samples without a header; nothing where a file states its own format."""
    if reading.input_format is None:
        return {}
    options = {"sample_rate": str(reading.sample_rate), "ch_layout": f"{reading.input_channels}C"}
    return {"format": reading.input_format, "options": options}


def _audio_stream(container: av.container.InputContainer, reading: ReadingOptions, name: str) -> av.AudioStream:
    """The stream of `reading.audio_track`; without that, nearly always the one that the `ffmpeg` program takes."""
    if not container.streams.audio:
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        if not kinds:
            raise AudioError(unreadable(name))
        raise AudioError(f"{name} has no sound, only {kinds}; give a recording with an audio stream")
    stream = chosen_track(container.streams.audio, reading.audio_track, name)
    if stream is None:
        raise AudioError(unreadable(name))
    return stream


def _declared_end(container: av.container.InputContainer, stream: av.AudioStream) -> float | None:
    """The time in seconds at which the file's header says that the stream ends; None where it is only an estimate."""
    kind = container.format.name
    if kind.startswith("matroska") and len(container.streams) == 1 and container.duration:
        return float(((container.start_time or 0) + container.duration) / 1e6)
    # FFmpeg estimates an MP3's duration from its bit rate unless there is a LAME header, which also delays the start.
    has_duration = kind in ("flac", "wav") or kind.startswith("mov") or (kind == "mp3" and stream.start_time)
    if has_duration and stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    return None


def _frames(container: av.container.InputContainer, stream: av.AudioStream, state: _Decoded) -> Iterator[av.AudioFrame]:
    """The decoded frames of a stream; as in the `ffmpeg` program, a packet that cannot be decoded is passed over."""
    import av

    has_frames = False
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                state.lost_packets += 1
                continue
            for frame in frames:
                has_frames = True
                start = state.end if frame.time is None else frame.time
                state.end = start + frame.samples / frame.sample_rate
                yield frame
    except (av.error.FFmpegError, OSError):
        if not has_frames:
            raise
        state.lost_packets += 1  # and the resampler is to give what it holds of those before
