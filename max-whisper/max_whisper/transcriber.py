"""The one interface to every backend: `load_model` gives a `Transcriber`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from max_whisper.audio import load_audio
from max_whisper.checkpoint import Checkpoint, load_checkpoint
from max_whisper.decoding import SpeechModel
from max_whisper.dimensions import ModelDimensions
from max_whisper.errors import OptionError
from max_whisper.longform import LongForm, detect_spoken_language
from max_whisper.options import TranscribeOptions
from max_whisper.progress import Progress, silent
from max_whisper.results import Segment, Transcription

if TYPE_CHECKING:
    import torch

    from max_whisper.backends.torch import TorchModel
    from max_whisper.runtime import Device

BACKENDS = ("max", "hybrid", "torch")
COMPUTE_TYPES = ("auto", "float32")

Audio = str | Path | BinaryIO | np.ndarray


class TranscriptionStream(Iterator[Segment]):
    """The segments of one recording, each as soon as it is final, and the transcription that they make up."""

    def __init__(self, language: str, segments: Iterator[Segment], text: Callable[[Sequence[Segment]], str]) -> None:
        """text: the text of the whole recording, given all its segments."""
        self.language = language
        self._segments = segments
        self._text = text
        self._final: list[Segment] = []

    def __next__(self) -> Segment:
        segment = next(self._segments)
        self._final.append(segment)
        return segment

    def transcription(self) -> Transcription:
        """All of it; what has not been transcribed yet is transcribed now."""
        for _ in self:
            pass
        return Transcription(self._text(self._final), tuple(self._final), self.language)


class Transcriber(ABC):
    """A loaded model. Its methods may be called any number of times, from one thread at a time."""

    backend: str  # 'max', 'hybrid' or 'torch'
    device: str  # 'cpu' or 'gpu'
    name: str  # the model's name, or its file's or folder's
    dims: ModelDimensions
    model: SpeechModel  # who computes features and logits, below the windows and the text

    def transcribe(
        self, audio: Audio, *, sample_rate: int | None = None, progress: Progress | None = None, **options: Any
    ) -> Transcription:
        """Transcribe a whole recording.

        audio: a file that FFmpeg's libraries can read, or samples [n]: float32 or float64 in [-1, 1], or int16.
        sample_rate: of an array, in Hz; 16,000 if not given.
        progress: hears how many seconds of the recording are done.
        options: the fields of `options.TranscribeOptions`, which have openai-whisper's names.

        Raises AudioError for what is not a recording, OptionError for an option that cannot be.
        """
        return self.stream(audio, sample_rate=sample_rate, progress=progress, **options).transcription()

    def stream(
        self, audio: Audio, *, sample_rate: int | None = None, progress: Progress | None = None, **options: Any
    ) -> TranscriptionStream:
        """As `transcribe`, but segment by segment, each as soon as it is final."""
        checked = TranscribeOptions.from_keywords(options).resolve(self.dims)
        return self._stream(load_audio(audio, sample_rate), checked, progress or silent)

    def detect_language(self, audio: Audio, *, sample_rate: int | None = None) -> tuple[str, dict[str, float]]:
        """The language of a recording's first 30 s, and the probability of each, by code.

        Raises OptionError for an English-only model.
        """
        return detect_spoken_language(self.model, load_audio(audio, sample_rate))

    @abstractmethod
    def _stream(self, audio: np.ndarray, options: TranscribeOptions, progress: Progress) -> TranscriptionStream:
        """audio: float32 [n], 16 kHz, mono. options: resolved for the model."""


class GraphTranscriber(Transcriber):
    """Our own decoding and windows, over a model with graphs in it: backends `max` and `hybrid`."""

    def __init__(self, backend: str, checkpoint: Checkpoint, device: "Device", progress: Progress) -> None:
        self.backend, self.device, self.name, self.dims = backend, device.name, checkpoint.name, checkpoint.dims
        if backend == "max":
            from max_whisper.backends.max import MaxModel

            self.model = MaxModel(checkpoint, device, progress)
        else:
            from max_whisper.backends.hybrid import HybridModel

            self.model = HybridModel(checkpoint, device, progress)

    def _stream(self, audio: np.ndarray, options: TranscribeOptions, progress: Progress) -> TranscriptionStream:
        recording = LongForm(self.model, audio, options)
        return TranscriptionStream(recording.language, recording.segments(progress), recording.text)


class ReferenceTranscriber(Transcriber):
    """openai-whisper's own `transcribe`: backend `torch`. It gives all segments at once, at the end."""

    def __init__(self, checkpoint: Checkpoint, device: "torch.device") -> None:
        from max_whisper.backends import torch as backend

        self.backend, self.name, self.dims = "torch", checkpoint.name, checkpoint.dims
        self.device = "cpu" if device.type == "cpu" else "gpu"
        self._reference = backend.reference_model(checkpoint, device)
        self._transcribe = backend.reference_transcription
        self.model: TorchModel = backend.TorchModel(self._reference)

    def _stream(self, audio: np.ndarray, options: TranscribeOptions, progress: Progress) -> TranscriptionStream:
        self.model.release()
        result = self._transcribe(self._reference, audio, options)
        return TranscriptionStream(result.language, iter(result.segments), lambda _: result.text)


def load_model(
    model: str | Path = "nano",
    *,
    backend: str = "max",
    device: str = "auto",
    compute_type: str = "auto",
    progress: Progress | None = None,
) -> Transcriber:
    """Load a model.

    model: `nano`, which comes with the package; an official name such as `tiny` or `turbo`; a `.pt` or `.safetensors`
        file; a Hugging Face folder or repository id.
    backend: `max` is MAX Graph, `torch` openai-whisper itself, `hybrid` MAX's encoder with PyTorch's decoder.
    device: `auto` is a GPU where the backend can use one.
    compute_type: `float32`, which is what `auto` means.
    progress: hears of downloads and compiles.

    Raises CheckpointError, DeviceError or OptionError.
    """
    if backend not in BACKENDS:
        raise OptionError(f"backend: one of {', '.join(BACKENDS)}, got {backend!r}")
    if compute_type not in COMPUTE_TYPES:
        raise OptionError(f"compute_type: one of {', '.join(COMPUTE_TYPES)}, got {compute_type!r}")
    report = progress or silent
    # The device first: a model may take long to download.
    if backend == "torch":
        selected_for_torch = _torch_device(device)
        return ReferenceTranscriber(load_checkpoint(model, report), selected_for_torch)
    selected = _graph_device(backend, device)
    return GraphTranscriber(backend, load_checkpoint(model, report), selected, report)


def _torch_device(name: str) -> "torch.device":
    from max_whisper.backends.torch import select_torch_device

    return select_torch_device(name)


def _graph_device(backend: str, name: str) -> "Device":
    from max_whisper.runtime import select_device

    if backend == "hybrid" and _torch_device(name).type == "cpu" and name == "auto":
        return select_device("cpu")  # both halves run on the same device
    return select_device(name)
