"""Make the bundled model from nothing: speech, training, evaluation.

    python training/make_nano.py --fsdd free-spoken-digit-dataset.tar.xz --out nano.safetensors --minutes 136

Synthesis goes on beside training, which reads new speech as it appears. Stopped, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENOUGH_SHARDS = 80
"""Shards of synthetic speech (250 utterances each) with which training begins."""
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "536870912",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Keeps glibc from giving each large tensor back to the system and asking for it again: a tenth of the time."""


def command(module: str, **options: object) -> list[str]:
    """The command line of one of the training modules."""
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", f"training.{module}", *flags]


def wait_for_speech(synthesis: subprocess.Popen[bytes], corpus: Path) -> None:
    """Return when there is enough synthetic speech to begin with."""
    while synthesis.poll() is None and len(list(corpus.glob("synthetic-*.npz"))) < ENOUGH_SHARDS:
        time.sleep(2)
    if synthesis.poll():
        raise SystemExit(synthesis.returncode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fsdd", type=Path, required=True, help="the Free Spoken Digit Dataset as .tar.xz")
    parser.add_argument("--out", type=Path, default=ROOT / "max-whisper/max_whisper/assets/nano.safetensors")
    parser.add_argument("--work", type=Path, default=ROOT / "build/nano", help="corpus and training state")
    parser.add_argument("--minutes", type=float, default=136.0, help="minutes of training")
    parser.add_argument("--utterances", type=int, default=40_000, help="synthetic utterances")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="for the synthesis")
    arguments = parser.parse_args()
    if not arguments.fsdd.is_file():
        raise SystemExit(f"no such file: {arguments.fsdd} (the Free Spoken Digit Dataset as .tar.xz)")
    archive, out = arguments.fsdd.resolve(), arguments.out.resolve()
    work = arguments.work.resolve()
    corpus = work / "corpus"
    work.mkdir(parents=True, exist_ok=True)

    print("human speech", flush=True)
    subprocess.run(command("human", fsdd=archive, out=corpus), cwd=ROOT, check=True)
    print("synthetic speech", flush=True)
    speech = command("corpus", out=corpus, utterances=arguments.utterances, processes=arguments.processes)
    with subprocess.Popen(["nice", *speech], cwd=ROOT) as synthesis:
        wait_for_speech(synthesis, corpus)
        training = command("train", corpus=corpus, out=work, minutes=arguments.minutes)
        subprocess.run(training, cwd=ROOT, env={**os.environ, **ALLOCATOR}, check=True)
        synthesis.terminate()
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(work / "nano.safetensors", out)
    subprocess.run(command("evaluate", model=out, fsdd=archive), cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
