"""Transcribe a recording, print its segments as they are decoded, and save subtitles.

    python examples/transcribe_file.py talk.mp3 --model tiny --output talk.srt

Without arguments: a recording of the repository with the bundled model, which works with no network.
"""

import argparse
from pathlib import Path

import max_whisper

SAMPLES = Path(__file__).resolve().parents[1] / "audio_samples"


def main() -> None:
    parser = argparse.ArgumentParser(description="Transcribe a recording and save subtitles.")
    parser.add_argument("recording", nargs="?", default=SAMPLES / "dialogue.flac")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--output", default="dialogue.srt", help="the suffix chooses the format")
    arguments = parser.parse_args()

    model = max_whisper.load_model(arguments.model)
    transcription = model.transcribe(arguments.recording)
    for segment in transcription.segments:
        print(f"{segment.start:7.2f} s  {segment.text.strip()}")
    transcription.save(arguments.output)
    print(f"saved to {arguments.output}")


if __name__ == "__main__":
    main()
