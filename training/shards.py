"""The corpus on disk: shards of utterances, each a text and its log-mel power."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SHARD = 250
"""Utterances in a shard."""


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
