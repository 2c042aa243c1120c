"""Log-mel spectrograms as Whisper computes them, split so that augmentation can happen in between.

Whisper's features are log10 mel power, clamped to 8 below the maximum of the recording, then `(x + 4) / 4`
(openai-whisper, `whisper/audio.py`). Training keeps the first half of that on disk, changes it, and applies the second.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from whisper.audio import HOP_LENGTH, N_FFT, mel_filters

N_MELS = 80
FLOOR = -10.0
"""log10 of the smallest mel power that Whisper distinguishes."""


@cache
def _filters_and_window() -> tuple[torch.Tensor, torch.Tensor]:
    return mel_filters("cpu", N_MELS), torch.hann_window(N_FFT)


def log_mel_power(audio: np.ndarray) -> np.ndarray:
    """log10 of the mel power of 16 kHz `audio` (float32 in [-1, 1]): float16 [80, samples // 160]."""
    filters, window = _filters_and_window()
    samples = torch.from_numpy(audio.astype(np.float32))
    stft = torch.stft(samples, N_FFT, HOP_LENGTH, window=window, return_complex=True)
    power = stft[..., :-1].abs() ** 2
    return (filters @ power).clamp(min=1e-10).log10().half().numpy()


def normalize(log_power: torch.Tensor, maximum: float | None = None) -> torch.Tensor:
    """Whisper's clamp and scaling; `maximum` is that of the whole recording where it is more than this window."""
    top = float(log_power.max()) if maximum is None else max(maximum, float(log_power.max()))
    return (log_power.clamp(min=top - 8.0) + 4.0) / 4.0
