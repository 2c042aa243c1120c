"""Recordings as arrays through our windows and decoding, over any SpeechModel."""

from collections.abc import Sequence

import numpy as np

from max_whisper.audio import N_FRAMES, N_SAMPLES
from max_whisper.audio.log_mel import log_mel_spectrogram
from max_whisper.backends.interface import SpeechModel
from max_whisper.errors import MaxWhisperError
from max_whisper.options import TranscribeOptions
from max_whisper.progress import Progress, silent
from max_whisper.results import Segment, Transcription
from max_whisper.transcription.batching import Batch
from max_whisper.transcription.longform import LongForm


class ArrayLogMel:
    """A whole log-mel spectrogram, with 30 s of silence behind it, window by window."""

    def __init__(self, log_mel: np.ndarray) -> None:
        self.log_mel = log_mel
        self.content_frames = log_mel.shape[-1] - N_FRAMES

    @classmethod
    def of(cls, audio: np.ndarray, n_mels: int) -> "ArrayLogMel":
        return cls(log_mel_spectrogram(audio, n_mels, padding=N_SAMPLES))

    def window(self, seek: int, frames: int) -> np.ndarray:
        part = self.log_mel[:, seek : seek + frames]
        return np.pad(part, [(0, 0), (0, N_FRAMES - part.shape[1])])


def transcribe(
    model: SpeechModel, log_mel: ArrayLogMel, options: TranscribeOptions, progress: Progress = silent
) -> Transcription:
    """One recording alone."""
    return transcribe_together(model, [log_mel], options, 1, progress)[0]


def transcribe_together(
    model: SpeechModel,
    log_mels: Sequence[ArrayLogMel],
    options: TranscribeOptions,
    batch_size: int,
    progress: Progress = silent,
) -> list[Transcription]:
    """Several recordings, `batch_size` at a time."""
    resolved = options.resolve(model.dims)
    recordings = [LongForm(log_mel, model.dims, resolved, progress=progress) for log_mel in log_mels]
    segments: list[list[Segment]] = [[] for _ in recordings]
    openings = [lambda recording=recording: recording for recording in recordings]
    for number, event in Batch(model, resolved, batch_size).run(openings):
        assert not isinstance(event, MaxWhisperError)
        if isinstance(event, Segment):
            segments[number].append(event)
    outcomes = [recording.result for recording in recordings]
    return [
        Transcription(outcome.text, tuple(segments[number]), outcome.language, outcome.language_probabilities)
        for number, outcome in enumerate(outcomes)
    ]
