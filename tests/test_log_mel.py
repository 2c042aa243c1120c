"""Samples become the log-mel spectrogram of openai-whisper, in windows of its length."""

import tracemalloc
from functools import cache

import numpy as np
import pytest
import torch
import whisper.audio
from numpy.typing import NDArray

from max_whisper import audio
from max_whisper.audio import pad_or_trim
from max_whisper.errors import AudioError
from max_whisper.log_mel import log_mel_spectrogram, mel_filters


def voice(seconds: float) -> NDArray[np.float32]:
    """Something like a vowel: the harmonics of a gliding pitch under three formants, in syllables, with faint noise."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(3 * time)) / 16_000
    sound = np.zeros_like(time)
    for harmonic in range(1, 50):
        weight = sum(gain / (1 + ((harmonic * 120 - f) / 90) ** 2) for f, gain in [(600, 1), (1200, 0.5), (2600, 0.2)])
        sound += weight * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 2 * time), 0, 1)
    noise = np.random.default_rng(0).normal(0, 1e-4, len(time))
    return (0.1 * sound * syllables + noise).astype(np.float32)


@cache
def signals() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    time = np.arange(10 * 16_000) / 16_000
    impulses = np.zeros(160_000)
    impulses[::8000] = 1
    made = {
        "loud noise": rng.uniform(-1, 1, 160_000),
        "noise": rng.normal(0, 0.1, 160_000),
        "quiet noise": rng.normal(0, 1e-5, 160_000),
        "silence": np.zeros(160_000),
        "impulses": impulses,
        "constant": np.full(160_000, 0.5),
        "square wave": np.sign(np.sin(2 * np.pi * 100 * time)),
        "voice": voice(10),
        "low tone": 0.9 * np.sin(2 * np.pi * 100 * time),
        "chirp": 0.5 * np.sin(2 * np.pi * (100 + 300 * time) * time),
        "tone in faint noise": 0.9 * np.sin(2 * np.pi * 440 * time) + rng.normal(0, 1e-5, 160_000),
    }
    return {name: samples.astype(np.float32) for name, samples in made.items()}


def exact_log_mel(samples: NDArray[np.float32], n_mels: int, padding: int) -> NDArray[np.float64]:
    """The steps of `whisper.audio.log_mel_spectrogram`, in float64."""
    padded = torch.nn.functional.pad(torch.from_numpy(samples).double(), (0, padding))
    stft = torch.stft(padded, 400, 160, window=torch.hann_window(400).double(), return_complex=True)
    mel = whisper.audio.mel_filters("cpu", n_mels).double() @ stft[:, :-1].abs() ** 2
    log_mel = mel.clamp(min=1e-10).log10()
    return ((torch.maximum(log_mel, log_mel.max() - 8.0) + 4.0) / 4.0).numpy()


class TestLogMel:
    @pytest.mark.parametrize("n_mels", [80, 128])
    def test_filters_equal_the_reference_bit_for_bit(self, n_mels: int) -> None:
        assert np.array_equal(mel_filters(n_mels), whisper.audio.mel_filters("cpu", n_mels).numpy())

    @pytest.mark.parametrize("n_mels", [80, 128])
    @pytest.mark.parametrize("name", signals())
    def test_values(self, name: str, n_mels: int) -> None:
        samples = signals()[name]
        ours = log_mel_spectrogram(samples, n_mels, padding=16_000)
        reference = whisper.audio.log_mel_spectrogram(samples, n_mels, padding=16_000).numpy()
        assert ours.dtype == np.float32
        assert ours.shape == reference.shape == (n_mels, 1100)
        assert np.abs(ours - exact_log_mel(samples, n_mels, 16_000)).max() < 1e-5
        # What is left is the rounding of PyTorch's float32 transform. It passes 1e-5 only where a frame has strong
        # tones and next to nothing elsewhere: in few bins of a voice, in more of one tone alone.
        tonal = {"voice": 5e-3, "low tone": 0.05, "chirp": 0.05}
        assert (np.abs(ours - reference) > 1e-5).mean() <= tonal.get(name, 1e-4)
        assert np.abs(ours - reference).max() < 1e-4

    @pytest.mark.parametrize("length", [201, 399, 400, 401, 560, 1000, 40_959, 40_960, 41_120, 81_920, 480_000])
    @pytest.mark.parametrize("padding", [0, 1, 199, 200, 201, 480_000])
    def test_lengths(self, length: int, padding: int) -> None:
        samples = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
        ours = log_mel_spectrogram(samples, padding=padding)
        reference = whisper.audio.log_mel_spectrogram(samples, padding=padding).numpy()
        assert ours.shape == reference.shape == (80, (length + padding) // 160)
        assert np.abs(ours - reference).max() < 1e-5

    def test_short_audio_with_padding(self) -> None:
        for length in (0, 1, 50, 200):
            samples = np.full(length, 0.1, np.float32)
            reference = whisper.audio.log_mel_spectrogram(samples, padding=1000).numpy()
            assert np.abs(log_mel_spectrogram(samples, padding=1000) - reference).max() < 1e-5

    def test_the_floor_is_that_of_the_whole_recording(self) -> None:
        samples = np.concatenate([voice(1), 1e-6 * voice(1)])
        log_mel = log_mel_spectrogram(samples)
        assert log_mel.min() == pytest.approx(log_mel.max() - 2.0, abs=1e-6)
        assert log_mel[:, 110:].max() == log_mel.min()

    def test_too_short(self) -> None:
        with pytest.raises(AudioError) as caught:
            log_mel_spectrogram(np.zeros(200, np.float32))
        assert str(caught.value) == "too short for a log-mel spectrogram: 200 samples; give at least 201"

    def test_leaves_its_input_alone(self) -> None:
        samples = voice(1)
        samples.flags.writeable = False
        log_mel_spectrogram(samples)
        assert np.array_equal(samples, voice(1))

    def test_memory_of_a_long_recording(self) -> None:
        samples = np.zeros(10 * 60 * 16_000, np.float32)
        tracemalloc.start()
        try:
            log_mel = log_mel_spectrogram(samples, padding=audio.N_SAMPLES)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert log_mel.shape == (80, 63_000)
        assert peak < log_mel.nbytes + 8e6


class TestPadOrTrim:
    @pytest.mark.parametrize("length", [0, 1, 479_999, 480_000, 480_001])
    def test_samples(self, length: int) -> None:
        samples = np.arange(length, dtype=np.float32)
        assert np.array_equal(pad_or_trim(samples), whisper.audio.pad_or_trim(samples))

    @pytest.mark.parametrize("axis", [0, 1, -1, -2])
    @pytest.mark.parametrize("length", [1, 5, 9])
    def test_axes(self, axis: int, length: int) -> None:
        array = np.arange(35, dtype=np.float32).reshape(5, 7)
        ours = pad_or_trim(array, length, axis=axis)
        assert ours.dtype == np.float32
        assert np.array_equal(ours, whisper.audio.pad_or_trim(array, length, axis=axis))
