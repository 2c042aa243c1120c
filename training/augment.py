"""Changes to log10 mel power that stand for other people, rooms, microphones and noise.

Everything works on log-mel power because that is cheap: a window takes a few milliseconds. Frequencies are warped
(vocal tracts), time is stretched (speed), a smooth curve is added (microphones), power decays into the next frames
(rooms), and noise is added as power.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.features import FLOOR, N_MELS

LOG_10 = math.log(10.0)


def _smooth_curve(rng: random.Random, tilt: float, wave: float) -> Tensor:
    """A random curve over the mel bands, [80, 1]: a slope and one slow wave."""
    band = torch.linspace(0, 1, N_MELS)
    phase, cycles = rng.uniform(0, 6.3), rng.uniform(1, 9)
    curve = rng.uniform(-tilt, tilt) * band + rng.uniform(-wave, wave) * (cycles * band + phase).sin()
    return curve[:, None]


def _warp_matrix(factor: float) -> Tensor:
    """[80, 80]: moves mel bands by `factor`, linearly interpolated."""
    source = (torch.arange(N_MELS) * factor).clamp(0, N_MELS - 1)
    low = source.floor().long()
    fraction = source - low
    matrix = torch.zeros(N_MELS, N_MELS)
    rows = torch.arange(N_MELS)
    matrix[rows, low] += 1 - fraction
    matrix[rows, (low + 1).clamp(max=N_MELS - 1)] += fraction
    return matrix


@dataclass(frozen=True)
class Condition:
    """One speaker before one microphone: applied to every utterance until the next is drawn."""

    gain: float
    warp: Tensor | None
    stretch: float
    coloring: Tensor | None
    cutoff: int
    reverberation: float

    @classmethod
    def draw(cls, rng: random.Random, strength: float) -> Condition:
        """A condition in which each change happens with a chance that grows with `strength` (0 to 1)."""
        return cls(
            gain=rng.uniform(-1.6, 0.4),
            warp=_warp_matrix(rng.uniform(0.9, 1.11)) if rng.random() < strength else None,
            stretch=rng.uniform(0.87, 1.15) if rng.random() < strength else 1.0,
            coloring=_smooth_curve(rng, 1.0, 0.5) if rng.random() < 0.7 * strength else None,
            cutoff=rng.randint(56, 74) if rng.random() < 0.25 * strength else N_MELS,
            reverberation=rng.uniform(0.3, 0.8) if rng.random() < 0.3 * strength else 0.0,
        )

    def length(self, frames: int) -> int:
        """How many frames an utterance of `frames` has after `apply`."""
        return max(8, int(frames * self.stretch))

    def apply(self, log_power: Tensor) -> Tensor:
        """Change float32 [80, frames] log10 mel power."""
        x = log_power if self.warp is None else self.warp @ log_power
        if self.stretch != 1.0:
            x = functional.interpolate(x[None], size=self.length(x.shape[1]), mode="linear")[0]
        if self.coloring is not None:
            x = x + self.coloring
        if self.reverberation:
            x = reverberate(x, self.reverberation)
        if self.cutoff < N_MELS:
            x = x.clone()
            x[self.cutoff :] = FLOOR
        return x + self.gain


def reverberate(log_power: Tensor, seconds: float) -> Tensor:
    """Let power decay by 60 dB in `seconds`, 10 dB below the direct sound."""
    frames = max(2, int(seconds * 60))
    decay = torch.pow(10.0, -6.0 / (100 * seconds) * torch.arange(frames)) * 0.1
    decay[0] = 1.0
    power = (log_power * LOG_10).exp()
    padded = functional.pad(power, (frames - 1, 0))
    smeared = functional.conv1d(padded[:, None], decay.flip(0)[None, None])[:, 0]
    return smeared.clamp(min=10.0**FLOOR).log10()


def draw_noise(rng: random.Random, frames: int, loudness: float) -> Tensor:
    """Noise whose log10 mel power [80, frames] is near `loudness`: hiss, sometimes hum, knocks or a varying level."""
    level = loudness + _smooth_curve(rng, 1.2, 0.4)
    noise = level + (1 + 0.45 * torch.randn(N_MELS, frames)).clamp(min=0.05).log10()
    if rng.random() < 0.15:
        steps = torch.randn(1, 1, frames // 40 + 2) * 0.35
        noise = noise + functional.interpolate(steps, size=frames, mode="linear")[0]
    if rng.random() < 0.12:
        for _ in range(rng.randint(1, 4)):
            band = rng.randint(0, N_MELS - 3)
            noise[band : band + rng.randint(1, 2)] += rng.uniform(0.3, 1.8)
    if rng.random() < 0.1:
        for _ in range(rng.randint(1, 1 + frames // 300)):
            start = rng.randint(0, frames - 1)
            length = min(rng.randint(2, 12), frames - start)
            noise[:, start : start + length] += torch.linspace(rng.uniform(0.5, 2.5), 0, length)
    return noise


def add_power(log_power: Tensor, noise: Tensor) -> Tensor:
    """The log10 of the sum of two powers given as log10."""
    return torch.logaddexp(log_power * LOG_10, noise * LOG_10) / LOG_10


def mask_randomly(features: Tensor, rng: random.Random) -> None:
    """Blank a few bands and short stretches of time, in place (SpecAugment, Park et al. 2019)."""
    bands, frames = features.shape
    mean = features.mean()
    for _ in range(rng.randint(0, 2)):
        width = rng.randint(1, 10)
        start = rng.randint(0, bands - width)
        features[start : start + width] = mean
    for _ in range(frames // 300):
        width = rng.randint(1, 14)
        start = rng.randint(0, max(0, frames - width))
        features[:, start : start + width] = mean
