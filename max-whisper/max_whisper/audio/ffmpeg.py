"""Sound out of files of every kind, by FFmpeg's libraries, which PyAV carries.

The steps are those of the `ffmpeg` command that openai-whisper runs (whisper/audio.py): `-ac 1 -acodec pcm_s16le -ar`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from max_whisper.audio.byte_streams import ForwardView
from max_whisper.audio.channels import MixWatch, selected
from max_whisper.audio.headers import declared_seconds
from max_whisper.audio.layouts import Layouts
from max_whisper.audio.ogg import Link, Links, is_ogg
from max_whisper.audio.reading import ReadingOptions
from max_whisper.audio.timeline import on_timeline
from max_whisper.audio.tracks import chosen_track
from max_whisper.errors import AudioError

if TYPE_CHECKING:
    import av

# Containers that say when a packet is heard. For others FFmpeg adds up how long the packets are.
_TIME_STAMPED = frozenset(["asf", "dash", "flv", "hls", "matroska", "mov", "mpeg", "mpegts", "mxf", "nut", "ogg"])
_PIECE = 1 << 16  # samples that the resampler gives at once: 4 s at 16 kHz


@dataclass
class _Decoded:
    """How far the decoding of a file has come, in seconds of its own clock."""

    end: float = 0.0  # of the last decoded frame
    end_of_others: float = 0.0  # of the last packet of the other streams
    declared_end: float | None = None  # of the sound, by the file's header
    lost_packets: int = 0  # packets that could not be decoded
    disbelieved: float = 0.0  # seconds of the first gap in its time stamps that cannot be
    failure: Exception | None = None  # for which a part of the file could not be read
    left_out: AudioError | None = None  # why a link with sound is not read: it has not the track that is wanted

    def disbelieve(self, gap: float) -> None:
        self.disbelieved = self.disbelieved or gap


def decoded(
    file: str | ForwardView,
    name: str,
    sample_rate: int,
    reading: ReadingOptions,
    damaged: Callable[[str], None],
    noticed: Callable[[str], None],
) -> Generator[NDArray[np.int16], None, None]:
    """The sound of a file, mixed to one channel, in pieces of int16 [n] at `sample_rate`.

    Args:
        file: an absolute path, or bytes.
        name: of the file, in messages.
        sample_rate: of the pieces, in Hz; `reading.sample_rate` is the one of raw samples.
        reading: the track, the channel and the format; the channel that it names takes the place of the mix. With
            `container_times`, silence takes the place of sound that is missing by the container's time stamps, at its
            start too; without, all there is stands together, as in openai-whisper.
        damaged: called once, at the end, with a line about the damage to a file that could be read only in part.
        noticed: called with a line about samples that are read as they are, and are not what they should be.

    Raises:
        AudioError: the file cannot be read, holds no sound, or has no such track or channel.
    """
    import av

    state = _Decoded()
    has_samples = False
    try:
        with closing(_sound(file, name, state, reading, noticed)) as frames:
            for piece in resampled(frames, "s16", sample_rate):
                has_samples = has_samples or piece.size > 0
                yield piece
    except (av.error.FFmpegError, OSError) as error:
        state.failure = error
    if not has_samples:
        if isinstance(file, str) and isinstance(state.failure, PermissionError):
            raise AudioError(not_permitted(name)) from state.failure
        if isinstance(state.failure, AudioError):
            raise state.failure
        if state.failure is not None:
            raise AudioError(unreadable(name)) from state.failure
        raise AudioError(f"{name} has no samples: nothing in its audio stream can be decoded; record or copy it again")
    if state.failure is not None and not isinstance(state.failure, AudioError):
        state.lost_packets += 1
    if state.declared_end is not None and state.declared_end - max(state.end, state.end_of_others) > 0.5:
        damaged(
            f"{name} is cut short: its header declares {state.declared_end:.1f} s and the sound ends at "
            f"{state.end:.1f} s; what is there is used"
        )
    elif state.lost_packets:
        damaged(f"{name} is damaged or cut short: packets that cannot be decoded are left out ({state.lost_packets})")
    elif state.left_out is not None:
        damaged(f"{name} is read only in part: {state.left_out}")
    elif state.disbelieved:
        damaged(
            f"{name} is damaged: its time stamps leap {state.disbelieved:.0f} s ahead, for which there is no room; "
            "the sound is joined there"
        )


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


def _format_and_options(part: str | ForwardView | Link, reading: ReadingOptions) -> dict[str, Any]:
    """What FFmpeg is told beside the file: what samples without a header are, and which protocols it may follow."""
    # What nobody named as a file is not to name files or addresses itself, as a playlist does.
    options = {} if isinstance(part, str) else {"protocol_whitelist": "data"}
    if reading.input_format is None:
        return {"options": options}
    options |= {"sample_rate": str(reading.sample_rate), "ch_layout": f"{reading.input_channels}C"}
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


def _sound(
    file: str | ForwardView, name: str, state: _Decoded, reading: ReadingOptions, noticed: Callable[[str], None]
) -> Generator[av.AudioFrame, None, None]:
    """The decoded frames of a file, of all its links if it is a chained Ogg, and the silence between them."""
    import av

    watch = MixWatch(name, noticed)
    layout = None  # of the first link: a mono title among stereo ones has the channel that was asked for
    for part in [file] if reading.input_format else _parts(file, state):
        try:
            # Titles in a file's metadata need not be valid text for its sound to be.
            with av.open(
                cast("str | BinaryIO", part), metadata_errors="ignore", **_format_and_options(part, reading)
            ) as container:
                layouts = Layouts(container)  # before anything asks for a layout
                try:
                    stream = _audio_stream(container, reading, name)
                except AudioError as error:
                    state.failure = error  # unless another link has sound
                    if container.streams.audio:
                        state.left_out = error
                    continue
                state.declared_end = _declared_end(container, stream, file)
                frames = _frames(container, stream, state)
                if isinstance(part, Link) and stream.codec_context.name == "flac" and len(container.streams) == 1:
                    frames = _from_any_page(frames, part)
                if reading.channel is not None:
                    layout = layout or layouts.of(stream)
                    frames = selected(frames, reading.channel, layout, name)
                frames = watch.over(frames)
                if reading.container_times and _kind(container) in _TIME_STAMPED:
                    start = None if container.start_time is None else container.start_time / 1e6
                    frames = on_timeline(frames, start, _possible_end(container, stream), state.disbelieve)
                yield from frames
        except (av.error.FFmpegError, OSError) as error:
            state.failure = error


def _parts(file: str | ForwardView, state: _Decoded) -> Iterator[str | ForwardView | Link]:
    """What FFmpeg can read at once: the links of an Ogg file, one by one, and any other file as it is."""
    with ExitStack() as stack:
        view = file
        if isinstance(view, str):
            opened = stack.enter_context(open(view, "rb"))  # noqa: PTH123
            view = ForwardView(opened, 0, opened)
        if is_ogg(view.peek(0, 4)):
            links = Links(view, view.name)
            yield from links
            state.lost_packets += links.is_cut
            return
    yield file


def _from_any_page(frames: Iterable[av.AudioFrame], link: Link) -> Iterator[av.AudioFrame]:
    """Frames of FLAC in Ogg from a radio station, whose first page may have any time, and not 0 as FFmpeg takes it.

    Its sound is taken to reach to that of the second page, whose time is known.
    """
    end, leap = None, 0
    for number, frame in enumerate(frames):
        if frame.pts is not None:
            if number == link.n_packets_first and end is not None:
                leap = frame.pts - end
            frame.pts -= leap
            end = frame.pts + round(frame.samples / frame.sample_rate / frame.time_base)
        yield frame


def _kind(container: av.container.InputContainer) -> str:
    """The first of the names that FFmpeg has for a format: `mov` of `mov,mp4,m4a,3gp,3g2,mj2`."""
    return container.format.name.partition(",")[0]


def _declared_end(
    container: av.container.InputContainer, stream: av.AudioStream, file: str | ForwardView
) -> float | None:
    """The time in seconds at which the file's header says that the sound ends; None where it is only an estimate."""
    kind = _kind(container)
    if kind in ("wav", "w64", "caf") or (kind == "avi" and len(container.streams) > 1):
        seconds = _header_seconds(file)
        if seconds is not None or kind in ("caf", "avi"):
            return seconds
    if kind in ("matroska", "flv"):
        # Some count it from 0, some from the start.
        return None if _possible_end(container, stream) is None else container.duration / 1e6
    # FFmpeg estimates an MP3's duration from its bit rate unless there is a LAME header, which also delays the start.
    has_duration = kind in ("flac", "wav", "w64", "aiff", "au", "mov") or (kind == "mp3" and stream.start_time)
    # As SoX writes AIFF to a pipe, whose length it cannot know.
    is_unknown = kind == "aiff" and (stream.duration or 0) * 2 * stream.codec_context.channels >= 0x7F000000
    if has_duration and not is_unknown and stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    return None


def _possible_end(container: av.container.InputContainer, stream: av.AudioStream) -> float | None:
    """The time in seconds up to which there may be sound, by the container's header; None where it does not say."""
    kind = _kind(container)
    # Where Matroska's header has no duration, FFmpeg estimates that of every stream from the bit rate.
    is_estimate = kind == "matroska" and stream.duration is not None
    if kind not in ("matroska", "mov", "flv") or is_estimate or not container.duration:
        return None
    return ((container.start_time or 0) + container.duration) / 1e6


def _header_seconds(file: str | ForwardView) -> float | None:
    if isinstance(file, str):
        with open(file, "rb") as opened:  # noqa: PTH123
            return declared_seconds(ForwardView(opened, 0, opened).peek)
    return declared_seconds(file.peek)


def _frames(container: av.container.InputContainer, stream: av.AudioStream, state: _Decoded) -> Iterator[av.AudioFrame]:
    """The decoded frames of a stream; as in the `ffmpeg` program, a packet that cannot be decoded is passed over."""
    import av

    has_frames = False
    try:
        for packet in container.demux():
            if packet.stream.index != stream.index:  # an empty one, which ends a stream, has no index of its own
                if packet.pts is not None and packet.time_base:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    state.end_of_others = max(state.end_of_others, end)
                continue
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
            if not packet.size and packet.dts is None:
                return  # the end of this stream; PyAV fails at that of streams that began after the file was opened
    except (av.error.FFmpegError, OSError):
        if not has_frames:
            raise
        state.lost_packets += 1  # and the resampler is to give what it holds of those before
