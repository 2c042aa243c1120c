"""Samples to the log-mel spectrogram that Whisper's encoder reads: whole, or window by window in flat memory.

The spectrogram is that of openai-whisper (whisper/audio.py), whose floor is set by the loudest bin of the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from max_whisper.audio.constants import HOP_LENGTH, N_FFT, N_FRAMES, SAMPLE_RATE
from max_whisper.audio.recording import Samples
from max_whisper.audio.samples import SampleSource
from max_whisper.errors import AudioError
from max_whisper.progress import Progress, Step, silent

LogMel = NDArray[np.float32]  # [n_mels, frames]
Log10Mel = Callable[[Samples, int], LogMel]  # `log10_mel`, or what computes the same

_BLOCK = 1024  # frames computed at a time, 10 s
_NUMPY_BLOCK = 256  # frames that NumPy transforms at once: in float64 they fit a CPU's second-level cache
_EDGE = N_FFT // 2  # samples that a frame reaches to each side of its center
_QUIETEST = -10.0  # log10 of the least power that is told from none
_RANGE = 8.0  # below the loudest bin of the recording, in powers of ten
_KEPT_FRAMES = 60_000  # of a recording of up to 10 minutes the spectrogram is kept: 19 MB with 80 mel bins


def log10_mel(samples: Samples, n_mels: int) -> LogMel:
    """log10, not below -10, of the mel power of all frames that lie whole in the samples: float32 [n_mels, frames]."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, N_FFT)[::HOP_LENGTH]
    values = np.empty((n_mels, len(frames)), np.float32)
    for first in range(0, len(frames), _NUMPY_BLOCK):
        spectrum = np.fft.rfft(frames[first : first + _NUMPY_BLOCK] * hann_window())
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        mel = _through_filters(np.ascontiguousarray(power.T), n_mels)
        np.maximum(mel, 10.0**_QUIETEST, out=mel)
        np.log10(mel, out=mel)
        # A float32 logarithm can be a bit lower.
        np.maximum(mel, _QUIETEST, out=values[:, first : first + _NUMPY_BLOCK])
    return values


def log_mel_spectrogram(
    audio: np.ndarray, n_mels: int = 80, padding: int = 0, *, log10_mel: Log10Mel = log10_mel
) -> LogMel:
    """The log-mel spectrogram of a recording, as `whisper.audio.log_mel_spectrogram` defines it.

    A centered, mirrored STFT with a Hann window, its power through the mel filters, log10 not below -10 nor below the
    maximum of the whole spectrogram less 8, then (x + 4) / 4. The transform runs in float64: every value is within 1e-5
    of this definition. PyTorch transforms in float32, which moves openai-whisper's own values by up to 6e-5 in the few
    bins that lie far below the loudest of their frame.

    Args:
        audio: float32 [n] at 16 kHz.
        n_mels: mel bins; Whisper's models have 80 or 128.
        padding: zeros to follow the audio, in samples.
        log10_mel: what computes the frames.

    Returns:
        float32 [n_mels, (n + padding) // 160]

    Raises:
        AudioError: there are fewer than 201 samples with the padding, too few to mirror at the ends.
    """
    audio = np.asarray(audio, np.float32)
    n_samples = len(audio) + padding
    if n_samples <= _EDGE:
        raise AudioError(f"too short for a log-mel spectrogram: {n_samples} samples; give at least {_EDGE + 1}")
    n_frames = n_samples // HOP_LENGTH
    log_mel = np.full((n_mels, n_frames), _QUIETEST, np.float32)
    n_sounding = min(n_frames, _sounding_frames(len(audio)))
    for first in range(0, n_sounding, _BLOCK):
        last = min(first + _BLOCK, n_sounding)
        span = _mirrored(audio, n_samples, first * HOP_LENGTH - _EDGE, (last - 1) * HOP_LENGTH + _EDGE)
        log_mel[:, first:last] = log10_mel(span, n_mels)
    _scale(log_mel, log_mel.max(initial=_QUIETEST))
    return log_mel


class LogMelWindows:
    """The log-mel spectrogram of a recording of any length, in windows of 30 s that move forward.

    The recording is read twice. The first pass finds its length and its loudest mel bin; of a recording of up to ten
    minutes it also keeps the spectrogram. The windows of a longer one are computed as they are asked for.
    """

    def __init__(
        self,
        source: SampleSource,
        n_mels: int = 80,
        *,
        log10_mel: Log10Mel = log10_mel,
        progress: Progress = silent,
    ) -> None:
        """Makes the first pass.

        Args:
            source: the recording.
            n_mels: mel bins; Whisper's models have 80 or 128.
            log10_mel: what computes the frames.
            progress: hears how many seconds of the recording have been read.

        Raises AudioError, and warns AudioWarning, as `SampleSource.blocks` does.
        """
        self._source = source
        self._n_mels = n_mels
        self._log10_mel = log10_mel
        self._blocks: dict[int, LogMel] = {}  # log10 of the mel power, by number of the block
        self._keeps_all = True
        self._n_samples = 0
        self._loudest = np.float32(_QUIETEST)
        for number, span in enumerate(_spans(self._heard(progress))):
            block = log10_mel(span, n_mels)
            self._loudest = max(self._loudest, block.max())
            if self._keeps_all:
                self._blocks[number] = block
                if number * _BLOCK >= _KEPT_FRAMES:
                    self._keeps_all = False
                    self._blocks.clear()
        self.content_frames = self._n_samples // HOP_LENGTH  # mel frames of the recording itself

    def window(self, seek: int, frames: int) -> LogMel:
        """Mel frames [seek, seek + frames) of the recording followed by silence, then zeros up to 3000 frames.

        They equal `log_mel_spectrogram(audio, n_mels, padding=480_000)[:, seek : seek + frames]` bit for bit. A window
        that begins before the one asked for last is slow where the recording is longer than ten minutes.

        Returns float32 [n_mels, 3000], contiguous. Raises AudioError where the recording has changed since the first
        pass.
        """
        log_mel = np.full((self._n_mels, N_FRAMES), _QUIETEST, np.float32)
        stop = seek + frames
        for number in range(seek // _BLOCK, -(-stop // _BLOCK)):
            block = self._block(number)
            first = number * _BLOCK
            low, high = max(seek, first), min(stop, first + block.shape[-1])
            if low < high:
                log_mel[:, low - seek : high - seek] = block[:, low - first : high - first]
        _scale(log_mel[:, :frames], self._loudest)
        log_mel[:, frames:] = 0
        if not self._keeps_all:
            for number in [number for number in self._blocks if number < seek // _BLOCK]:
                del self._blocks[number]
        return log_mel

    def _block(self, number: int) -> LogMel:
        """Frames [1024 number, 1024 (number + 1)) without those after the end: float32 [n_mels, n]."""
        if number not in self._blocks:
            self._blocks[number] = self._computed_block(number)
        return self._blocks[number]

    def _computed_block(self, number: int) -> LogMel:
        first = number * _BLOCK
        last = min(first + _BLOCK, _sounding_frames(self._n_samples))
        if last <= first:
            return np.empty((self._n_mels, 0), np.float32)
        start, stop = first * HOP_LENGTH - _EDGE, (last - 1) * HOP_LENGTH + _EDGE
        span = self._source.read(max(start, 0), stop)
        return self._log10_mel(_with_mirror(span) if start < 0 else span, self._n_mels)

    def _heard(self, progress: Progress) -> Iterator[Samples]:
        """The blocks of the first pass, once they are counted."""
        for block in self._source.blocks():
            self._n_samples += len(block)
            total = self._source.length
            seconds = self._n_samples // SAMPLE_RATE
            progress(Step("reading the recording", seconds, total and total // SAMPLE_RATE, "s"))
            yield block


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
def hann_window() -> NDArray[np.float64]:
    """The periodic Hann window, float64 [400], with the float32 rounding of `torch.hann_window`.

    The rounding is part of the reference: without it the spectrogram is off by up to 3e-5.
    """
    phase = np.arange(N_FFT, dtype=np.float32) * np.float32(2 * np.pi / N_FFT)
    cosine = np.cos(phase.astype(np.float64)).astype(np.float32)
    return (np.float32(0.5) - np.float32(0.5) * cosine).astype(np.float64)


@lru_cache
def _filter_bins(n_mels: int) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.intp], NDArray[np.bool_]]:
    """The bins of all filters, one after the other; their weights [bins, 1]; where a filter's begin; which have any."""
    filters = mel_filters(n_mels)
    mel, bins = np.nonzero(filters)
    sizes = np.bincount(mel, minlength=n_mels)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).clip(max=len(bins) - 1)
    return bins, filters[mel, bins][:, None], starts, sizes > 0


def _through_filters(power: NDArray[np.float32], n_mels: int) -> LogMel:
    """The mel filters' outputs [n_mels, frames] of power [201, frames].

    A filter has a few neighboring bins. The product with the whole matrix would be as fast, but NumPy's BLAS gives it
    to threads that go on to wait in a loop, which takes a core from the encoder for 30 ms.
    """
    bins, weights, starts, has_bins = _filter_bins(n_mels)
    mel: LogMel = np.add.reduceat(power[bins] * weights, starts, axis=0)
    mel[~has_bins] = 0
    return mel


def _scale(log_mel: LogMel, loudest: np.float32) -> None:
    """From log10 to what the encoder reads, in place."""
    np.maximum(log_mel, loudest - _RANGE, out=log_mel)
    log_mel += 4.0
    log_mel /= 4.0


def _sounding_frames(n_samples: int) -> int:
    """The frames that see any of a recording. Those after them have no power at all, and need no transform."""
    return -(-(n_samples + _EDGE) // HOP_LENGTH)


def _spans(blocks: Iterator[Samples]) -> Iterator[Samples]:
    """The samples, mirrored at the first and with zeros at the end, of which each block of frames is made."""
    step, width = _BLOCK * HOP_LENGTH, (_BLOCK - 1) * HOP_LENGTH + N_FFT
    pending = _with_mirror(next(blocks, np.zeros(0, np.float32)))
    for block in blocks:
        while len(pending) >= width:
            yield pending[:width]
            pending = pending[step:]
        pending = np.concatenate([pending, block])
    n_frames = -(-len(pending) // HOP_LENGTH)
    pending = np.concatenate([pending, np.zeros(N_FFT, np.float32)])
    for first in range(0, n_frames, _BLOCK):
        last = min(first + _BLOCK, n_frames)
        yield pending[first * HOP_LENGTH : (last - 1) * HOP_LENGTH + N_FFT]


def _with_mirror(head: Samples) -> Samples:
    """The first samples of a recording with those before them that the STFT's mirror shows."""
    mirror = np.zeros(_EDGE, np.float32)
    seen = head[1 : _EDGE + 1][::-1]
    mirror[_EDGE - len(seen) :] = seen
    return np.concatenate([mirror, head])


def _mirrored(audio: Samples, n_samples: int, start: int, stop: int) -> Samples:
    """Samples [start, stop) of the audio with zeros after it up to `n_samples`, mirrored at the first and the last."""
    if start >= 0 and stop <= len(audio):
        return audio[start:stop]
    index = np.abs(np.arange(start, stop))
    index = np.minimum(index, 2 * (n_samples - 1) - index)
    span = np.zeros(len(index), np.float32)
    inside = index < len(audio)
    span[inside] = audio[index[inside]]
    return span
