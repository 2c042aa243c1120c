"""Sounds without speech, made by formula, and which of them a model writes text for: python -m benchmarks.nonspeech"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from max_whisper.audio import SAMPLE_RATE
from max_whisper.diagnostics.machine import machine, versions
from max_whisper.transcriber import load_model

# The options with which each sound is transcribed.
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "temperature 0": {"temperature": 0.0},
    "vad_filter": {"vad_filter": True},
    "hallucination_silence_threshold": {"word_timestamps": True, "hallucination_silence_threshold": 2.0},
}


def _time(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _white(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    """Noise of the same power at all frequencies. level: root mean square."""
    return level * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))


def _pink(seconds: float, level: float) -> np.ndarray:
    """Noise whose power falls with the frequency."""
    spectrum = np.fft.rfft(_white(seconds, 1.0, seed=1))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)).clip(1)), round(seconds * SAMPLE_RATE))
    return level * noise / noise.std()


def _hum(seconds: float) -> np.ndarray:
    """The mains at 50 Hz, with overtones."""
    return sum((0.05 * np.sin(2 * np.pi * 50 * n * _time(seconds)) / n for n in range(1, 8)), start=np.zeros(1))


def _pitch(note: np.ndarray | int) -> Any:
    """Hz of a MIDI note."""
    return 440.0 * 2.0 ** ((np.asarray(note) - 69) / 12)


def _chords(seconds: float) -> np.ndarray:
    """A chord of plucked strings every two seconds: C, F, G, A minor."""
    time = _time(seconds)
    chord = (time // 2).astype(int) % 4
    sound = np.zeros(len(time))
    for voice in np.array([[60, 65, 67, 57], [64, 69, 71, 60], [67, 72, 74, 64]]):
        phase = 2 * np.pi * _pitch(voice)[chord] * (time % 2)
        sound += sum(np.sin(n * phase) / n for n in (1, 2, 3))
    return 0.08 * sound * np.exp(-(time % 2))


def _sweeps(seconds: float) -> np.ndarray:
    """A tone that rises from 80 Hz to 6 kHz in five seconds, again and again."""
    rate = np.log(6000 / 80) / 5
    return 0.3 * np.sin(2 * np.pi * 80 * np.expm1(rate * (_time(seconds) % 5)) / rate)


def _rhythm(seconds: float) -> np.ndarray:
    """A bass drum and a hi-hat in turn, 120 beats a minute."""
    since_beat, since_offbeat = _time(seconds) % 0.5, (_time(seconds) + 0.25) % 0.5
    drum = np.sin(2 * np.pi * (50 * since_beat - 8 * np.exp(-30 * since_beat))) * np.exp(-12 * since_beat)
    return 0.5 * drum + _white(seconds, 0.15, seed=2) * np.exp(-40 * since_offbeat)


def _melody(seconds: float) -> np.ndarray:
    """Two notes a second, at random over two octaves."""
    time = _time(seconds)
    notes = np.random.default_rng(3).integers(60, 84, len(time) // (SAMPLE_RATE // 2) + 1)
    phase = 2 * np.pi * np.cumsum(_pitch(notes)[(time * 2).astype(int)]) / SAMPLE_RATE
    envelope = np.minimum(1, 50 * (time % 0.5)) * np.exp(-3 * (time % 0.5))
    return 0.2 * (np.sin(phase) + 0.4 * np.sin(2 * phase)) * envelope


# Each gives so many seconds at 16 kHz, in [-1, 1] but for the peaks of loud noise.
SOUNDS: dict[str, Callable[[float], np.ndarray]] = {
    "silence": lambda seconds: np.zeros(round(seconds * SAMPLE_RATE)),
    "dither": lambda seconds: np.sign(_white(seconds, 1.0)) / 32768,
    "quiet white noise": lambda seconds: _white(seconds, 0.003),
    "quiet pink noise": lambda seconds: _pink(seconds, 0.003),
    "hum": _hum,
    "loud white noise": lambda seconds: _white(seconds, 0.3),
    "loud pink noise": lambda seconds: _pink(seconds, 0.25),
    "chords": _chords,
    "sweeps": _sweeps,
    "rhythm": _rhythm,
    "melody": _melody,
}


def sound(name: str, seconds: float) -> np.ndarray:
    """One of SOUNDS, float32 [seconds * 16000] in [-1, 1]."""
    return SOUNDS[name](seconds).clip(-1, 1).astype(np.float32)


def main(arguments: Sequence[str]) -> None:
    """Transcribe every sound with every set of options and print how many words came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nonspeech", description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--minutes", type=float, default=20.0, help="of each sound (default: %(default)s)")
    parser.add_argument("--sounds", nargs="+", default=list(SOUNDS), choices=list(SOUNDS), metavar="SOUND")
    parser.add_argument("--options", nargs="+", default=list(OPTIONS), choices=list(OPTIONS), metavar="OPTIONS")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    transcriber = load_model(options.model)
    rows = []
    for name in options.sounds:
        audio = sound(name, 60 * options.minutes)
        for title in options.options:
            result = transcriber.transcribe(audio, **OPTIONS[title])
            row = {
                "sound": name,
                "options": title,
                "words": len(result.text.split()),
                "least_no_speech_prob": min((segment.no_speech_prob for segment in result.segments), default=None),
                "greatest_avg_logprob": max((segment.avg_logprob for segment in result.segments), default=None),
                "begins": result.text[:60],
            }
            rows.append(row)
            print(f"{name:18} {title:32} {row['words']:6} words {row['begins']}", flush=True)
    if options.json:
        head = {"model": options.model, "minutes": options.minutes, "machine": machine(), "versions": versions()}
        options.json.write_text(json.dumps({**head, "sounds": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
