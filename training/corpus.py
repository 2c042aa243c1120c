"""Make the synthetic part of the corpus.

python -m training.corpus --out build/nano/corpus --utterances 40000 --processes 2
"""

from __future__ import annotations

import argparse
import random
import subprocess
import time
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import torch

from training.features import log_mel_power
from training.shards import SHARD, Utterance, write_shard
from training.speech import SynthesisError, missing_programs, random_voice, synthesize
from training.texts import training_text


def make_shard(index: int, *, folder: Path, seed: int) -> float:
    """Make shard `index` of the corpus, unless it is there; the hours of speech in it."""
    path = folder / f"synthetic-{index:04d}.npz"
    if path.exists():
        return 0.0
    torch.set_num_threads(1)
    rng = random.Random(f"{seed}/{index}")
    utterances: list[Utterance] = []
    while len(utterances) < SHARD:
        text, voice = training_text(rng), random_voice(rng)
        try:
            audio = synthesize(text, voice)
        except (SynthesisError, subprocess.SubprocessError):
            continue
        name = f"{voice.name} {voice.variant}" if voice.name == "espeak" else voice.name
        utterances.append(Utterance(text, name, log_mel_power(audio)))
    write_shard(path, utterances)
    return sum(u.frames for u in utterances) / 360_000


def make_corpus(folder: Path, utterances: int, processes: int, seed: int = 0) -> None:
    """Make the synthetic corpus in `folder`; shards that exist are kept."""
    if missing := missing_programs():
        raise SystemExit(f"not installed: {', '.join(missing)} (see training/apt-packages.txt)")
    folder.mkdir(parents=True, exist_ok=True)
    started, hours = time.monotonic(), 0.0
    shards = range(-(-utterances // SHARD))
    with Pool(processes) as pool:
        work = partial(make_shard, folder=folder, seed=seed)
        for done, added in enumerate(pool.imap_unordered(work, shards), 1):
            hours += added
            elapsed = (time.monotonic() - started) / 60
            print(f"{done}/{len(shards)} shards, {hours:.2f} h of speech, {elapsed:.1f} min", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--utterances", type=int, default=40_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    make_corpus(arguments.out, arguments.utterances, arguments.processes, arguments.seed)
