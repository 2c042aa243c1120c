"""The corpus on disk: shards of utterances, each a text and its log-mel power."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SHARD = 250
"""Utterances in a shard."""
SOURCE_WEIGHTS = {"digits": 0.18, "prompts": 0.05, "espeak": 0.20, "voices": 0.57}
"""How often utterances come from human digits, human prompts, espeak-ng and all other voices."""


@dataclass(frozen=True)
class Utterance:
    """A text, the voice that says it, and its log10 mel power: float16 [80, frames]."""

    text: str
    voice: str
    log_power: np.ndarray

    @property
    def frames(self) -> int:
        return int(self.log_power.shape[1])


def write_shard(path: Path, utterances: list[Utterance]) -> None:
    """Write `utterances` to one `.npz`, which appears only when it is whole."""
    description = json.dumps([[u.text, u.voice, u.frames] for u in utterances])
    partial_path = path.with_suffix(".partial")
    with partial_path.open("wb") as file:
        joined = np.concatenate([u.log_power for u in utterances], axis=1)
        np.savez(file, log_power=joined, utterances=np.array(description))
    partial_path.rename(path)


def read_shard(path: Path) -> list[Utterance]:
    """The utterances that `write_shard` wrote."""
    with np.load(path) as shard:
        log_power, description = shard["log_power"], json.loads(str(shard["utterances"]))
    utterances, start = [], 0
    for text, voice, frames in description:
        utterances.append(Utterance(text, voice, log_power[:, start : start + frames].copy()))
        start += frames
    return utterances


class Corpus:
    """Utterances by source, read from shards as they appear in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_source: dict[str, list[Utterance]] = defaultdict(list)
        self._read: set[Path] = set()

    def load_new(self, limit: int | None = None) -> None:
        """Read the shards (at most `limit`) that were finished since the last call."""
        new = sorted(path for path in self.folder.glob("*.npz") if path not in self._read)
        for path in new[:limit]:
            self._read.add(path)
            for utterance in read_shard(path):
                self.by_source[_source(utterance)].append(utterance)

    @property
    def hours(self) -> float:
        return sum(u.frames for pool in self.by_source.values() for u in pool) / 360_000

    def draw(self, rng: random.Random) -> Utterance:
        """An utterance, its source drawn by `SOURCE_WEIGHTS`."""
        sources = [source for source in SOURCE_WEIGHTS if self.by_source[source]]
        weights = [SOURCE_WEIGHTS[source] for source in sources]
        return rng.choice(self.by_source[rng.choices(sources, weights)[0]])


def _source(utterance: Utterance) -> str:
    if utterance.voice.startswith("human"):
        return utterance.voice.removeprefix("human ")
    return "espeak" if utterance.voice.startswith("espeak") else "voices"
