"""Human speech for training: digit strings and telephone prompts, written as shards like the synthetic corpus.

The prompts are Debian's `asterisk-core-sounds-en` (one woman, with transcripts; CC BY-SA 3.0).

    python -m training.human --fsdd ARCHIVE --out build/nano/corpus
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
from pathlib import Path

import av
import numpy as np
import soxr
import torch

from training.digit_strings import (
    DIGITS,
    SAMPLE_RATE,
    UNSEEN_SPEAKER,
    Recordings,
    join_digits,
    read_recordings,
)
from training.features import log_mel_power
from training.shards import SHARD, Utterance, write_shard
from training.speech import to_training_level

PROMPT_TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
PROMPT_SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")


def change_speed(audio: np.ndarray, factor: float) -> np.ndarray:
    """Play `audio` faster by `factor`: pitch and formants move too, as with another speaker."""
    return soxr.resample(audio, SAMPLE_RATE * factor, SAMPLE_RATE)


def digit_utterances(recordings: Recordings, count: int, seed: int) -> list[Utterance]:
    """`count` strings of 1 to 8 digits, each of one speaker; never of the unseen one."""
    speakers = sorted(s for s in recordings if s != UNSEEN_SPEAKER)
    rng = random.Random(seed)
    utterances = []
    for _ in range(count):
        by_digit = recordings[rng.choice(speakers)]
        digits = rng.choices(range(10), k=rng.choice([1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8]))
        audio = join_digits([rng.choice(by_digit[digit]) for digit in digits], rng)
        if rng.random() < 0.65:
            audio = change_speed(audio, rng.uniform(0.82, 1.22))
        text = " ".join(DIGITS[digit] for digit in digits)
        utterances.append(Utterance(text, "human digits", log_mel_power(audio)))
    return utterances


def _prompt_text(line: str) -> tuple[str, str] | None:
    """The name and the spoken words of one line of the prompts' list; None if it is not plain words."""
    match = re.match(r"([\w/-]+): (.*)", line.strip())
    if match is None or match[2].startswith("["):
        return None
    text = re.sub(r"\[.*?\]|\(.*?\)", "", match[2]).lower().replace("\u2019", "'")
    text = re.sub(r"\b(\d)\b", lambda digit: DIGITS[int(digit[1])], text)
    text = " ".join(re.sub(r"[^a-z0-9' ]", " ", text).split())
    return None if not text or re.search(r"\d", text) else (match[1], text)


def prompt_utterances() -> list[Utterance]:
    """The telephone prompts whose length fits their transcript (some are music, tones or spelt letters)."""
    if not PROMPT_TEXTS.exists():
        raise SystemExit(
            "not installed: asterisk-core-sounds-en, asterisk-core-sounds-en-g722 (see training/apt-packages.txt)"
        )
    utterances = []
    with gzip.open(PROMPT_TEXTS, "rt", errors="ignore") as lines:
        texts = [found for line in lines if (found := _prompt_text(line))]
    for name, text in texts:
        path = PROMPT_SOUNDS / f"{name}.g722"
        if not path.exists():
            continue
        with av.open(path, format="g722") as sound:
            pcm = np.concatenate([frame.to_ndarray().ravel() for frame in sound.decode(audio=0)])
        audio = to_training_level(pcm / np.float32(32768), SAMPLE_RATE)
        letters_per_second = len(text) / (len(audio) / SAMPLE_RATE)
        if len(audio) <= 15 * SAMPLE_RATE and 3 <= letters_per_second <= 28:
            utterances.append(Utterance(text, "human prompts", log_mel_power(audio)))
    return utterances


def make_human_corpus(folder: Path, archive: Path, digit_count: int = 8000, seed: int = 0) -> None:
    """Write the human part of the corpus into `folder`, unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if not (folder / "prompts-0000.npz").exists():
        write_shard(folder / "prompts-0000.npz", prompt_utterances())
    recordings = read_recordings(archive, test=False)
    for number in range(-(-digit_count // SHARD)):
        path = folder / f"digits-{number:04d}.npz"
        if not path.exists():
            write_shard(path, digit_utterances(recordings, SHARD, seed * 100_003 + number))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fsdd", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    make_human_corpus(arguments.out, arguments.fsdd)
