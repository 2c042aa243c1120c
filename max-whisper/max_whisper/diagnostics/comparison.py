"""Results of several backends beside each other: speed against the baseline, words against transcript and reference."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from max_whisper.diagnostics.backends import BASELINE, Backend
from max_whisper.diagnostics.process import BackendFailedError, DeviceMissingError
from max_whisper.diagnostics.recordings import Recording
from max_whisper.diagnostics.word_errors import WordErrors, total, word_errors


@dataclass
class Outcome:
    """What one backend did with the recordings."""

    backend: Backend
    failure: str | None = None
    device_missing: bool = False  # it failed because it cannot use its device
    peak_memory_mb: float | None = None
    # By the recording's path; two files may have the same name.
    seconds: dict[Path, float] = field(default_factory=dict)
    audio_seconds: dict[Path, float] = field(default_factory=dict)
    transcriptions: dict[Path, dict[str, Any]] = field(default_factory=dict)  # openai-whisper's result dictionaries

    def add(self, recording: Recording, results: dict[str, Any]) -> None:
        """Keep what a worker's `transcribe` answered."""
        self.seconds[recording.path] = results["seconds"]
        self.audio_seconds[recording.path] = results["audio_seconds"]
        self.transcriptions[recording.path] = results["transcription"]

    def fail(self, error: BackendFailedError) -> None:
        """Keep why the backend goes no further."""
        self.failure = str(error)
        self.device_missing = isinstance(error, DeviceMissingError)

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work for a second of audio; None before the first recording."""
        audio = sum(self.audio_seconds.values())
        return self.total_seconds / audio if audio else None

    def speed_up(self, baseline: "Outcome") -> float | None:
        """How many times faster than the baseline, on the recordings that both have done."""
        common = self.seconds.keys() & baseline.seconds.keys()
        own = sum(self.seconds[path] for path in common)
        return sum(baseline.seconds[path] for path in common) / own if own else None

    def word_errors(self, recordings: list[Recording]) -> WordErrors:
        """Errors against the transcripts of those recordings that have one."""
        return total(
            [
                word_errors(recording.transcript, self.transcriptions[recording.path]["text"])
                for recording in recordings
                if recording.transcript is not None and recording.path in self.transcriptions
            ]
        )

    def differing(self, reference: "Outcome") -> list[Path]:
        """The recordings whose text, tokens or segment times are not the reference's."""
        return [
            path
            for path, transcription in self.transcriptions.items()
            if path in reference.transcriptions and not same_words(transcription, reference.transcriptions[path])
        ]


def same_words(transcription: dict[str, Any], reference: dict[str, Any]) -> bool:
    """Whether text, tokens and segment times are equal, to the last digit."""

    def essence(result: dict[str, Any]) -> tuple[Any, ...]:
        segments = [(segment["start"], segment["end"], segment["tokens"]) for segment in result["segments"]]
        return result["text"], result["language"], segments

    return essence(transcription) == essence(reference)


def baseline_of(outcomes: list[Outcome]) -> Outcome:
    """The outcome that the others are compared with."""
    return next(outcome for outcome in outcomes if outcome.backend == BASELINE)


def left_out(outcomes: Sequence[Outcome], device: str) -> list[Outcome]:
    """Those to leave out of the comparison: with `auto`, the backends that cannot use the GPU that the machine has.

    A driver lists a GPU, but PyTorch may be a build for the CPU, or the GPU one that MAX does not know.
    """
    return [
        outcome
        for outcome in outcomes
        if device == "auto" and outcome.backend.device == "gpu" and outcome.device_missing
    ]
