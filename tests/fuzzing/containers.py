"""The repository's recordings in every kind of container and codec that PyAV's FFmpeg can write."""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from max_whisper.audio import SAMPLE_RATE, load_audio

AUDIO = Path(__file__).resolve().parents[2] / "audio_samples"
SPOKEN = (
    "greeting.ogg",
    "digits.flac",
    "kitchen.wav",
    "weather.flac",
    "reminder.m4a",
    "timer_command.flac",
)  # 3 to 5 s


@dataclass(frozen=True)
class Container:
    """A kind of file, without a path."""

    suffix: str
    format: str | None  # FFmpeg's name, where the suffix does not say it
    codec: str
    rate: int  # Hz
    layout: str = "mono"
    has_video: bool = False

    def __str__(self) -> str:
        return f"{self.codec} in {self.suffix}"


CONTAINERS = (
    Container("wav", None, "pcm_s16le", 16_000),
    Container("wav", None, "pcm_s16le", 44_100, "stereo"),
    Container("wav", None, "pcm_f32le", 22_050),
    Container("wav", None, "pcm_u8", 8_000),
    Container("wav", None, "pcm_mulaw", 8_000),
    Container("wav", None, "adpcm_ima_wav", 16_000),
    Container("w64", None, "pcm_s24le", 48_000),
    Container("flac", None, "flac", 16_000),
    Container("mp3", None, "libmp3lame", 44_100),
    Container("mp2", None, "mp2", 48_000),
    Container("ogg", "ogg", "libopus", 48_000, "stereo"),
    Container("ogg", "ogg", "vorbis", 44_100, "stereo"),
    Container("ogg", "ogg", "flac", 16_000),
    Container("mp4", None, "aac", 44_100, "stereo"),
    Container("mp4", None, "aac", 48_000, has_video=True),
    Container("m4a", "ipod", "alac", 44_100),
    Container("mov", None, "pcm_s16be", 16_000),
    Container("3gp", None, "aac", 16_000),
    Container("amr", "amr", "libopencore_amrnb", 8_000),
    Container("mkv", "matroska", "libopus", 48_000),
    Container("mkv", "matroska", "libmp3lame", 44_100, has_video=True),
    Container("mka", "matroska", "flac", 16_000),
    Container("mkv", "matroska", "pcm_s16le", 16_000),
    Container("webm", None, "libopus", 48_000),
    Container("ts", "mpegts", "aac", 48_000),
    Container("ts", "mpegts", "mp2", 48_000, has_video=True),
    Container("avi", None, "libmp3lame", 44_100),
    Container("avi", None, "pcm_s16le", 16_000, has_video=True),
    Container("aiff", None, "pcm_s16be", 22_050),
    Container("caf", None, "pcm_s16le", 16_000),
    Container("caf", None, "alac", 16_000),
    Container("au", None, "pcm_s16be", 8_000),
    Container("aac", "adts", "aac", 44_100),
    Container("ac3", None, "ac3", 48_000),
    Container("flv", None, "aac", 44_100),
    Container("tta", None, "tta", 16_000),
    Container("wv", None, "wavpack", 16_000),
    Container("nut", None, "pcm_s16le", 16_000),
)
"""Those whose encoder a build of PyAV lacks are left out, see `writable`."""


@cache
def spoken(name: str) -> NDArray[np.float32]:
    """One of the repository's recordings, float32 [n] at 16 kHz."""
    return load_audio(AUDIO / name)


@cache
def encoded(container: Container, name: str) -> bytes | None:
    """A recording in a container; None where this FFmpeg has no encoder for it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{Path(name).stem}.{container.suffix}"
        try:
            _write(path, container, spoken(name))
        except (av.error.FFmpegError, av.codec.codec.UnknownCodecError):
            return None
        return path.read_bytes()


@cache
def writable() -> tuple[Container, ...]:
    """The containers that can be written here."""
    return tuple(container for container in CONTAINERS if encoded(container, SPOKEN[0]) is not None)


def _write(path: Path, container: Container, samples: NDArray[np.float32]) -> None:
    with av.open(path, "w", format=container.format) as output:
        sound = output.add_stream(container.codec, rate=container.rate, layout=container.layout)
        coder = sound.codec_context
        coder.options = {"strict": "-2"}  # FFmpeg's own Vorbis is an experimental encoder
        pictures = None
        if container.has_video:
            pictures = output.add_stream("mpeg4", rate=25)
            pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        coder.open()
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        resampler = av.AudioResampler(coder.format, container.layout, container.rate, coder.frame_size or 1024)
        if pictures is not None:
            for shade in range(25):
                picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 10 * shade, np.uint8), format="rgb24")
                output.mux(pictures.encode(picture))
            output.mux(pictures.encode(None))
        for converted in resampler.resample(frame) + resampler.resample(None):
            if converted is not None:
                output.mux(sound.encode(converted))
        output.mux(sound.encode(None))
