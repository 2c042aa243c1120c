"""The one interface to every backend: `load_model` gives a `Transcriber`."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from max_whisper.audio import N_SAMPLES, Audio
from max_whisper.audio.samples import SampleSource, open_samples
from max_whisper.backends.factory import BACKENDS, COMPUTE_TYPES, LoadedModel, compile_backend, load_backend
from max_whisper.decoding import most_probable_language
from max_whisper.decoding.prompt import check_prefix
from max_whisper.errors import MaxWhisperError, OptionError
from max_whisper.options import TranscribeOptions
from max_whisper.progress import Progress, Step, silent
from max_whisper.results import Segment, Transcription
from max_whisper.transcription.tasks import (
    OneByOne,
    SpeechInBatches,
    beginning,
    detect_spoken_language,
    spectrogram,
    transcribe_recordings,
)

if TYPE_CHECKING:
    from max_whisper.backends.reference import TorchModel


class TranscriptionStream(Iterator[Segment]):
    """The segments of one recording, each as soon as it is final, and the transcription that they make up."""

    def __init__(self, segments: Iterator[Segment], summary: Callable[[Sequence[Segment]], Transcription]) -> None:
        """summary: the transcription of the segments so far; its language is right after the first one."""
        self._segments = segments
        self._summary = summary
        self._waiting: deque[Segment] = deque()
        self._final: list[Segment] = []
        self._error: MaxWhisperError | None = None

    def __next__(self) -> Segment:
        if self._error is not None:
            raise self._error  # what there is of a recording that failed is not all of it
        try:
            segment = self._waiting.popleft() if self._waiting else next(self._segments)
        except MaxWhisperError as error:
            self._error = error
            raise
        self._final.append(segment)
        return segment

    @property
    def language(self) -> str:
        """The language that is written or was detected; the first segment is waited for."""
        if not self._final and not self._waiting:
            self._waiting.extend(islice(self._segments, 1))
        return self._summary(()).language

    def transcription(self) -> Transcription:
        """All of it; what has not been transcribed yet is transcribed now."""
        for _ in self:
            pass
        return self._summary(self._final)


class Transcriber(ABC):
    """A loaded model. Its methods may be called any number of times, from one thread at a time."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.backend = loaded.backend  # 'max', 'hybrid' or 'torch'
        self.device = loaded.device  # 'cpu' or 'gpu'
        self.name = loaded.name  # the model's name, or its file's or folder's
        self.dims = loaded.dims
        self.model = loaded.model  # who computes features and logits, below the windows and the text

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
        checked = self._checked(options)
        return self._stream(open_samples(audio, sample_rate), checked, progress or silent)

    def transcribe_many(
        self,
        audios: Iterable[Audio],
        *,
        sample_rate: int | None = None,
        batch_size: int = 8,
        progress: Progress | None = None,
        **options: Any,
    ) -> Iterator[Transcription | MaxWhisperError]:
        """Transcribe recordings, the windows of several at once, each with the result that it has alone.

        sample_rate: of the arrays among them, in Hz; 16,000 if not given.
        batch_size: recordings at a time.
        progress: hears how many recordings are done.
        options: as for `transcribe`, the same for all.

        Gives in the order of the recordings what became of each: a transcription, or the error that ended it, which
        does not stop the others. Raises OptionError for an option that cannot be.
        """
        if isinstance(audios, (str, bytes, PathLike, np.ndarray)) or hasattr(audios, "read"):
            raise OptionError("audios: a list of recordings, got a single one; put it into a list, or use transcribe")
        size = TranscribeOptions(batch_size=batch_size).batch_size or 1
        return self._stream_many(audios, sample_rate, size, self._checked(options), progress or silent)

    def _checked(self, options: dict[str, Any]) -> TranscribeOptions:
        """The options, held against the model. Raises OptionError."""
        return TranscribeOptions.from_keywords(options).resolve(self.dims)

    def detect_language(
        self, audio: Audio, *, sample_rate: int | None = None, segments: int = 1
    ) -> tuple[str, dict[str, float]]:
        """The language of a recording, and the probability of each, by code.

        segments: windows of 30 s from the beginning of which the mean is taken.

        Raises OptionError for an English-only model.
        """
        options = TranscribeOptions(language_detection_segments=segments)
        if not self.dims.is_multilingual:
            raise OptionError("language: an English-only model cannot detect languages; take one without .en")
        source = beginning(open_samples(audio, sample_rate), segments * N_SAMPLES)
        probabilities = detect_spoken_language(self.model, spectrogram(self.model, source), options)
        return most_probable_language(probabilities), probabilities

    @abstractmethod
    def _stream(self, source: SampleSource, options: TranscribeOptions, progress: Progress) -> TranscriptionStream:
        """options: checked."""

    @abstractmethod
    def _stream_many(
        self,
        audios: Iterable[Audio],
        sample_rate: int | None,
        batch_size: int,
        options: TranscribeOptions,
        progress: Progress,
    ) -> Iterator[Transcription | MaxWhisperError]:
        """options: checked."""


class GraphTranscriber(Transcriber):
    """Our own decoding and windows, over a model with graphs in it: backends `max` and `hybrid`."""

    def _checked(self, options: dict[str, Any]) -> TranscribeOptions:
        checked = super()._checked(options)
        check_prefix(checked, self.dims)
        return checked

    def _stream_many(
        self,
        audios: Iterable[Audio],
        sample_rate: int | None,
        batch_size: int,
        options: TranscribeOptions,
        progress: Progress,
    ) -> Iterator[Transcription | MaxWhisperError]:
        return transcribe_recordings(self.model, audios, options, batch_size, progress, sample_rate)

    def _stream(self, source: SampleSource, options: TranscribeOptions, progress: Progress) -> TranscriptionStream:
        if options.batch_size is not None:
            task: SpeechInBatches | OneByOne = SpeechInBatches(self.model, source, options, progress)
        else:
            task = OneByOne(self.model, source, options, progress)
        return TranscriptionStream(task.segments(), task.summary)


class ReferenceTranscriber(Transcriber):
    """openai-whisper's own `transcribe`: backend `torch`. It gives all segments at once, at the end."""

    model: "TorchModel"

    def _checked(self, options: dict[str, Any]) -> TranscribeOptions:
        checked = super()._checked(options)
        checked.for_reference()  # raises for what openai-whisper does not have
        return checked

    def _stream_many(
        self,
        audios: Iterable[Audio],
        sample_rate: int | None,
        batch_size: int,
        options: TranscribeOptions,
        progress: Progress,
    ) -> Iterator[Transcription | MaxWhisperError]:
        """One after the other, as openai-whisper does."""
        for number, audio in enumerate(audios, start=1):
            outcome: Transcription | MaxWhisperError
            try:
                source = open_samples(audio, sample_rate if isinstance(audio, np.ndarray) else None)
                outcome = self._stream(source, options, silent).transcription()
            except MaxWhisperError as error:
                outcome = error
            progress(Step("transcribing", number, None, "recordings"))
            yield outcome

    def _stream(self, source: SampleSource, options: TranscribeOptions, progress: Progress) -> TranscriptionStream:
        samples = np.concatenate(list(source.blocks()))
        result = Transcription.from_dict(self.model.transcribe(samples, seed=options.seed, **options.for_reference()))
        return TranscriptionStream(iter(result.segments), lambda _: result)


def load_model(
    model: str | Path = "nano",
    *,
    backend: str = "max",
    device: str = "auto",
    compute_type: str = "auto",
    threads: int = 0,
    progress: Progress | None = None,
) -> Transcriber:
    """Load a model.

    model: `nano`, which comes with the package; an official name such as `tiny` or `turbo`; a `.pt` or `.safetensors`
        file; a Hugging Face folder or repository id.
    backend: `max` is MAX Graph, `torch` openai-whisper itself, `hybrid` MAX's encoder with PyTorch's decoder.
    device: `auto` is a GPU where the backend can use one.
    compute_type: `float32`, which gives the reference's tokens and is what `auto` means; `bfloat16` or `int8`, for
        backend `max` on a CPU: faster, and nearly always the same words.
    threads: the most that a CPU computes with; 0 is one for each core. All models of a process have the same.
    progress: hears of downloads and compiles.

    Raises CheckpointError, DeviceError or OptionError.
    """
    if backend not in BACKENDS:
        raise OptionError(f"backend: one of {', '.join(BACKENDS)}, got {backend!r}")
    precision = _precision(compute_type)
    if compute_type in ("bfloat16", "int8") and backend != "max":
        raise OptionError(f"compute_type: backend {backend} computes in float32, got {compute_type!r}")
    if not isinstance(threads, int) or threads < 0:
        raise OptionError(f"threads: a number of at least 1, or 0 for one on each core, got {threads!r}")
    loaded = load_backend(model, backend, device, precision, threads, progress or silent)
    return ReferenceTranscriber(loaded) if backend == "torch" else GraphTranscriber(loaded)


def compile_model(
    model: str | Path = "nano",
    *,
    device: str = "auto",
    compute_type: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Compile what `load_model` compiles for backend `max`, unless it is in the cache; the file there.

    The file serves every model of the same sizes. An official model need not be downloaded for it, no weights are read.
    Arguments and errors are those of `load_model`.
    """
    return compile_backend(model, device, _precision(compute_type), progress or silent)


def _precision(compute_type: str) -> str:
    """What a compute type means. Raises OptionError for one that is none."""
    if compute_type not in COMPUTE_TYPES:
        raise OptionError(f"compute_type: one of {', '.join(COMPUTE_TYPES)}, got {compute_type!r}")
    return "float32" if compute_type == "auto" else compute_type
