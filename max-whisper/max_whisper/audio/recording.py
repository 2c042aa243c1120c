"""Recordings of every kind to 16 kHz mono samples, in blocks and as often as they are needed.

The sample values are those of openai-whisper (whisper/audio.py).
"""

from __future__ import annotations

import io
import os
import stat
import weakref
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from max_whisper.audio.arrays import array_blocks, check_array
from max_whisper.audio.byte_streams import ForwardView, KeptBytes, View
from max_whisper.audio.constants import N_FFT, N_SAMPLES, SAMPLE_RATE
from max_whisper.audio.ffmpeg import decoded, not_permitted, resampled_blocks
from max_whisper.audio.foreign_file import ForeignFile
from max_whisper.audio.reading import ReadingOptions
from max_whisper.audio.url import is_url, no_such_file, opened_url, shown_url
from max_whisper.errors import AudioError, OptionError, warn

Audio = str | Path | IO[bytes] | np.ndarray  # what a recording may be given as
Samples = NDArray[np.float32]  # [n] in [-1, 1] at 16 kHz, mono

_BLOCK = 1 << 16  # samples in a block, 4 s
# How WAV, FLAC, Ogg and Matroska begin, whose samples are the same where nothing can be sought. Of an MP3 the size
# decides which samples at its end are padding, and the index of an MP4 may stand at its end.
_DECODED_FORWARD = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"\x1aE\xdf\xa3")


class AudioWarning(UserWarning):
    """A recording that could be read only in part, or whose samples are not what sound has."""


def load_audio(
    source: Audio,
    sample_rate: int | None = None,
    *,
    audio_track: int | str | None = None,
    channel: int | str | None = None,
    container_times: bool = True,
    input_format: str | None = None,
    input_channels: int = 1,
) -> Samples:
    """The samples of a recording at 16 kHz, mono.

    A file equals what `whisper.audio.load_audio` gives for it, sample for sample where the `ffmpeg` program there has
    the same libraries as PyAV here: the same stream is chosen, mixed to one channel, resampled and rounded to 16 bits.
    But where its sound starts late, or there is a gap in its time stamps, there is silence. Of several audio streams
    it is the default one, then the one with the most channels, then the first. Only a commentary or a description of
    the picture is left where there is another stream.

    Args:
        source: the path of an audio or video file; or its address, which begins with http:// or https://; or a file
            object opened in binary mode, read from where it stands;
            or a 1-D array, float32 or float64 in [-1, 1] or int16.
        sample_rate: of an array or of raw samples, in Hz; 16 kHz where it is not given for an array. Other files say
            their own.
        audio_track: of a file, counted from 1, or its language tag ('eng').
        channel: of a file, counted from 1, or its name ('left', 'FC'); None mixes all to one.
        container_times: whether gaps and a late start in the file's container are silence. False ignores its time
            stamps, as openai-whisper does.
        input_format: of a file of raw samples without a header, by FFmpeg's name ('s16le', 'f32le', 'mulaw').
        input_channels: of raw samples, which alternate.

    Returns:
        float32 [n], in [-1, 1] but for an array that was given with louder ones

    Raises:
        AudioError: the source cannot be read, holds no sound, is shorter than one STFT window (25 ms), has no such
            track or channel, or is an array of what cannot be samples.
        OptionError: an option with a value that cannot be, or that is not for this kind of source.

    Warns:
        AudioWarning: the file is damaged or cut short, and what could be decoded is returned; its channels cancel each
            other in the mix; or samples are far louder than full scale.
    """
    reading = ReadingOptions(
        audio_track=audio_track,
        channel=channel,
        container_times=container_times,
        input_format=input_format,
        sample_rate=sample_rate,
        input_channels=input_channels,
    )
    samples = bytearray()
    for block in open_recording(source, reading).blocks():
        samples += block.data
    return np.frombuffer(samples, np.float32)


def open_recording(source: Audio, reading: ReadingOptions | None = None) -> Recording:
    """A recording that can be read any number of times; the errors are those of `load_audio`.

    What can be known before decoding is checked now, the rest by the first pass over the recording.
    """
    reading = reading or ReadingOptions()
    if isinstance(source, np.ndarray):
        for name in ("audio_track", "channel", "input_format"):
            if getattr(reading, name) is not None:
                raise OptionError(f"{name}: it is for files, and an array is one channel of samples; leave it away")
        return _ArrayRecording(source, SAMPLE_RATE if reading.sample_rate is None else reading.sample_rate)
    recording = _file_recording(source, reading)
    if reading.sample_rate is not None and reading.input_format is None:
        raise OptionError(
            f"sample_rate: it is for arrays and raw samples, but {recording.name} is a file, which states its own; "
            "leave it away, or give input_format for raw samples"
        )
    return recording


def pad_or_trim(array: np.ndarray, length: int = N_SAMPLES, *, axis: int = -1) -> np.ndarray:
    """The array with exactly `length` elements along `axis`: cut at the end, or followed by zeros."""
    if array.shape[axis] > length:
        return array.take(range(length), axis=axis)
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, length - array.shape[axis])
    return np.pad(array, widths)


class Recording(ABC):
    """Samples at 16 kHz, mono, that can be read from first to last any number of times.

    A pass needs the memory of a few blocks, however long the recording is.
    """

    def __init__(self, name: str) -> None:
        self.name = name  # what messages call it
        self.length: int | None = None  # samples; known after the first complete pass

    def blocks(self) -> Iterator[Samples]:
        """A pass over the recording: blocks of 65,536 samples, the last one shorter. They are not to be written to.

        Raises AudioError where the source cannot be read, has no sound or less than 25 ms of it, or is not what the
        first pass found. Warns AudioWarning, once for all passes, where it is damaged or cut short, or its samples are
        not what sound has.
        """
        length = 0
        with closing(self._pass()) as pieces:
            for block in _regrouped(pieces, _BLOCK):
                length += len(block)
                yield _to_float32(block)
        if length < N_FFT:
            count = f"{length} sample" + ("s" if length != 1 else "")
            duration = f"{count} at 16 kHz ({length / 16:.4g} ms)"
            raise AudioError(f"{self.name} is too short: {duration}; give at least {N_FFT} samples (25 ms)")
        if self.length not in (None, length):
            raise AudioError(_changed(self.name))
        self.length = length

    @abstractmethod
    def _pass(self) -> Generator[NDArray[Any], None, None]:
        """The samples in pieces of any length, int16 or float32."""


class _ArrayRecording(Recording):
    """An array, of which no more than a block is ever copied."""

    def __init__(self, array: np.ndarray, sample_rate: int) -> None:
        super().__init__("the array")
        self._array = array
        self._rate = sample_rate
        doubt = check_array(array, _BLOCK)
        if doubt is not None:
            warn(doubt, AudioWarning)
        if self._rate == SAMPLE_RATE and len(array) >= N_FFT:
            self.length = len(array)

    def _pass(self) -> Generator[NDArray[Any], None, None]:
        blocks = array_blocks(self._array, _BLOCK)
        if self._rate == SAMPLE_RATE:
            return blocks
        return resampled_blocks(blocks, "s16" if self._array.dtype.kind == "i" else "flt", self._rate, SAMPLE_RATE)


class _FileRecording(Recording):
    """A recording that FFmpeg decodes. Its damage is warned of by the first pass that comes to its end."""

    def __init__(self, name: str, reading: ReadingOptions) -> None:
        super().__init__(name)
        self._reading = reading
        self._has_warned = False
        self._noticed: set[str] = set()  # what other warnings said

    def _pass(self) -> Generator[NDArray[Any], None, None]:
        for piece in decoded(
            self._opened(), self.name, SAMPLE_RATE, self._reading, self._warn_of_damage, self._warn_of_samples
        ):
            yield piece
            self._check_unchanged()

    @abstractmethod
    def _opened(self) -> str | ForwardView:
        """What FFmpeg is to open for a pass: an absolute path, or bytes."""

    def _check_unchanged(self) -> None:
        """Raises AudioError where a pass would not give what an earlier one did."""

    def _warn_of_damage(self, damage: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            warn(damage, AudioWarning)

    def _warn_of_samples(self, doubt: str) -> None:
        if doubt not in self._noticed:
            self._noticed.add(doubt)
            warn(doubt, AudioWarning)


class _DiskRecording(_FileRecording):
    """A file on a disk. It may change before the end of the first pass, but not after it."""

    def __init__(self, name: str, path: Path, reading: ReadingOptions) -> None:
        super().__init__(name, reading)
        self._path = path
        self._state: tuple[int, int, int] | None = None  # when the first pass came to its end

    def _opened(self) -> str | ForwardView:
        self._check_unchanged()
        # FFmpeg takes what stands before a colon in a relative path for a protocol ('12:30.wav').
        return str(self._path)

    def _check_unchanged(self) -> None:
        try:
            status = self._path.stat()
        except OSError as error:
            raise AudioError(_changed(self.name)) from error
        state = status.st_ino, status.st_size, status.st_mtime_ns
        if self.length is None:
            self._state = state
        elif state != self._state:
            raise AudioError(_changed(self.name))


class _ObjectRecording(_FileRecording):
    """A file object that can go back. FFmpeg reads it from where it stood."""

    def __init__(self, name: str, file: BinaryIO, start: int, reading: ReadingOptions) -> None:
        super().__init__(name, reading)
        self._file = file
        self._start = start

    def _opened(self) -> str | ForwardView:
        if getattr(self._file, "closed", False):
            raise AudioError(_closed(self.name))
        return View(self._file, self._start, self._file)


class _PipeRecording(_FileRecording):
    """What can be read only once: its bytes are kept, as they come, for the passes over it."""

    _if_empty = "check what is to write into the pipe"

    def __init__(self, name: str, reading: ReadingOptions, file: IO[bytes] | None = None) -> None:
        super().__init__(name, reading)
        self._file = file
        self._kept: KeptBytes | None = None

    def _opened(self) -> ForwardView:
        if self._kept is None:
            if self._file is None:
                self._file = self._connected()
                weakref.finalize(self, self._file.close)
            self._kept = KeptBytes(self._file, self.name, self._warn_of_damage)
        forward = ForwardView(self._kept, 0, self._file)
        if not forward.peek(0, 1):
            raise AudioError(f"{self.name} is empty (0 bytes); {self._if_empty}")
        if self._reading.input_format is not None or forward.peek(0, 4) in _DECODED_FORWARD:
            return forward
        return View(self._kept, 0, self._file)

    def _connected(self) -> IO[bytes]:
        """What is to be read, where it was not given open."""
        raise NotImplementedError


class _NamedPipeRecording(_PipeRecording):
    """A pipe or a device in a folder, which is opened by the first pass."""

    def __init__(self, name: str, path: Path, reading: ReadingOptions) -> None:
        super().__init__(name, reading)
        self._path = path

    def _connected(self) -> IO[bytes]:
        try:
            return self._path.open("rb")
        except PermissionError as error:
            raise AudioError(not_permitted(self.name)) from error
        except OSError as error:
            raise AudioError(f"{self.name} cannot be opened ({error.strerror}); give a file or a pipe") from error


class _UrlRecording(_PipeRecording):
    """What a server sends to the first pass."""

    _if_empty = "check the address"

    def __init__(self, url: str, reading: ReadingOptions) -> None:
        super().__init__(f"'{shown_url(url)}'", reading)
        self._url = url

    def _connected(self) -> IO[bytes]:
        return opened_url(self._url)


def _file_recording(source: object, reading: ReadingOptions) -> _FileRecording:
    """Whatever can be known of a file before it is decoded is checked."""
    if isinstance(source, str) and is_url(source):
        return _UrlRecording(source, reading)
    if isinstance(source, (str, os.PathLike)):
        return _path_recording(Path(source), reading)
    if not hasattr(source, "read"):
        raise AudioError(
            f"cannot read audio from a {type(source).__name__}; give a path, a binary file object or a NumPy array"
        )
    label = getattr(source, "name", None)
    return _object_recording(source, f"'{label}'" if isinstance(label, str) else "the file object", reading)


def _path_recording(path: Path, reading: ReadingOptions) -> _FileRecording:
    name = f"'{path}'"
    try:
        status = path.stat()
    except PermissionError as error:
        raise AudioError(not_permitted(name)) from error
    except (OSError, ValueError) as error:
        raise AudioError(no_such_file(str(path))) from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{name} is a folder; give a recording in it")
    if not stat.S_ISREG(status.st_mode):
        return _NamedPipeRecording(name, path, reading)
    if status.st_size == 0:
        raise AudioError(f"{name} is empty (0 bytes); record, copy or download it again")
    return _DiskRecording(name, path.absolute(), reading)


def _object_recording(file: Any, name: str, reading: ReadingOptions) -> _FileRecording:
    if getattr(file, "closed", False):
        raise AudioError(_closed(name))
    is_text = isinstance(file, io.TextIOBase)
    file = ForeignFile(file)
    if is_text or not file.readable():
        raise AudioError(f"{name} is not open for reading bytes; open it in binary mode, with 'rb'")
    if not file.seekable():
        return _PipeRecording(name, reading, file)
    try:
        position = file.tell()
        at_end = not file.read(1)
        file.seek(position)
    except OSError as error:
        raise AudioError(
            f"{name} cannot be read ({error}); give a file object whose read, seek and tell work"
        ) from error
    if at_end:
        raise AudioError(f"{name} has nothing left to read: it is empty or at its end; rewind it with seek(0)")
    return _ObjectRecording(name, file, position, reading)


def _closed(name: str) -> str:
    return f"{name} was closed before it was transcribed; keep it open until then"


def _changed(name: str) -> str:
    return f"{name} was changed, moved or removed while it was read; leave it as it is until its transcription is done"


def _regrouped(pieces: Iterator[NDArray[Any]], length: int) -> Iterator[NDArray[Any]]:
    """The same samples in blocks of one length, the last one shorter."""
    held: list[NDArray[Any]] = []
    n_held = 0
    for piece in pieces:
        held.append(piece)
        n_held += len(piece)
        if n_held < length:
            continue
        joined = held[0] if len(held) == 1 else np.concatenate(held)
        whole = n_held - n_held % length
        for start in range(0, whole, length):
            yield joined[start : start + length]
        n_held -= whole
        held = [joined[whole:]] if n_held else []
    if held:
        yield held[0] if len(held) == 1 else np.concatenate(held)


def _to_float32(block: NDArray[Any]) -> Samples:
    if block.dtype == np.float32:
        return block
    scaled = block.astype(np.float32)
    scaled /= 32768.0
    return scaled
