"""Results of several backends beside each other: speed against the baseline, words against transcript and reference."""

from dataclasses import dataclass, field
from typing import Any

from .backends import BASELINE, Backend
from .recordings import Recording
from .word_errors import WordErrors, total, word_errors


@dataclass
class Outcome:
    """What one backend did with the recordings."""

    backend: Backend
    failure: str | None = None
    peak_memory_mb: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # by recording
    audio_seconds: dict[str, float] = field(default_factory=dict)
    transcriptions: dict[str, dict[str, Any]] = field(default_factory=dict)  # openai-whisper's result dictionaries

    def add(self, recording: Recording, results: dict[str, Any]) -> None:
        """Keep what a worker's `transcribe` answered."""
        self.seconds[recording.name] = results["seconds"]
        self.audio_seconds[recording.name] = results["audio_seconds"]
        self.transcriptions[recording.name] = results["transcription"]

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
        own = sum(self.seconds[name] for name in common)
        return sum(baseline.seconds[name] for name in common) / own if own else None

    def word_errors(self, recordings: list[Recording]) -> WordErrors:
        """Errors against the transcripts of those recordings that have one."""
        return total(
            [
                word_errors(recording.transcript, self.transcriptions[recording.name]["text"])
                for recording in recordings
                if recording.transcript is not None and recording.name in self.transcriptions
            ]
        )

    def differing(self, reference: "Outcome") -> list[str]:
        """The recordings whose text, tokens or segment times are not the reference's."""
        return [
            name
            for name, transcription in self.transcriptions.items()
            if name in reference.transcriptions and not same_words(transcription, reference.transcriptions[name])
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
