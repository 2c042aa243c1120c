"""The same recording with each backend: the same words, in different times.

python examples/compare_backends.py [RECORDING]
"""

import sys
import time
from pathlib import Path

import max_whisper

SAMPLES = Path(__file__).resolve().parents[1] / "audio_samples"


def main() -> None:
    recording = sys.argv[1] if len(sys.argv) > 1 else SAMPLES / "dialogue.flac"
    reference = None
    models = {
        "torch": max_whisper.load_model("nano", backend="torch", device="cpu"),  # openai-whisper itself: the reference
        "hybrid": max_whisper.load_model("nano", backend="hybrid", device="cpu"),
        "max": max_whisper.load_model("nano", backend="max", device="cpu"),
    }
    for backend, model in models.items():
        model.transcribe(recording)  # the first run of anything is slower
        began = time.perf_counter()
        # Above temperature 0 tokens are drawn, by two libraries that share no random numbers.
        transcription = model.transcribe(recording, temperature=0.0)
        seconds = time.perf_counter() - began
        reference = reference or transcription
        equal = "equal" if transcription.text == reference.text else "different"
        print(f"{backend:<8}{seconds:6.2f} s  {equal}  {transcription.text.strip()}")


if __name__ == "__main__":
    main()
