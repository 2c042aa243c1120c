"""Recordings to 16 kHz mono samples, and samples to the log-mel spectrogram that Whisper's encoder reads.

The constants, the sample values and the spectrogram are those of openai-whisper (whisper/audio.py). Files are decoded
and resampled by FFmpeg's libraries, which PyAV carries, in the steps of the `ffmpeg` command that openai-whisper runs.
"""

from __future__ import annotations

import io
import operator
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from max_whisper.errors import AudioError, OptionError

if TYPE_CHECKING:
    import av

SAMPLE_RATE = 16_000  # Hz
N_FFT = 400  # samples in an STFT window, 25 ms
HOP_LENGTH = 160  # samples between two mel frames, 10 ms
CHUNK_LENGTH = 30  # seconds in a window of the encoder
N_SAMPLES = CHUNK_LENGTH * SAMPLE_RATE  # 480,000 samples in a window
N_FRAMES = N_SAMPLES // HOP_LENGTH  # 3,000 mel frames in a window
N_SAMPLES_PER_TOKEN = HOP_LENGTH * 2  # the encoder's second convolution has stride 2
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_LENGTH  # 100 mel frames
TOKENS_PER_SECOND = SAMPLE_RATE // N_SAMPLES_PER_TOKEN  # 50 encoder positions

_STFT_BLOCK = 256  # frames transformed at once: their float64 windows fit a CPU's second-level cache
_RESAMPLE_BLOCK = 1 << 16  # samples of an array handed to the resampler at once


class AudioWarning(UserWarning):
    """A recording that could be read only in part."""


def load_audio(source: str | Path | BinaryIO | np.ndarray, sample_rate: int | None = None) -> NDArray[np.float32]:
    """The samples of a recording at 16 kHz, mono.

    A file equals what `whisper.audio.load_audio` gives for it, sample for sample where the `ffmpeg` program there has
    the same libraries as PyAV here: the same stream is chosen, mixed to one channel, resampled and rounded to 16 bits.
    Of several audio streams it is the default one, then the one with the most channels, then the first.

    Args:
        source: the path of an audio or video file; or a file object opened in binary mode, read from where it stands;
            or a 1-D array, float32 or float64 in [-1, 1] or int16.
        sample_rate: of an array, in Hz; 16 kHz where it is not given. A file says its own.

    Returns:
        float32 [n] in [-1, 1]; it may share memory with a float32 array that was given.

    Raises:
        AudioError: the source cannot be read, holds no sound, or is shorter than one STFT window (25 ms).
        OptionError: `sample_rate` is not a usable rate, or was given with a file.

    Warns:
        AudioWarning: the file is damaged or cut short; what could be decoded is returned.
    """
    if isinstance(source, np.ndarray):
        name = "the array"
        samples = _from_array(source, SAMPLE_RATE if sample_rate is None else sample_rate)
    else:
        name, file = _open_source(source)
        if sample_rate is not None:
            raise OptionError(f"sample_rate is for arrays, but {name} is a file, which states its own; leave it out")
        samples, damage = _from_file(file, name)
        if damage:
            warnings.warn(damage, AudioWarning, stacklevel=2)
    if len(samples) < N_FFT:
        count = f"{len(samples)} sample" + ("s" if len(samples) != 1 else "")
        length = f"{count} at 16 kHz ({len(samples) / 16:.4g} ms)"
        raise AudioError(f"{name} is too short: {length}; give at least {N_FFT} samples (25 ms)")
    return samples


def pad_or_trim(array: np.ndarray, length: int = N_SAMPLES, *, axis: int = -1) -> np.ndarray:
    """The array with exactly `length` elements along `axis`: cut at the end, or followed by zeros."""
    if array.shape[axis] > length:
        return array.take(range(length), axis=axis)
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, length - array.shape[axis])
    return np.pad(array, widths)


def log_mel_spectrogram(audio: np.ndarray, n_mels: int = 80, padding: int = 0) -> NDArray[np.float32]:
    """The log-mel spectrogram of a recording, as `whisper.audio.log_mel_spectrogram` defines it.

    A centered, mirrored STFT with a Hann window, its power through the mel filters, log10 not below -10 nor below the
    maximum of the whole spectrogram less 8, then (x + 4) / 4. The transform runs in float64: every value is within 1e-5
    of this definition. PyTorch transforms in float32, which moves openai-whisper's own values by up to 6e-5 in the few
    bins that lie far below the loudest of their frame.

    Args:
        audio: float32 [n] at 16 kHz.
        n_mels: mel bins; Whisper's models have 80 or 128.
        padding: zeros to follow the audio, in samples.

    Returns:
        float32 [n_mels, (n + padding) // 160]

    Raises:
        AudioError: there are fewer than 201 samples with the padding, too few to mirror at the ends.
    """
    audio = np.asarray(audio, np.float32)
    n_samples = len(audio) + padding
    if n_samples <= N_FFT // 2:
        raise AudioError(f"too short for a log-mel spectrogram: {n_samples} samples; give at least {N_FFT // 2 + 1}")
    filters, window = mel_filters(n_mels), _hann_window()
    n_frames = n_samples // HOP_LENGTH
    # Frames that see nothing but padding have no power at all, and need no transform.
    n_sounding = min(n_frames, -(-(len(audio) + N_FFT // 2) // HOP_LENGTH))
    mel = np.zeros((n_mels, n_frames), np.float32)
    for first in range(0, n_sounding, _STFT_BLOCK):
        last = min(first + _STFT_BLOCK, n_sounding)
        span = _mirrored(audio, n_samples, first * HOP_LENGTH - N_FFT // 2, (last - 1) * HOP_LENGTH + N_FFT // 2)
        frames = np.lib.stride_tricks.sliding_window_view(span, N_FFT)[::HOP_LENGTH]
        spectrum = np.fft.rfft(frames * window)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        np.matmul(filters, power.T, out=mel[:, first:last])
    np.maximum(mel, 1e-10, out=mel)
    np.log10(mel, out=mel)
    np.maximum(mel, mel.max(initial=-10.0) - 8.0, out=mel)
    mel += 4.0
    mel /= 4.0
    return mel


@lru_cache
def mel_filters(n_mels: int) -> NDArray[np.float32]:
    """Triangular filters from power spectrum to mel bins, float32 [n_mels, 201], read-only.

    Slaney's mel scale (linear to 1 kHz, logarithmic above) from 0 to 8 kHz, each triangle of area one; equal to
    `librosa.filters.mel(sr=16000, n_fft=400, n_mels=n_mels)`, from which openai-whisper's are saved.
    """
    linear_step = 200 / 3  # Hz a mel below 1 kHz, which is at mel 15
    log_step = np.log(6.4) / 27  # above it, 27 mels a factor of 6.4
    top = 15 + np.log(SAMPLE_RATE / 2 / 1000) / log_step
    mels = np.linspace(0, top, n_mels + 2)
    edges = np.where(mels < 15, mels * linear_step, 1000 * np.exp(log_step * (mels - 15)))[:, None]
    frequencies = np.arange(N_FFT // 2 + 1) * (SAMPLE_RATE / N_FFT)
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    filters = (triangles * (2 / (edges[2:] - edges[:-2]))).astype(np.float32)
    filters.flags.writeable = False
    return filters


@lru_cache
def _hann_window() -> NDArray[np.float64]:
    """The periodic Hann window, float64 [400], with the float32 rounding of `torch.hann_window`.

    The rounding is part of the reference: without it the spectrogram is off by up to 3e-5.
    """
    phase = np.arange(N_FFT, dtype=np.float32) * np.float32(2 * np.pi / N_FFT)
    cosine = np.cos(phase.astype(np.float64)).astype(np.float32)
    return (np.float32(0.5) - np.float32(0.5) * cosine).astype(np.float64)


def _mirrored(audio: NDArray[np.float32], n_samples: int, start: int, stop: int) -> NDArray[np.float32]:
    """Samples [start, stop) of the audio with zeros after it up to `n_samples`, mirrored at the first and the last."""
    if start >= 0 and stop <= len(audio):
        return audio[start:stop]
    index = np.abs(np.arange(start, stop))
    index = np.minimum(index, 2 * (n_samples - 1) - index)
    span = np.zeros(len(index), np.float32)
    inside = index < len(audio)
    span[inside] = audio[index[inside]]
    return span


def _from_array(array: np.ndarray, sample_rate: int) -> NDArray[np.float32]:
    if array.ndim != 1:
        channels = int(np.argmin(array.shape)) if array.ndim == 2 else None
        advice = f": choose a channel, or average them with array.mean(axis={channels})" if channels is not None else ""
        raise AudioError(f"the array has {array.ndim} dimensions, shape {array.shape}; give one, [samples]{advice}")
    if (array.dtype.kind, array.dtype.itemsize) not in {("f", 4), ("f", 8), ("i", 2)}:
        raise AudioError(
            f"the array is of {array.dtype}; give float32 or float64 samples in [-1, 1], or int16 samples as they are"
        )
    try:
        rate = operator.index(sample_rate)
    except TypeError:
        rate = 0
    if not 1_000 <= rate <= 768_000:
        raise OptionError(f"sample_rate={sample_rate!r} is not a rate; give whole Hz from 1000 to 768000")
    if array.size == 0:
        raise AudioError(f"the array has no samples; give at least {N_FFT} (25 ms) at 16 kHz")
    if array.dtype.kind == "i":
        return _to_float32(_resample_array(np.ascontiguousarray(array, np.int16), rate))
    with np.errstate(over="ignore"):
        samples = np.ascontiguousarray(array, np.float32)
    finite = np.isfinite(samples)
    if not finite.all():
        first = int(np.argmin(finite))
        raise AudioError(f"the array has samples that are not finite, the first ({array[first]}) at index {first}")
    return _resample_array(samples, rate)


def _resample_array(samples: NDArray[Any], sample_rate: int) -> NDArray[Any]:
    """int16 or float32 [n] at `sample_rate` -> the same type at 16 kHz."""
    if sample_rate == SAMPLE_RATE:
        return samples
    import av

    format = "s16" if samples.dtype == np.int16 else "flt"

    def frames() -> Iterator[av.AudioFrame]:
        for start in range(0, len(samples), _RESAMPLE_BLOCK):
            block = samples[None, start : start + _RESAMPLE_BLOCK]
            frame = av.AudioFrame.from_ndarray(block, format=format, layout="mono")
            frame.sample_rate = sample_rate
            yield frame

    return np.concatenate(list(_resampled(frames(), format)))


def _to_float32(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    scaled = samples.astype(np.float32)
    scaled /= 32768.0
    return scaled


def _open_source(source: object) -> tuple[str, str | BinaryIO]:
    """What messages call the source, and what FFmpeg is to open; whatever can be known before decoding is checked."""
    if isinstance(source, (str, os.PathLike)):
        return f"'{source}'", _checked_path(Path(source))
    if not hasattr(source, "read"):
        raise AudioError(
            f"cannot read audio from a {type(source).__name__}; give a path, a binary file object or a NumPy array"
        )
    label = getattr(source, "name", None)
    name = f"'{label}'" if isinstance(label, str) else "the file object"
    return name, _checked_file_object(source, name)


def _checked_path(path: Path) -> str:
    try:
        status = path.stat()
    except PermissionError as error:
        raise AudioError(_not_permitted(f"'{path}'")) from error
    except (OSError, ValueError) as error:
        raise AudioError(f"no such file: '{path}'; check the path") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"'{path}' is a folder; give a recording in it")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise AudioError(f"'{path}' is empty (0 bytes); record, copy or download it again")
    # FFmpeg takes what stands before a colon in a relative path for a protocol ('12:30.wav').
    return str(path.absolute())


def _checked_file_object(file: Any, name: str) -> BinaryIO:
    if isinstance(file, io.TextIOBase) or (hasattr(file, "readable") and not file.readable()):
        raise AudioError(f"{name} is not open for reading bytes; open it in binary mode, with 'rb'")
    if not (hasattr(file, "seekable") and file.seekable()):
        return file
    position = file.tell()
    at_end = not file.read(1)
    file.seek(position)
    if at_end:
        raise AudioError(f"{name} has nothing left to read: it is empty or at its end; rewind it with seek(0)")
    # FFmpeg seeks from the beginning of the file object, so a recording inside it has to stand alone.
    return file if position == 0 else io.BytesIO(file.read())


def _not_permitted(name: str) -> str:
    return f"no permission to read {name}; change its permissions or copy it to where you may read it"


@dataclass
class _Decoded:
    """How far the decoding of a stream has come."""

    end: float = 0.0  # seconds, in the stream's own time, at which the last decoded frame ends
    lost_packets: int = 0  # packets that could not be decoded


def _from_file(file: str | BinaryIO, name: str) -> tuple[NDArray[np.float32], str | None]:
    """The samples of a file, and a line about its damage where there is some."""
    import av

    decoded = _Decoded()
    pcm = bytearray()
    declared_end = None
    try:
        # Titles in a file's metadata need not be valid text for its sound to be.
        with av.open(file, metadata_errors="ignore") as container:
            stream = _audio_stream(container, name)
            declared_end = _declared_end(container, stream)
            for block in _resampled(_frames(container, stream, decoded), "s16"):
                pcm += block.tobytes()
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, PermissionError):
            raise AudioError(_not_permitted(name)) from error
        if not pcm:
            raise AudioError(_unreadable(name)) from error
        decoded.lost_packets += 1
    if not pcm:
        raise AudioError(f"{name} has no samples: nothing in its audio stream can be decoded; record or copy it again")
    damage = None
    if declared_end is not None and declared_end - decoded.end > 0.5:
        damage = (
            f"{name} is cut short: its header declares {declared_end:.1f} s and the sound ends at {decoded.end:.1f} s; "
            "what is there is used"
        )
    elif decoded.lost_packets:
        damage = f"{name} is damaged or cut short: packets that cannot be decoded are left out ({decoded.lost_packets})"
    return _to_float32(np.frombuffer(pcm, np.int16)), damage


def _unreadable(name: str) -> str:
    return (
        f"{name} is not audio or video that FFmpeg can read, or is damaged or cut short; "
        "check that it plays, or convert it to WAV or FLAC"
    )


def _audio_stream(container: av.container.InputContainer, name: str) -> av.AudioStream:
    """The stream that the `ffmpeg` program takes by itself."""
    from av.stream import Disposition

    if not container.streams.audio:
        kinds = ", ".join(sorted({stream.type for stream in container.streams}))
        if not kinds:
            raise AudioError(_unreadable(name))
        raise AudioError(f"{name} has no sound, only {kinds}; give a recording with an audio stream")
    readable = [
        stream
        for stream in container.streams.audio
        if stream.codec_context is not None and stream.codec_context.sample_rate and stream.codec_context.channels
    ]
    if not readable:
        raise AudioError(_unreadable(name))
    return max(
        readable,
        key=lambda stream: (bool(stream.disposition & Disposition.default), stream.codec_context.channels),
    )


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


def _frames(
    container: av.container.InputContainer, stream: av.AudioStream, decoded: _Decoded
) -> Iterator[av.AudioFrame]:
    """The decoded frames of a stream; as in the `ffmpeg` program, a packet that cannot be decoded is passed over."""
    import av

    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            decoded.lost_packets += 1
            continue
        for frame in frames:
            start = decoded.end if frame.time is None else frame.time
            decoded.end = start + frame.samples / frame.sample_rate
            yield frame


def _resampled(frames: Iterator[av.AudioFrame], format: str) -> Iterator[NDArray[Any]]:
    """Frames of any format, rate and layout, which may change midway -> [n] in `format` at 16 kHz, mono."""
    import av

    for _, run in groupby(frames, lambda frame: (frame.format.name, frame.layout.name, frame.sample_rate)):
        resampler = av.AudioResampler(format, "mono", SAMPLE_RATE)
        for frame in chain(run, [None]):  # None makes the resampler give what it still holds
            for block in resampler.resample(frame):
                if block is not None:
                    yield block.to_ndarray()[0]
