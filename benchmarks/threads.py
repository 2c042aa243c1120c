"""One model in several threads: whether each transcription is what it is alone, and what the threads cost.

    python -m benchmarks.threads --model nano --compute-types float32,int8 --json threads.json

The same transcriptions, of recordings and options drawn at random, are made one after the other and by the threads,
in turn, and compared: text, tokens and times. Then the threads do so again between streams that are left half-read.
"""

import argparse
import json
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import max_whisper
from max_whisper.diagnostics.machine import machine
from max_whisper.results import Transcription
from max_whisper.transcriber import Transcriber, TranscriptionStream

AUDIO = Path(__file__).resolve().parents[1] / "audio_samples"
NAMES = ("greeting.ogg", "directions.mp3", "reminder.m4a", "dialogue.flac", "numbers.flac", "weather.flac")
Outcome = TypeVar("Outcome")
OPTIONS: tuple[dict[str, Any], ...] = ({}, {"beam_size": 5})


def measure(
    model: Transcriber, compute_type: str, recordings: Sequence[Path], jobs: int, threads: int, rounds: int
) -> dict[str, Any]:
    """Seconds one after the other and in threads, the medians of rounds, and how many transcriptions differ."""
    chance = random.Random(0)
    tasks = [(chance.choice(recordings), chance.choice(OPTIONS)) for _ in range(jobs)]

    def transcribe(number: int) -> Transcription:
        audio, options = tasks[number]
        return model.transcribe(audio, **options)

    streams: list[TranscriptionStream] = []
    left = [(chance.randrange(jobs), chance.randrange(3), chance.random() < 0.5) for _ in tasks]

    def between_streams(number: int) -> Transcription:
        other, n_segments, is_kept = left[number]
        audio, options = tasks[other]
        stream = model.stream(audio, **options)
        for _ in range(n_segments):
            next(stream, None)
        if is_kept:
            streams.append(stream)  # never read on
        return transcribe(number)

    for options in OPTIONS:
        model.transcribe(recordings[0], **options)  # warms up
    serial, together, n_different = [], [], 0
    alone: list[Transcription] = []
    for _ in range(rounds):
        seconds, heard = _timed(lambda: [transcribe(number) for number in range(jobs)])
        serial.append(seconds)
        alone = alone or heard
        n_different += _n_different(heard, alone)
        seconds, heard = _timed(lambda: in_threads([partial(transcribe, number) for number in range(jobs)], threads))
        together.append(seconds)
        n_different += _n_different(heard, alone)
    heard = in_threads([partial(between_streams, number) for number in range(jobs)], threads)
    return {
        "compute_type": compute_type,
        "transcriptions": jobs,
        "threads": threads,
        "rounds": rounds,
        "serial_s": statistics.median(serial),
        "threads_s": statistics.median(together),
        "different": n_different,
        "different_between_streams": _n_different(heard, alone),
    }


def in_threads(tasks: Sequence[Callable[[], Outcome]], threads: int) -> list[Outcome]:
    """What the tasks give, each called by one of several threads that begin together."""
    n_threads = min(threads, len(tasks))
    ready = threading.Barrier(n_threads)
    with ThreadPoolExecutor(n_threads, initializer=ready.wait) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def _n_different(heard: Sequence[Transcription], alone: Sequence[Transcription]) -> int:
    return sum(ours != other for ours, other in zip(heard, alone, strict=True))


def _timed(run: Callable[[], list[Transcription]]) -> tuple[float, list[Transcription]]:
    start = time.perf_counter()
    outcome = run()
    return time.perf_counter() - start, outcome


def main() -> int:
    """Measure; returns 1 where a transcription differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description=__doc__)
    add = parser.add_argument
    add("--model", default="nano", help="as for load_model (default: %(default)s)")
    add("--compute-types", default="float32,int8", help="with commas (default: %(default)s)")
    add("--threads", type=int, default=8, help="(default: %(default)s)")
    add("--transcriptions", type=int, default=400, help="(default: %(default)s)")
    add("--rounds", type=int, default=1, help="(default: %(default)s)")
    add("--json", metavar="FILE", help="write the results to FILE")
    arguments = parser.parse_args()
    results = []
    for compute_type in arguments.compute_types.split(","):
        model = max_whisper.load_model(arguments.model, device="cpu", compute_type=compute_type)
        recordings = [AUDIO / name for name in NAMES]
        result = measure(model, compute_type, recordings, arguments.transcriptions, arguments.threads, arguments.rounds)
        results.append(result)
        share = result["threads_s"] / result["serial_s"]
        print(
            f"{compute_type}: of {result['transcriptions']} transcriptions in {result['threads']} threads "
            f"{result['different']} differ, between streams left half-read {result['different_between_streams']}; "
            f"the threads take {share:.2f} of the {result['serial_s']:.1f} s one after the other",
            flush=True,
        )
    if arguments.json:
        report = {"command": " ".join(sys.argv), "machine": machine(), "model": arguments.model, "results": results}
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")
    return int(any(result["different"] or result["different_between_streams"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
