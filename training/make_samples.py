"""Make the recordings of `audio_samples/`: synthetic voices, fixed seeds, sentences that training never sees.

python -m training.make_samples --out audio_samples
"""

from __future__ import annotations

import argparse
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from training.speech import SAMPLE_RATE, Voice, missing_programs, synthesize
from training.texts import is_held_out

SLT = Voice("flite-slt")
RMS = Voice("flite-rms")
AWB = Voice("flite-awb")
KAL = Voice("flite-kal16")
FESTIVAL = Voice("festival-slt")
ESPEAK = Voice("espeak", speed=0.9, variant="en-us")
ESPEAK_WOMAN = Voice("espeak", speed=0.9, pitch=1.2, variant="en-gb+f3")


@dataclass(frozen=True)
class Sample:
    """A recording: who says what, and the seconds of pause before each sentence.

    Attributes:
        name: file name; its ending decides the format.
        lines: voice and sentence, in order.
        pauses: seconds before each line; the last value is repeated.
        noise: RMS of the room's noise.
        ending: seconds after the last line.
    """

    name: str
    lines: Sequence[tuple[Voice, str]]
    pauses: Sequence[float] = (0.4,)
    noise: float = 3e-4
    ending: float = 0.5


SAMPLES = (
    Sample("digits.flac", [(SLT, "my number is three seven eight four five seven")]),
    Sample("timer_command.flac", [(RMS, "please close the dining room radio in twenty two seconds")]),
    Sample("weather.flac", [(AWB, "the weather in seattle is cold and rainy this evening")], noise=1e-3),
    Sample(
        "numbers.flac",
        [
            (SLT, "the answer is twenty two thousand nine hundred dollars"),
            (KAL, "they won eight thousand four hundred dollars"),
        ],
        pauses=(0.3, 0.8),
    ),
    Sample(
        "dialogue.flac",
        [
            (RMS, "good afternoon thomas what time is it"),
            (SLT, "the train leaves at four forty five in the afternoon on friday"),
            (RMS, "what did you say alice"),
            (SLT, "the meeting starts at six oh five in the night on saturday"),
            (RMS, "the next flight to chicago from moscow"),
        ],
        pauses=(0.5, 0.7, 0.9, 0.6, 0.8),
    ),
    Sample(
        "one_day.flac",
        [
            (SLT, "wake me up at seven oh five in the morning on wednesday"),
            (SLT, "the weather in dublin is warm and rainy this morning"),
            (AWB, "can you turn on the bathroom heater"),
            (RMS, "add coffee bread and chocolate to the shopping list"),
            (RMS, "the price is two hundred fifty three dollars"),
            (SLT, "take the second street on the right before the river"),
            (KAL, "michael was born in two thousand and twenty three"),
            (AWB, "robert and kate went to the theater"),
            (SLT, "my mother hated a green clock through the living room"),
            (RMS, "the hungry tiger stopped through the young harbor"),
            (AWB, "my birthday is october the twentieth at three thirty"),
            (SLT, "there will be storms in seattle on thursday"),
            (RMS, "i want to hear some folk music in the living room"),
            (KAL, "the code is five eight zero five four five five"),
            (SLT, "good evening sarah welcome to dublin"),
        ],
        pauses=(0.6, 1.0, 2.5, 1.2, 0.8, 6.0, 1.5, 0.9, 3.0, 1.1, 2.0, 8.0, 1.3, 0.7, 1.6),
        noise=6e-4,
        ending=2.0,
    ),
    Sample("silence_and_noise.flac", [], noise=4e-3, ending=12.0),
    Sample("kitchen.wav", [(ESPEAK, "can you turn off the kitchen computer")]),
    Sample("directions.mp3", [(FESTIVAL, "take the twelfth turn on the left before the restaurant")]),
    Sample("reminder.m4a", [(ESPEAK_WOMAN, "dinner is at eleven forty five in the evening tomorrow")]),
    Sample("greeting.ogg", [(AWB, "good evening robert welcome to tokyo")]),
)


def _noise(samples: int, loudness: float, seed: random.Random) -> np.ndarray:
    """A room's noise: white noise, low-passed by a running mean of three samples."""
    white = np.random.default_rng(seed.getrandbits(32)).normal(size=samples + 2)
    smooth = np.convolve(white, np.ones(3) / 3, mode="valid")
    return (smooth * (loudness / smooth.std())).astype(np.float32)


def render(sample: Sample) -> np.ndarray:
    """The recording as float32 [samples] at 16 kHz."""
    pieces: list[np.ndarray] = []
    for number, (voice, text) in enumerate(sample.lines):
        pause = sample.pauses[min(number, len(sample.pauses) - 1)]
        pieces += [np.zeros(round(pause * SAMPLE_RATE)), synthesize(text, voice)]
    pieces.append(np.zeros(round(sample.ending * SAMPLE_RATE)))
    audio = np.concatenate(pieces).astype(np.float32)
    rng = random.Random(sample.name)
    if not sample.lines:
        quiet = len(audio) // 3
        noise = _noise(len(audio) - quiet, sample.noise, rng)
        return np.concatenate([np.zeros(quiet, np.float32), noise])
    return audio + _noise(len(audio), sample.noise, rng)


def _encode(audio: np.ndarray, path: Path, codec: str, container: str, rate: int, bit_rate: int) -> None:
    """Write `audio` (mono, at `rate`) through FFmpeg's encoders."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        samples = (audio.clip(-1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    path.write_bytes(buffer.getvalue())


def write(audio: np.ndarray, path: Path) -> None:
    """Write a recording in the format of its name: FLAC as it is, the others to show that they can be read."""
    if path.suffix == ".flac":
        soundfile.write(path, audio, SAMPLE_RATE, subtype="PCM_16")
    elif path.suffix == ".wav":
        louder_left = soxr.resample(audio, SAMPLE_RATE, 44_100)[:, None] * np.array([1.0, 0.8])
        soundfile.write(path, louder_left, 44_100, subtype="PCM_16")
    elif path.suffix == ".mp3":
        _encode(soxr.resample(audio, SAMPLE_RATE, 22_050), path, "libmp3lame", "mp3", 22_050, 48_000)
    elif path.suffix == ".m4a":
        _encode(soxr.resample(audio, SAMPLE_RATE, 32_000), path, "aac", "ipod", 32_000, 64_000)
    else:
        _encode(soxr.resample(audio, SAMPLE_RATE, 48_000), path, "libopus", "ogg", 48_000, 32_000)


def make_samples(folder: Path) -> None:
    """Write every recording and, beside it, its transcript as `NAME.txt`."""
    if missing := missing_programs():
        raise SystemExit(f"not installed: {', '.join(missing)} (see training/apt-packages.txt)")
    folder.mkdir(parents=True, exist_ok=True)
    for sample in SAMPLES:
        path = folder / sample.name
        write(render(sample), path)
        transcript = " ".join(text for _, text in sample.lines)
        path.with_suffix(".txt").write_text(f"{transcript}\n" if transcript else "")


def trained_sentences() -> list[str]:
    """Sentences of the samples that training may see; there should be none."""
    return [text for sample in SAMPLES for _, text in sample.lines if not is_held_out(text)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("audio_samples"))
    make_samples(parser.parse_args().out)
