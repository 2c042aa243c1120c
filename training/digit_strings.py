"""Strings of human digits, built from the Free Spoken Digit Dataset (CC BY-SA 4.0).

The dataset has 50 recordings of each digit by each of six people, named `<digit>_<speaker>_<index>.wav`, 8 kHz. Indices
0 to 4 are its test set. One speaker is kept out of training altogether.
"""

from __future__ import annotations

import io
import random
import tarfile
import wave
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
UNSEEN_SPEAKER = "theo"
TEST_INDICES = range(5)
SAMPLE_RATE = 16_000
PEAK = 0.6

Recordings = Mapping[str, Mapping[int, Sequence[np.ndarray]]]
"""speaker -> digit -> recordings, each float32 [samples] at 16 kHz."""


def _double_rate(samples: np.ndarray) -> np.ndarray:
    """8 kHz to 16 kHz: the same spectrum, with nothing above 4 kHz."""
    return 2 * np.fft.irfft(np.fft.rfft(samples), 2 * len(samples))


def read_recordings(archive: Path, *, test: bool) -> Recordings:
    """The test recordings (indices 0 to 4) of the dataset's `.tar.xz`, or all the others."""
    recordings: dict[str, dict[int, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    with tarfile.open(archive) as tar:
        members = {PurePosixPath(m.name): m for m in tar if m.name.endswith(".wav")}
        for path in sorted(members):
            digit, speaker, index = path.stem.split("_")
            if (int(index) in TEST_INDICES) is not test:
                continue
            file = tar.extractfile(members[path])
            assert file is not None, path
            with wave.open(io.BytesIO(file.read())) as recording:
                samples = np.frombuffer(recording.readframes(recording.getnframes()), "<i2")
            recordings[speaker][int(digit)].append(_double_rate(samples / 32768).astype(np.float32))
    return recordings


def join_digits(recordings: Sequence[np.ndarray], rng: random.Random) -> np.ndarray:
    """Join recordings of digits as if said in a row: float32 [samples] at 16 kHz, peak 0.6.

    The gaps of 0.1 to 0.4 s hold noise as loud as the quietest 20 ms of the recordings, not digital silence.
    """
    scaled = [samples / max(float(np.abs(samples).max()), 1e-3) * PEAK for samples in recordings]
    frame = SAMPLE_RATE // 50
    frames = np.concatenate([s[: len(s) // frame * frame].reshape(-1, frame) for s in scaled])
    quietest = float(np.sqrt((frames**2).mean(axis=1)).min())
    noise = np.random.default_rng(rng.getrandbits(32))
    pieces = []
    for samples in scaled:
        gap = int(rng.uniform(0.1, 0.4) * SAMPLE_RATE)
        pieces += [noise.normal(0.0, quietest, gap), samples]
    pieces.append(noise.normal(0.0, quietest, int(rng.uniform(0.1, 0.4) * SAMPLE_RATE)))
    return np.concatenate(pieces).astype(np.float32)


def digit_strings(archive: Path, split: str, count: int, seed: int) -> list[tuple[np.ndarray, str]]:
    """Strings of 2 to 7 digits from test recordings only, each said by one person.

    Args:
        archive: `free-spoken-digit-dataset.tar.xz`.
        split: `known` for the five speakers of the training set, `unseen` for the sixth.
        count: how many strings.
        seed: the same seed gives the same strings.

    Returns:
        Pairs of float32 [samples] at 16 kHz and the transcript (`"seven two nine"`).

    Raises:
        ValueError: `split` is neither `known` nor `unseen`.
    """
    if split not in ("known", "unseen"):
        raise ValueError(f"split is {split!r}: use 'known' or 'unseen'")
    recordings = read_recordings(archive, test=True)
    speakers = sorted(s for s in recordings if (s == UNSEEN_SPEAKER) is (split == "unseen"))
    rng = random.Random(seed)
    strings = []
    for number in range(count):
        by_digit = recordings[speakers[number % len(speakers)]]
        digits = rng.choices(range(10), k=rng.randint(2, 7))
        audio = join_digits([rng.choice(by_digit[digit]) for digit in digits], rng)
        strings.append((audio, " ".join(DIGITS[digit] for digit in digits)))
    return strings
