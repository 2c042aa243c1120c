"""The one interface to every backend: `load_model` gives a `Transcriber`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from max_whisper.audio.constants import HOP_LENGTH, N_SAMPLES
from max_whisper.audio.reading import ReadingOptions
from max_whisper.audio.recording import Audio
from max_whisper.audio.samples import SampleSource, open_samples
from max_whisper.backends.factory import LoadedModel, compile_backend, load_backend
from max_whisper.decoding import most_probable_language
from max_whisper.decoding.prompt import check_prefix
from max_whisper.definitions import check_names
from max_whisper.errors import DownloadError, MaxWhisperError, OptionError, without_frames
from max_whisper.options import LoadOptions, TranscribeOptions
from max_whisper.options.loading import DEMONSTRATION_MODEL, without_network
from max_whisper.options.transcribe import DEFAULT_BATCH_SIZE
from max_whisper.progress import Progress, Step, silent
from max_whisper.results import RecordingEvent, Transcription
from max_whisper.runtime.forks import check_not_forked
from max_whisper.transcription.clips import clamped, clips_of
from max_whisper.transcription.stream import TranscriptionStream
from max_whisper.transcription.tasks import (
    ChunkedTranscription,
    SequentialTranscription,
    beginning,
    detect_spoken_language,
    outcomes,
    spectrogram,
    stream_recordings,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from max_whisper.audio.keywords import ReadingKeywords
    from max_whisper.backends.reference import TorchModel
    from max_whisper.options.keywords import TranscribeKeywords

WITHOUT_NETWORK = without_network(f'load_model("{DEMONSTRATION_MODEL}")')


class Transcriber(ABC):
    """A loaded model, as `load_model` gives it.

    Any number of threads may call its methods: each gets what it gets alone. The threads take turns at the device,
    window by window; backend `torch` takes a recording for one turn. A stream belongs to one thread at a time. In a
    process forked from this one there is a DeviceError.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.backend = loaded.backend  # 'max', 'hybrid' or 'torch'
        self.device = loaded.device  # 'cpu' or 'gpu'
        self.name = loaded.name  # the model's name, or its file's or folder's
        self.dims = loaded.dims
        self.model = loaded.model  # who computes features and logits, below the windows and the text

    def transcribe(
        self,
        audio: Audio,
        *,
        progress: Progress | None = None,
        options: TranscribeOptions | None = None,
        **keywords: Unpack[TranscribeKeywords],
    ) -> Transcription:
        """Transcribe a whole recording.

        Args:
            audio: the path of a file that FFmpeg's libraries can read, or its http(s) address; or a file object opened
                in binary mode, read from where it stands; or samples [n] of one channel, float32 or float64 in [-1, 1]
                or int16.
            progress: called with a `progress.Step` as the work advances, in seconds of the recording.
            options: options as an object, which can be checked once and used often.
            keywords: single options, the fields of `TranscribeOptions`. They come before `options`, and `options`
                before the defaults, which are those of openai-whisper's `transcribe`. `sample_rate` is the one of an
                array, where it is not 16,000 Hz.

        Returns:
            The text, its segments with their times in seconds, and the language.

        Raises:
            OptionError: an option that does not exist, a value or a combination that cannot be, or one that the model,
                the backend or this kind of recording does not have. It is raised before the recording is read.
            AudioError: the recording cannot be read, holds no sound, is shorter than 25 ms, or has no such track or
                channel; or an array is of numbers that cannot be samples.
            NonFiniteError: the model gives NaN or infinite values for the recording, in float32 too.
            DeviceError: this process was forked from the one that loaded the model; start it with 'spawn'.

        Warns:
            AudioWarning: the file is damaged or cut short, and what could be decoded is transcribed; its channels
                cancel each other in the mix; or samples are far louder than full scale.
            PrecisionWarning: once for a model whose `compute_type` gives NaN or infinite values somewhere; these
                windows are computed in float32.
        """
        return self.stream(audio, progress=progress, options=options, **keywords).transcription()

    def stream(
        self,
        audio: Audio,
        *,
        progress: Progress | None = None,
        options: TranscribeOptions | None = None,
        **keywords: Unpack[TranscribeKeywords],
    ) -> TranscriptionStream:
        """As `transcribe`, with the same arguments, but segment by segment, each as soon as it is final.

        With `chunking="vad"` the recording is read as it is transcribed. The first segments come when `batch_size`
        stretches of speech, of at most 30 s each, have been read (`batch_size=1`: one), even while a pipe is still
        being written. Where `language` is not given, 30 s of speech for each of `language_detection_segments` are read
        before. It takes the memory of those stretches, however long the recording is.

        With `chunking="sequential"`, the default, the whole recording is read once before its first window is decoded,
        and then again window by window. openai-whisper clamps every value of the log-mel spectrogram at 8 (powers of
        ten) below the loudest one of the recording, so the first window cannot be exact before the last sound is known.
        For an hour of recording that takes 2.2 s of one core for WAV and 3.5 s for MP3. `vad_filter=True` needs the
        whole recording for the same reason. Who cannot wait for the end, of a live source for example, takes
        `chunking="vad"`, where every stretch is a recording of its own.

        Of a pipe, WAV, FLAC, Ogg and Matroska are decoded while they are written. The end of an MP3 or an MP4 is
        waited for, since their decoding depends on it.

        Returns:
            An iterator over segments. Its `transcription()` gives what `transcribe` gives.
        """
        check_not_forked()
        chosen = self._checked(TranscribeOptions.from_keywords(keywords, options).for_one_recording())
        return self._stream(open_samples(audio, chosen), chosen, progress or silent)

    def transcribe_many(
        self,
        audios: Iterable[Audio],
        *,
        progress: Progress | None = None,
        options: TranscribeOptions | None = None,
        **keywords: Unpack[TranscribeKeywords],
    ) -> Iterator[Transcription | MaxWhisperError]:
        """Transcribe recordings, the windows of several at once, each with the result that it has alone.

        Args:
            audios: recordings, each as for `transcribe`. Each is opened when its turn comes.
            progress: called with how many recordings are done.
            options: as for `transcribe`, the same for all. `batch_size` is the number of recordings at a time, 8 where
                it is not given; with `chunking="vad"` it is the number of stretches of speech, and the recordings
                follow each other. `sample_rate` is the one of the arrays and raw files among the recordings.
            keywords: single options, which come before `options`.

        Returns:
            An iterator over the outcome of each recording, in their order: a transcription, or the error that ended
            it, which does not stop the others.

        Raises:
            OptionError: as `transcribe`, before the first recording is opened.
            DeviceError: as `transcribe`.
        """
        return outcomes(self.stream_many(audios, progress=progress, options=options, **keywords))

    def stream_many(
        self,
        audios: Iterable[Audio],
        *,
        progress: Progress | None = None,
        options: TranscribeOptions | None = None,
        **keywords: Unpack[TranscribeKeywords],
    ) -> Iterator[RecordingEvent]:
        """As `transcribe_many`, with the same arguments, but event by event, each as soon as it is final.

        Returns:
            An iterator over `RecordingEvent`s: the segments of each recording, then its transcription or
            the error that ended it. Those of one recording are in order; those of several come between each other.
        """
        if isinstance(audios, (str, bytes, PathLike, np.ndarray)) or hasattr(audios, "read"):
            raise OptionError("audios: a list of recordings, got a single one; put it into a list, or use transcribe")
        check_not_forked()
        chosen = TranscribeOptions.from_keywords(keywords, options)
        progress = progress or silent
        if chosen.chunking == "vad":
            return self._one_after_the_other(audios, self._checked(chosen), progress)
        size = chosen.batch_size or DEFAULT_BATCH_SIZE
        return self._stream_many(audios, size, self._checked(chosen.updated({"batch_size": None})), progress)

    def detect_language(
        self, audio: Audio, *, segments: int = 1, **keywords: Unpack[ReadingKeywords]
    ) -> tuple[str, dict[str, float]]:
        """The language of a recording, and the probability of each language.

        Args:
            audio: as for `transcribe`; it is read no further than needed.
            segments: windows of 30 s, from the beginning, of whose probabilities the mean is taken.
            keywords: options of reading the recording, as for `transcribe`: `sample_rate`, `audio_track`, `channel`
                and the others of that group.

        Returns:
            The code of the most probable language ('en'), and the probabilities, 0 to 1, by code.

        Raises:
            OptionError: the model knows English only, `segments` is less than 1, or as `transcribe` for the others.
            AudioError: the recording cannot be read, as `transcribe`.
            NonFiniteError, DeviceError: as `transcribe`.
        """
        check_not_forked()
        check_names(ReadingOptions, keywords)
        options = TranscribeOptions(language_detection_segments=segments, **keywords)
        if not self.dims.is_multilingual:
            raise OptionError("language: an English-only model cannot detect languages; take one without .en")
        source = beginning(open_samples(audio, options), segments * N_SAMPLES)
        probabilities = detect_spoken_language(self.model, spectrogram(self.model, source), options)
        return most_probable_language(probabilities), probabilities

    def _checked(self, options: TranscribeOptions) -> TranscribeOptions:
        """The options, held against the model. Raises OptionError."""
        return options.resolve(self.dims)

    def _one_after_the_other(
        self, audios: Iterable[Audio], options: TranscribeOptions, progress: Progress
    ) -> Iterator[RecordingEvent]:
        """options: checked."""
        for number, audio in enumerate(audios):
            outcome: Transcription | MaxWhisperError
            try:
                source = open_samples(audio, options.of_one_among_many(isinstance(audio, np.ndarray)))
                stream = self._stream(source, options, silent)
                for segment in stream:
                    yield RecordingEvent(number, segment, stream.language)
                outcome = stream.transcription()
            except MaxWhisperError as error:
                outcome = without_frames(error)
            progress(Step("transcribing", number + 1, None, "recordings"))
            yield RecordingEvent(number, outcome)

    @abstractmethod
    def _stream(self, source: SampleSource, options: TranscribeOptions, progress: Progress) -> TranscriptionStream:
        """options: checked."""

    @abstractmethod
    def _stream_many(
        self,
        audios: Iterable[Audio],
        batch_size: int,
        options: TranscribeOptions,
        progress: Progress,
    ) -> Iterator[RecordingEvent]:
        """options: checked."""


class GraphTranscriber(Transcriber):
    """Our own decoding and windows, over a model with graphs in it: backends `max` and `hybrid`."""

    def _checked(self, options: TranscribeOptions) -> TranscribeOptions:
        checked = super()._checked(options)
        check_prefix(checked, self.dims)
        return checked

    def _stream_many(
        self,
        audios: Iterable[Audio],
        batch_size: int,
        options: TranscribeOptions,
        progress: Progress,
    ) -> Iterator[RecordingEvent]:
        return stream_recordings(self.model, audios, options, batch_size, progress)

    def _stream(self, source: SampleSource, options: TranscribeOptions, progress: Progress) -> TranscriptionStream:
        task: ChunkedTranscription | SequentialTranscription
        if options.chunking == "vad":
            task = ChunkedTranscription(self.model, source, options, progress)
        else:
            task = SequentialTranscription(self.model, source, options, progress)
        return TranscriptionStream(task.segments(), task.summary, lambda: task.language)


class ReferenceTranscriber(Transcriber):
    """openai-whisper's own `transcribe`: backend `torch`. It gives all segments at once, at the end."""

    model: TorchModel

    def _checked(self, options: TranscribeOptions) -> TranscribeOptions:
        checked = super()._checked(options)
        checked.for_reference()  # raises for what openai-whisper does not have
        return checked

    def _stream_many(
        self,
        audios: Iterable[Audio],
        batch_size: int,
        options: TranscribeOptions,
        progress: Progress,
    ) -> Iterator[RecordingEvent]:
        return self._one_after_the_other(audios, options, progress)

    def _stream(self, source: SampleSource, options: TranscribeOptions, progress: Progress) -> TranscriptionStream:
        samples = np.concatenate(list(source.blocks()))
        result = Transcription.from_dict(self.model.transcribe(samples, seed=options.seed, **options.for_reference()))
        if options.clamp_timestamps:
            clips = clips_of(options.clips, len(samples) // HOP_LENGTH)
            result = replace(result, segments=clamped(result.segments, clips))
        return TranscriptionStream(iter(result.segments), lambda _: result, lambda: result.language)


def load_model(
    model: str | Path | None = None,
    *,
    backend: str = "max",
    device: str = "auto",
    compute_type: str = "auto",
    threads: int = 0,
    progress: Progress | None = None,
    **unknown: NoReturn,
) -> Transcriber:
    """Load a model. The first load of a model on a machine compiles it, which takes a minute or two, and keeps that.

    Args:
        model: an official name such as `tiny` or `turbo`, which is downloaded once; a `.pt` or `.safetensors` file; a
            Hugging Face folder or repository id; or `nano`, a small demonstration model of English that comes with the
            package. None is the environment variable MAX_WHISPER_MODEL, else `turbo`.
        backend: `max` is MAX Graph, `torch` openai-whisper itself, `hybrid` MAX's encoder with PyTorch's decoder.
        device: `cpu`, `gpu`, or `auto`: a GPU where the backend can use one.
        compute_type: `float32`, which gives the reference's tokens and is what `auto` means; `bfloat16` or `int8`, for
            backend `max` on a CPU: faster, and nearly always the same words.
        threads: the most that a CPU computes with; 0 is one for each core. All models of a process have the same.
        progress: called with a `progress.Step` for each download and compile.

    Raises:
        CheckpointError: there is no such model, its file cannot be read, or a weight is NaN or infinite. DownloadError
            is one for a model that cannot be downloaded.
        DeviceError: this machine has no such device.
        OptionError: an option that does not exist, a value that cannot be, or a compute type that the backend or the
            device does not have.

    Warns:
        CheckpointWarning: the model has tokens of its own behind the timestamps, which are never written.
    """
    check_names(LoadOptions, unknown)
    chosen = LoadOptions(model, backend, device, compute_type, threads)
    try:
        loaded = load_backend(
            chosen.chosen_model, chosen.backend, chosen.device, chosen.precision, chosen.threads, progress or silent
        )
    except DownloadError as error:
        raise error.advised(WITHOUT_NETWORK) from None
    return ReferenceTranscriber(loaded) if chosen.backend == "torch" else GraphTranscriber(loaded)


def compile_model(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    compute_type: str = "auto",
    progress: Progress | None = None,
    **unknown: NoReturn,
) -> Path:
    """Compile what `load_model` compiles for backend `max`, unless it is in the cache.

    An official model need not be downloaded for it: no weights are read. What is compiled serves every model of the
    same sizes. Arguments and errors are those of `load_model`.

    Returns:
        The compiled file in the cache.
    """
    check_names(LoadOptions, unknown)
    chosen = LoadOptions(model, device=device, compute_type=compute_type)
    return compile_backend(chosen.chosen_model, chosen.device, chosen.precision, progress or silent)
