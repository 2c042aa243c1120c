"""Long audio in flat memory: the peak of a process that transcribes ten hours against one that transcribes ten minutes.

The recordings are those of audio_samples, one after the other with pauses, over and over, in a WAV file that is made
for this and deleted.
"""

import tempfile
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from max_whisper.audio import SAMPLE_RATE, load_audio
from max_whisper.diagnostics.backends import Backend, BackendProcess
from max_whisper.diagnostics.recordings import Recording

LENGTHS = (10 * 60, 10 * 3600)  # seconds of the two recordings
PAUSE = 2  # seconds


def measure_long(
    model: str,
    backend: Backend,
    samples: Sequence[Recording],
    options: dict[str, Any],
    say: Callable[[str], None],
    lengths: Sequence[int] = LENGTHS,
) -> dict[str, Any]:
    """Transcribe recordings of these lengths, each in a process of its own; returns their part of the document.

    options: of the transcription. Raises BackendFailedError.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in lengths:
            path = Path(folder) / f"{seconds}.wav"
            write_recording(path, seconds, samples)
            say(f"{backend}: {seconds / 60:,.0f} minutes")
            with BackendProcess(backend) as process:
                process.ask("load", model=model, backend=backend.name, device=backend.device)
                loaded = process.ask("memory")["peak_memory_mb"]
                results = process.ask("stream", path=str(path), options=options)
                peak = process.ask("memory")["peak_memory_mb"]
            path.unlink()
            rows.append({"audio_seconds": seconds, **results, "loaded_memory_mb": loaded, "peak_memory_mb": peak})
    return {
        "backend": backend.name,
        "device": backend.device,
        "options": options,
        "recordings": rows,
        "memory_growth_mb": rows[-1]["peak_memory_mb"] - rows[0]["peak_memory_mb"],
    }


def write_recording(path: Path, seconds: int, samples: Sequence[Recording]) -> None:
    """A WAV file of that length, 16 kHz mono, 16 bits, made of the samples and a pause after each."""
    pause = np.zeros(PAUSE * SAMPLE_RATE, "<i2")
    parts = [part for sample in samples for part in (_pcm(sample.path), pause)]
    once = np.concatenate(parts)
    missing = seconds * SAMPLE_RATE
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        while missing:
            part = once[:missing]
            file.writeframes(part.tobytes())
            missing -= len(part)


def _pcm(path: Path) -> np.ndarray:
    return (load_audio(path) * 32767).round().astype("<i2")
