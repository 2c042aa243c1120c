"""The two halves of Whisper's log-mel, put together, are Whisper's log-mel."""

from __future__ import annotations

import numpy as np
import torch
from whisper.audio import log_mel_spectrogram

from training.features import log_mel_power, normalize


def test_equals_whisper() -> None:
    rng = np.random.default_rng(0)
    audio = (rng.normal(size=32_000) * np.linspace(0, 0.3, 32_000)).astype(np.float32)
    ours = normalize(torch.from_numpy(log_mel_power(audio)).float())
    assert ours.shape == (80, 200)
    torch.testing.assert_close(ours, log_mel_spectrogram(audio), atol=2e-3, rtol=0)


def test_a_louder_recording_raises_the_floor() -> None:
    quiet = torch.full((80, 4), -6.0)
    assert float(normalize(quiet, 3.0).min()) == (3.0 - 8.0 + 4.0) / 4.0
    assert float(normalize(quiet).max()) == -0.5
