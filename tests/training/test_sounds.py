"""Sounds without speech are whole, loud enough to matter and never the same."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from training.sounds import KINDS, draw_sound

RATE = 16_000


@pytest.mark.parametrize("frames", [10, 300, 3000])
def test_drawn_sounds_fit_their_frames(frames: int) -> None:
    rng = random.Random(0)
    for _ in range(12):
        sound = draw_sound(rng, frames)
        assert sound.shape == (160 * frames,)
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
        assert 0 < np.abs(sound).max() <= 1


def test_the_same_state_draws_the_same_sound_and_another_another() -> None:
    first, again, other = (draw_sound(random.Random(seed), 100) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_has_power_between_20_hz_and_8_khz(kind: Callable[[int, np.random.Generator], np.ndarray]) -> None:
    for seed in range(6):
        sound = kind(10 * RATE, np.random.default_rng(seed))
        power = np.abs(np.fft.rfft(sound)) ** 2
        audible = power[np.fft.rfftfreq(len(sound), 1 / RATE) > 20].sum()
        assert sound.shape == (10 * RATE,)
        assert audible > 0.5 * power.sum() > 0
