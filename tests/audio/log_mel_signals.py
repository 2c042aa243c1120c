"""Signals for spectrograms, and what openai-whisper's formula gives for them in float64."""

from functools import cache

import numpy as np
import torch
import whisper.audio
from numpy.typing import NDArray


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
