"""Sounds in which nobody speaks: tunes, chords, drums, sirens, beeps, wind and loud noise, with everything drawn anew.

A model that has only heard silence and hiss takes any other sound for words. These are made by formula at 16 kHz, from
tones of a random timbre, bursts and noise, so that no recordings of music are needed.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from whisper.audio import HOP_LENGTH, SAMPLE_RATE

_PERIOD = 2048
"""Samples of one period of a timbre."""


def _timbre(numbers: np.random.Generator, highest: float) -> np.ndarray:
    """One period of a tone whose overtones stay below 8 kHz when its pitch is `highest` Hz: float32 [2048]."""
    count = int(np.clip(8000 / highest, 1, numbers.integers(1, 20)))
    overtones = np.arange(1, count + 1)
    strength = overtones ** -numbers.uniform(0.3, 3.0) * numbers.uniform(0.2, 1.0, count)
    if numbers.random() < 0.2:
        strength[1::2] = 0
    angle = 2 * np.pi * np.arange(_PERIOD) / _PERIOD
    waves = np.sin(overtones[:, None] * angle + numbers.uniform(0, 2 * np.pi, (count, 1)))
    return (strength @ waves).astype(np.float32)


def _tone(pitch: np.ndarray, numbers: np.random.Generator) -> np.ndarray:
    """A tone whose pitch is `pitch` Hz at every sample: float32 [samples]."""
    phase = np.cumsum(pitch / SAMPLE_RATE) % 1.0
    return _timbre(numbers, float(pitch.max()))[(phase * _PERIOD).astype(np.int32) % _PERIOD]


def _events(
    samples: int, numbers: np.random.Generator, shortest: float, longest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Events one after another, even or uneven: the number of the event and the seconds since it began, by sample."""
    even = numbers.random() < 0.6
    mean = float(np.exp(numbers.uniform(np.log(shortest), np.log(longest))))
    count = int(samples / SAMPLE_RATE / mean * (1 if even else 4)) + 2
    lengths = mean * (np.ones(count) if even else numbers.choice([0.5, 1.0, 1.0, 1.5, 2.0], count))
    begins = np.concatenate([[0.0], np.cumsum(lengths)]) - numbers.uniform(0, mean)
    time = np.arange(samples) / SAMPLE_RATE
    event = np.searchsorted(begins, time, side="right") - 1
    return event, time - begins[event]


def _envelope(since: np.ndarray, numbers: np.random.Generator) -> np.ndarray:
    """How loud a note is so many seconds after it was struck, plucked, or begun on a held instrument."""
    attack = np.exp(numbers.uniform(np.log(0.002), np.log(0.15)))
    decay = 0.0 if numbers.random() < 0.25 else np.exp(numbers.uniform(np.log(0.3), np.log(12)))
    return np.minimum(1, since / attack) * np.exp(-decay * since)


def tune(samples: int, numbers: np.random.Generator) -> np.ndarray:
    """One to four voices that play notes of one scale, together or each for itself."""
    lowest = numbers.integers(30, 80)
    steps = np.sort(numbers.choice(np.arange(12), numbers.integers(1, 9), replace=False))
    scale = (lowest + steps[None] + 12 * np.arange(numbers.integers(1, 4))[:, None]).ravel()
    together = numbers.random() < 0.5
    event, since = _events(samples, numbers, 0.09, 4.0)
    sound = np.zeros(samples)
    for _ in range(numbers.integers(1, 5)):
        if not together:
            event, since = _events(samples, numbers, 0.09, 4.0)
        notes = numbers.choice(scale, event[-1] + 1)
        if numbers.random() < 0.3:
            notes = np.resize(notes[: numbers.integers(1, 9)], len(notes))
        played = numbers.random(len(notes)) > numbers.choice([0.0, 0.1, 0.4])
        pitch = 440.0 * 2.0 ** ((notes - 69 + numbers.uniform(-0.5, 0.5)) / 12)[event]
        if numbers.random() < 0.3:
            pitch *= 1 + numbers.uniform(0.002, 0.02) * np.sin(2 * np.pi * numbers.uniform(4, 8) * since)
        loudness = numbers.uniform(0.3, 1.0) * played[event] * _envelope(since, numbers)
        sound += loudness * _tone(pitch, numbers)
    return sound


def drums(samples: int, numbers: np.random.Generator) -> np.ndarray:
    """One to four instruments, thumps and bursts of noise, on a pattern that repeats."""
    event, since = _events(samples, numbers, 0.08, 0.5)
    sound = np.zeros(samples)
    for _ in range(numbers.integers(1, 5)):
        pattern = numbers.random(numbers.choice([2, 3, 4, 6, 8, 16])) < numbers.uniform(0.2, 0.7)
        hit = np.resize(pattern, event[-1] + 1)[event] * np.exp(-numbers.uniform(4, 60) * since)
        if numbers.random() < 0.5:
            lowest = numbers.uniform(35, 250)
            pitch = lowest * (1 + numbers.uniform(0.2, 4) * np.exp(-numbers.uniform(10, 50) * since))
            body = _tone(pitch, numbers)
        else:
            body = noise(samples, numbers)
        sound += numbers.uniform(0.2, 1.0) * hit * body / (body.std() + 1e-9)
    return sound


def siren(samples: int, numbers: np.random.Generator) -> np.ndarray:
    """A tone that glides up, down or to and fro, or jumps between two pitches, with or without pauses."""
    event, since = _events(samples, numbers, 0.05, 6.0)
    length = max(float(since.max()), 1e-3)
    low, high = np.sort(np.exp(numbers.uniform(np.log(60), np.log(7000), 2)))
    part = since / length
    shapes = [part, 1 - part, 1 - np.abs(2 * part - 1), 0.5 - 0.5 * np.cos(2 * np.pi * part), (event % 2).astype(float)]
    pitch = low * (high / low) ** shapes[numbers.integers(len(shapes))]
    sounding = numbers.random(event[-1] + 1) > numbers.choice([0.0, 0.0, 0.5])
    return _tone(pitch, numbers) * sounding[event]


def beeps(samples: int, numbers: np.random.Generator) -> np.ndarray:
    """Steady tones that go on, or on and off: dial tones, alarms, machines."""
    event, _ = _events(samples, numbers, 0.1, 3.0)
    gate = np.ones(samples) if numbers.random() < 0.4 else (event % numbers.integers(2, 5) == 0) * 1.0
    pitches = np.exp(numbers.uniform(np.log(40), np.log(4000), numbers.integers(1, 4)))
    return gate * sum(_tone(np.full(samples, pitch), numbers) for pitch in pitches)


def noise(samples: int, numbers: np.random.Generator) -> np.ndarray:
    """Noise of any color and band, steady or rising and falling: wind, engines, applause, radio."""
    spectrum = np.fft.rfft(numbers.standard_normal(samples).astype(np.float32))
    hertz = np.linspace(1, SAMPLE_RATE / 2, len(spectrum))
    spectrum *= (hertz + 50) ** -numbers.choice([0.0, numbers.uniform(-0.3, 1.2)])
    if numbers.random() < 0.35:
        middle, width = np.exp(numbers.uniform(np.log(150), np.log(6000))), numbers.uniform(0.1, 1.5)
        spectrum *= np.exp(-(np.log(hertz / middle) ** 2) / (2 * width**2)) + numbers.choice([0.0, 0.01, 0.1])
    sound = np.fft.irfft(spectrum, samples)
    if numbers.random() < 0.4:
        speed = np.exp(numbers.uniform(np.log(0.1), np.log(20)))
        knots = numbers.standard_normal(int(samples / SAMPLE_RATE * speed) + 3)
        level = np.interp(np.arange(samples) / SAMPLE_RATE * speed, np.arange(len(knots)), knots)
        sound = sound * np.exp(numbers.uniform(0.2, 1.5) * level)
    return sound


KINDS: dict[Callable[[int, np.random.Generator], np.ndarray], float] = {
    tune: 0.32,
    noise: 0.32,
    drums: 0.14,
    siren: 0.12,
    beeps: 0.10,
}
"""The sounds and how often each is drawn."""


def draw_sound(rng: random.Random, frames: int) -> np.ndarray:
    """`frames` (of 10 ms) of one sound or of two at once, loud or soft: float32 [160 * frames] in [-1, 1]."""
    numbers = np.random.default_rng(rng.getrandbits(64))
    samples = frames * HOP_LENGTH
    sound = np.zeros(samples)
    for kind in rng.choices(list(KINDS), list(KINDS.values()), k=rng.choice([1, 1, 2])):
        part = kind(samples, numbers)
        sound += rng.uniform(0.2, 1.0) * part / (part.std() + 1e-9)
    loudness = 10 ** rng.uniform(-2.6, -0.3)
    return (loudness * sound / (sound.std() + 1e-9)).clip(-1, 1).astype(np.float32)
