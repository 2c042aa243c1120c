"""Recordings put together from the repository's own, a transcriber over scripted models, and results compared."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from max_whisper import Transcription, load_audio
from max_whisper.audio import SAMPLE_RATE
from max_whisper.transcriber import GraphTranscriber
from tests.decoding.scripted import ScriptedModel

SAMPLES = Path(__file__).resolve().parents[2] / "audio_samples"


def sample(name: str) -> np.ndarray:
    """One of the repository's recordings, by the name of its file: float32 [n] at 16 kHz."""
    return load_audio(SAMPLES / name)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def cut(audio: np.ndarray, start: float, end: float) -> np.ndarray:
    """The seconds from `start` to `end`."""
    return audio[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


def seconds(audio: np.ndarray) -> float:
    return len(audio) / SAMPLE_RATE


class ScriptedTranscriber(GraphTranscriber):
    """The public interface over a scripted model."""

    def __init__(self, model: ScriptedModel) -> None:
        self.backend, self.device, self.name = "max", "cpu", "scripted"
        self.dims = model.dims
        self.model = model


TOLERANCE = 1e-5  # of probabilities and their logarithms


def assert_same_transcription(ours: Transcription, expected: Transcription) -> None:
    """Equal in everything, and in probabilities within 1e-5."""
    assert exactly(ours) == exactly(expected)
    np.testing.assert_allclose(roughly(ours), roughly(expected), rtol=0, atol=TOLERANCE)


def exactly(transcription: Transcription) -> Transcription:
    """A transcription without what is computed in another order in a batch."""
    segments = tuple(
        replace(
            segment,
            avg_logprob=0.0,
            no_speech_prob=0.0,
            words=segment.words and tuple(replace(word, probability=0.0) for word in segment.words),
        )
        for segment in transcription.segments
    )
    return replace(transcription, segments=segments, language_probabilities=None)


def roughly(transcription: Transcription) -> list[float]:
    """What `exactly` leaves out."""
    segments = transcription.segments
    return [
        *(number for segment in segments for number in (segment.avg_logprob, segment.no_speech_prob)),
        *(word.probability for segment in segments for word in segment.words or ()),
        *(transcription.language_probabilities or {}).values(),
    ]
