"""Word error rates of a checkpoint on recordings that training never saw.

    python -m training.evaluate --model max-whisper/max_whisper/assets/nano.safetensors --fsdd ARCHIVE
    python -m training.evaluate --model nano --fsdd ARCHIVE --backend max

Without `--backend` openai-whisper itself transcribes, with its default options at temperature 0.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import jiwer
import numpy as np
import torch
from safetensors import safe_open
from whisper.model import ModelDimensions, Whisper

from training.held_out import Recording, held_out_sets

Transcribe = Callable[[np.ndarray], str]


def reference(path: Path) -> Transcribe:
    """openai-whisper's `transcribe` with the weights of a max-whisper checkpoint, in float32."""
    with safe_open(path, framework="pt") as file:
        dimensions = ModelDimensions(**json.loads(file.metadata()["dims"]))
        state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    model = Whisper(dimensions)
    model.load_state_dict(state)
    model.eval()
    return lambda audio: str(model.transcribe(audio, temperature=0.0, fp16=False)["text"])


def through_package(name: str, backend: str) -> Transcribe:
    """max-whisper's `transcribe` with one of its backends."""
    import max_whisper

    model = max_whisper.load_model(name, backend=backend)
    return lambda audio: model.transcribe(audio, temperature=0.0).text


def word_errors(expected: str, heard: str) -> tuple[int, int]:
    """Wrong words (substituted, left out or put in) and words in all."""
    if not expected:
        return len(heard.split()), 0
    result = jiwer.process_words(expected, heard.strip().lower() or " ")
    return result.substitutions + result.deletions + result.insertions, len(expected.split())


def evaluate(transcribe: Transcribe, recordings: list[Recording], show_errors: bool = False) -> dict[str, float]:
    """The word error rate over all `recordings`; where nothing is said, the words that were heard all the same."""
    wrong = words = 0
    for recording in recordings:
        heard = transcribe(recording.audio).strip()
        errors, count = word_errors(recording.text, heard)
        wrong, words = wrong + errors, words + count
        if show_errors and errors:
            print(f"    said:  {recording.text}\n    heard: {heard}", flush=True)
    seconds = sum(len(recording.audio) for recording in recordings) / 16_000
    result = {"recordings": len(recordings), "seconds": round(seconds, 1), "words": words, "wrong": wrong}
    return {**result, "wer": round(wrong / words, 4)} if words else result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a .safetensors file, or a model's name with --backend")
    parser.add_argument("--fsdd", type=Path, required=True, help="free-spoken-digit-dataset.tar.xz")
    parser.add_argument("--backend", choices=["torch", "hybrid", "max"], help="transcribe with max-whisper")
    parser.add_argument("--count", type=int, default=100, help="recordings in a set (a tenth of it long ones)")
    parser.add_argument("--sets", nargs="*", default=[], help="only sets whose names contain one of these words")
    parser.add_argument("--show-errors", action="store_true")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.backend:
        transcribe = through_package(arguments.model, arguments.backend)
    else:
        transcribe = reference(Path(arguments.model))
    results = {}
    for name, build in held_out_sets(arguments.fsdd).items():
        if arguments.sets and not any(word in name for word in arguments.sets):
            continue
        recordings = build(arguments.count)
        started = time.monotonic()
        result = evaluate(transcribe, recordings, arguments.show_errors)
        results[name] = result
        rate = f"{100 * result['wer']:5.1f} %" if "wer" in result else f"{result['wrong']:3} words"
        elapsed = time.monotonic() - started
        print(f"{name:32} {rate}  ({result['recordings']} recordings, {elapsed:.0f} s)", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
