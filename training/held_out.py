"""The recordings that `nano` is judged by: training saw none of their sentences and none of the human recordings."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.digit_strings import digit_strings
from training.speech import SAMPLE_RATE, random_voice, synthesize
from training.texts import held_out_sentence, random_words

SEED = 2024


@dataclass(frozen=True)
class Recording:
    """float32 [samples] at 16 kHz, and what is said in it."""

    audio: np.ndarray
    text: str


def room_noise(samples: int, loudness: float, rng: random.Random) -> np.ndarray:
    """White noise of RMS `loudness`: float32 [samples]."""
    return np.random.default_rng(rng.getrandbits(32)).normal(0, loudness, samples).astype(np.float32)


def human_digits(archive: Path, split: str, count: int) -> list[Recording]:
    """Strings of 2 to 7 human digits."""
    return [Recording(audio, text) for audio, text in digit_strings(archive, split, count, SEED)]


def spoken(texts: list[str], rng: random.Random) -> list[Recording]:
    """Each text in a random voice, with a little silence around it and a quiet room."""
    recordings = []
    for text in texts:
        speech = synthesize(text, random_voice(rng))
        silences = [np.zeros(int(rng.uniform(0.1, 0.8) * SAMPLE_RATE), np.float32) for _ in range(2)]
        audio = np.concatenate([silences[0], speech, silences[1]])
        recordings.append(Recording(audio + room_noise(len(audio), 10 ** rng.uniform(-4.5, -2.7), rng), text))
    return recordings


def sentences(count: int) -> list[Recording]:
    """Sentences of the grammar."""
    rng = random.Random(f"{SEED} sentences")
    texts: list[str] = []
    while len(texts) < count:
        text = held_out_sentence(rng)
        if text not in texts:
            texts.append(text)
    return spoken(texts, rng)


def word_lists(count: int) -> list[Recording]:
    """Three to eight words of the grammar in any order."""
    rng = random.Random(f"{SEED} words")
    return spoken([random_words(rng) for _ in range(count)], rng)


def long_recordings(archive: Path, count: int) -> list[Recording]:
    """Recordings of 60 to 120 s: one to three voices, sentences and now and then human digits, pauses of up to 8 s."""
    rng = random.Random(f"{SEED} long")
    digits = iter(human_digits(archive, "known", 4 * count))
    recordings = []
    for _ in range(count):
        length = rng.uniform(60, 120) * SAMPLE_RATE
        voices = [random_voice(rng) for _ in range(rng.randint(1, 3))]
        pieces, texts, samples = [], [], 0
        while samples < length:
            longest = 8.0 if rng.random() < 0.12 else 1.8
            pause = np.zeros(int(rng.uniform(0.2, longest) * SAMPLE_RATE), np.float32)
            if rng.random() < 0.1:
                said = next(digits)
            else:
                text = held_out_sentence(rng)
                said = Recording(synthesize(text, rng.choice(voices)), text)
            pieces += [pause, said.audio]
            texts.append(said.text)
            samples += len(pause) + len(said.audio)
        audio = np.concatenate(pieces)
        audio = audio + room_noise(len(audio), 10 ** rng.uniform(-4.5, -2.7), rng)
        recordings.append(Recording(audio, " ".join(texts)))
    return recordings


def speechless(count: int) -> list[Recording]:
    """Silence, hiss and hum of 3 to 45 s, in which nobody speaks."""
    rng = random.Random(f"{SEED} speechless")
    recordings = []
    for number in range(count):
        samples = int(rng.uniform(3, 45) * SAMPLE_RATE)
        audio = np.zeros(samples, np.float32)
        if number % 4:
            audio += room_noise(samples, 10 ** rng.uniform(-4.5, -1.3), rng)
        if number % 4 == 3:
            hum = np.sin(2 * np.pi * rng.choice([50, 60]) * np.arange(samples) / SAMPLE_RATE)
            audio += (0.02 * hum).astype(np.float32)
        recordings.append(Recording(audio, ""))
    return recordings


def held_out_sets(archive: Path) -> dict[str, Callable[[int], list[Recording]]]:
    """Every set by its name: a function from how many recordings to the recordings."""
    return {
        "digits, known speakers": lambda count: human_digits(archive, "known", count),
        "digits, a speaker never heard": lambda count: human_digits(archive, "unseen", count),
        "sentences": sentences,
        "words in any order": word_lists,
        "long recordings": lambda count: long_recordings(archive, -(-count // 10)),
        "silence and noise": lambda count: speechless(-(-count // 5)),
    }
