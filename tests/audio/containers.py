"""Files whose packets have the time stamps that a test wants."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import av
import numpy as np
from numpy.typing import NDArray

PACKET = 1024  # samples of sound in a packet, for coders that leave it open


def noise(seconds: float, rate: int = 16_000, seed: int = 0) -> NDArray[np.int16]:
    """Loud noise, never 0, int16 [seconds * rate]."""
    values = np.random.default_rng(seed).integers(1000, 9000, round(seconds * rate))
    return np.where(np.arange(len(values)) % 2, values, -values).astype(np.int16)


def write(
    target: Path | IO[bytes],
    samples: NDArray[np.int16],
    codec: str = "pcm_s16le",
    *,
    rate: int = 16_000,
    layout: str = "mono",
    format: str | None = None,
    start: float = 0.0,
    gaps: Sequence[tuple[float, float]] = (),
    video: tuple[float, float] | None = None,
    options: dict[str, str] | None = None,
    language: str | None = None,
) -> int:
    """Write int16 [n] as a file with one audio stream, and give the number of samples in its packets.

    Args:
        start: seconds at which the sound begins.
        gaps: (second of the sound, seconds): packets from this second on are so much later. A negative one makes them
            overlap those before.
        video: the seconds between which there are pictures.
        language: of the sound, as a tag.
    """
    with av.open(target, "w", format=format, options=options or {}) as output:
        coder = {"strict": "experimental"} if codec == "vorbis" else {}
        sound = output.add_stream(codec, rate=rate, layout=layout, options=coder)
        if language is not None:
            sound.metadata["language"] = language
        pictures = None
        if video is not None:
            pictures = output.add_stream("mpeg2video" if format in ("mpeg", "mpegts") else "mpeg4", rate=25)
            pictures.width = pictures.height = 64
            pictures.pix_fmt = "yuv420p"
        size = sound.codec_context.frame_size or PACKET
        packets = []
        for packet in _sound_packets(sound, samples, rate, layout, size):
            second = float(packet.pts * packet.time_base)
            later = start + sum(seconds for at, seconds in gaps if second >= at - 1e-6)
            packets.append(_moved(packet, later))
        if pictures is not None and video is not None:
            for number in range(round((video[1] - video[0]) * 25)):
                picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number % 256, np.uint8), format="rgb24")
                packets += [_moved(packet, video[0]) for packet in pictures.encode(picture)]
            packets += [_moved(packet, video[0]) for packet in pictures.encode(None)]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
        return sound.codec_context.frame_size or PACKET


def _sound_packets(
    stream: av.AudioStream, samples: NDArray[np.int16], rate: int, layout: str, size: int
) -> list[av.Packet]:
    packed = np.repeat(samples, av.AudioLayout(layout).nb_channels)[None]
    frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    resampler = av.AudioResampler(stream.codec_context.format or "s16", layout, rate, frame_size=size)
    pieces = [piece for piece in resampler.resample(frame) + resampler.resample(None) if piece is not None]
    return [packet for piece in [*pieces, None] for packet in stream.encode(piece)]


def _moved(packet: av.Packet, seconds: float) -> av.Packet:
    ticks = round(seconds / float(packet.time_base))
    packet.pts += ticks
    packet.dts += ticks
    return packet
