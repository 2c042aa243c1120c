"""What a program can do with a loaded model: arrays, options, segments as they come, results as data.

python examples/use_as_library.py
"""

import json
from pathlib import Path

import numpy as np

import max_whisper
from max_whisper.audio import load_audio

SAMPLES = Path(__file__).resolve().parents[1] / "audio_samples"


def main() -> None:
    # Load once, transcribe often: loading compiles, or reads what an earlier start has compiled.
    model = max_whisper.load_model("nano")

    # Any file that FFmpeg's libraries read, whatever its rate and number of channels.
    print("mp3: ", model.transcribe(SAMPLES / "directions.mp3").text.strip())

    # Samples that are already in memory: one channel, 16 kHz or the rate that is given.
    audio = load_audio(SAMPLES / "weather.flac")
    print("array:", model.transcribe(audio).text.strip())
    doubled = np.repeat(audio, 2)  # twice as many samples in a second
    print("32 kHz:", model.transcribe(doubled, sample_rate=32_000).text.strip())

    # Options have openai-whisper's names.
    print("language:", model.transcribe(audio, language="en", without_timestamps=True).language)

    # Segments as they are decoded. With chunks cut at pauses the first ones come before the recording's end is read.
    for segment in model.stream(SAMPLES / "dialogue.flac", chunking="vad"):
        print(f"[{segment.start:5.2f} to {segment.end:5.2f}]{segment.text}")

    # Plain data, as openai-whisper returns it.
    result = model.transcribe(SAMPLES / "digits.flac").to_dict()
    print(json.dumps({"text": result["text"], "language": result["language"]}))

    # What a user can do wrong is a MaxWhisperError, with one line to show.
    try:
        model.transcribe("no_such_file.wav")
    except max_whisper.MaxWhisperError as error:
        print("error:", error)


if __name__ == "__main__":
    main()
