"""Synthetic speech: four free synthesizers behind one function.

espeak-ng (formants, many variants and accents), flite and festival (recorded diphones and statistical voices) and SVOX
pico. All are Debian packages, see `apt-packages.txt`.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

SAMPLE_RATE = 16_000
PROGRAMS = ("espeak-ng", "flite", "pico2wave", "text2wave")

ESPEAK_ACCENTS = ["en-us"] * 5 + ["en-gb"] * 2 + ["en-gb-x-rp", "en-gb-scotland", "en-029"]
_VARIANTS = (
    "adam Alex Alicia Andrea Andy Annie aunty belinda benjamin boris caleb david Denis Diogo ed edward Gene "
    "Gene2 gustave Hugo iven iven3 Jacky john Lee linda marcelo Marco Mario max Michael michel miguel Mike "
    "pablo paul pedro quincy rob robert steph steph2 steph3 zac anika f1 f2 f3 f4 f5 grandma grandpa klatt "
    "klatt2 klatt3 klatt4 m1 m2 m3 m4 m5 m6 m7 m8 norbert sandro shelby travis victor "
)
ESPEAK_VARIANTS = _VARIANTS.split()
VOICE_WEIGHTS = {
    "espeak": 36,
    "pico-us": 14,
    "pico-gb": 11,
    "flite-kal16": 9,
    "flite-awb": 9,
    "flite-rms": 9,
    "flite-slt": 10,
    "festival-slt": 1,
}


class SynthesisError(RuntimeError):
    """A synthesizer gave no sound."""


@dataclass(frozen=True)
class Voice:
    """One way of speaking: the synthesizer's voice, its speed (1 is normal) and its pitch (1 is normal)."""

    name: str
    speed: float = 1.0
    pitch: float = 1.0
    variant: str = "en-us"


def random_voice(rng: random.Random) -> Voice:
    """A voice drawn by `VOICE_WEIGHTS`, with a speed and a pitch of its own."""
    name = rng.choices(list(VOICE_WEIGHTS), list(VOICE_WEIGHTS.values()))[0]
    variant = f"{rng.choice(ESPEAK_ACCENTS)}+{rng.choice(ESPEAK_VARIANTS)}"
    return Voice(name, rng.uniform(0.78, 1.25), rng.uniform(0.72, 1.4), variant)


def missing_programs() -> list[str]:
    """The synthesizers that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def _command(text: str, voice: Voice, output: Path) -> tuple[list[str], str | None]:
    """The command line that speaks `text` into `output`, and what it reads from standard input."""
    engine, _, name = voice.name.partition("-")
    out = str(output)
    if engine == "espeak":
        rate, pitch = round(165 * voice.speed), round(50 * voice.pitch)
        return ["espeak-ng", "-v", voice.variant, "-s", f"{rate}", "-p", f"{pitch}", "-w", out, text], None
    if engine == "pico":
        markup = (
            f"<speed level='{round(104 * voice.speed)}'><pitch level='{round(100 * voice.pitch)}'>"
            f"{text}</pitch></speed>"
        )
        return ["pico2wave", "-l", "en-US" if name == "us" else "en-GB", "-w", out, markup], None
    if engine == "flite":
        settings = [f"duration_stretch={1 / voice.speed:.2f}", f"int_f0_target_mean={round(130 * voice.pitch)}"]
        flags = [word for setting in settings for word in ("--setf", setting)]
        return ["flite", "-voice", name, *flags, "-t", text, "-o", out], None
    return ["text2wave", "-eval", "(voice_cmu_us_slt_arctic_hts)", "-o", out], text


def trim(audio: np.ndarray) -> np.ndarray:
    """Cut the silence at both ends (below 1 % of the loudest 10 ms), keeping 30 ms before and 60 ms after."""
    frame = SAMPLE_RATE // 100
    count = len(audio) // frame
    if count < 5:
        return audio
    energy = np.sqrt((audio[: count * frame].reshape(count, frame) ** 2).mean(axis=1))
    loud = np.flatnonzero(energy > energy.max() * 0.01)
    return audio[max(0, loud[0] - 3) * frame : min(count, loud[-1] + 7) * frame]


def to_training_level(audio: np.ndarray, rate: int) -> np.ndarray:
    """Resample to 16 kHz, scale the peak to 0.6 and trim."""
    if rate != SAMPLE_RATE:
        audio = soxr.resample(audio, rate, SAMPLE_RATE)
    peak = float(np.abs(audio).max(initial=0.0))
    if peak < 1e-3:
        raise SynthesisError("no sound")
    return trim((audio * (0.6 / peak)).astype(np.float32))


def synthesize(text: str, voice: Voice) -> np.ndarray:
    """Speak `text`: float32 [samples] at 16 kHz, peak 0.6, without silence at its ends."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        output = Path(folder) / "speech.wav"
        command, stdin = _command(text, voice, output)
        subprocess.run(
            command,
            input=stdin,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=True,
        )
        audio, rate = soundfile.read(output, dtype="float32")
    return to_training_level(audio, rate)
