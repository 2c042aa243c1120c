"""Recordings to transcriptions: window after window, in chunks of speech, or many recordings at once."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np

from max_whisper.audio import CHUNK_LENGTH, HOP_LENGTH, N_FRAMES, N_SAMPLES, SAMPLE_RATE, Audio
from max_whisper.audio.log_mel import LogMelWindows
from max_whisper.audio.samples import HeldSamples, Joined, SampleSource, open_samples
from max_whisper.audio.vad import CHUNKED, SpeechTimes, Stretch, VadParameters, find_speech, read_speech
from max_whisper.backends.interface import SpeechModel
from max_whisper.decoding import language_probabilities, mean_probabilities, most_probable_language
from max_whisper.errors import MaxWhisperError
from max_whisper.models.whisper.tokenizer import get_tokenizer
from max_whisper.options import TranscribeOptions
from max_whisper.options.transcribe import DEFAULT_BATCH_SIZE
from max_whisper.progress import Progress, Step, silent
from max_whisper.results import RecordingEvent, Segment, Transcription
from max_whisper.transcription.batching import Batch, Event
from max_whisper.transcription.longform import LongForm, RecordingResult


class SequentialTranscription:
    """A recording, window by window, each where the text of the one before it ends."""

    def __init__(
        self, model: SpeechModel, source: SampleSource, options: TranscribeOptions, progress: Progress
    ) -> None:
        """options: resolved for the model."""
        self._recording = long_form(model, source, options, progress)
        self._events = Batch(model, options, 1).run([lambda: self._recording])

    def segments(self) -> Iterator[Segment]:
        """The segments, each as soon as it is final."""
        for _, event in self._events:
            if isinstance(event, MaxWhisperError):
                raise event
            if isinstance(event, Segment):
                yield event

    @property
    def language(self) -> str:
        """The language, once the first segment or the end has come."""
        return self._recording.language or "en"

    def summary(self, segments: Sequence[Segment]) -> Transcription:
        """The transcription, given all segments so far."""
        return _transcription(self._recording.result, segments)


class ChunkedTranscription:
    """The speech of a recording, cut at silences into chunks of at most 30 s, several at once.

    Each chunk is a recording of its own, with the result that it has alone, so it is decoded as soon as it has been
    read: nothing that comes later can change it.
    """

    def __init__(
        self, model: SpeechModel, source: SampleSource, options: TranscribeOptions, progress: Progress
    ) -> None:
        """options: resolved for the model."""
        self._model = model
        self._source = source
        self._options = options
        self._progress = progress
        self._speech = read_speech(source, (options.speech or CHUNKED).at_most(CHUNK_LENGTH), self._reading)
        self._waiting: deque[Stretch] = deque()  # chunks that were read while the language was not known
        self._stops: list[int] = []  # of the chunks opened so far, in samples
        self._language = options.language
        self._probabilities: dict[str, float] | None = None
        self._texts: list[str] = []

    def segments(self) -> Iterator[Segment]:
        """The segments, in the order of the recording."""
        if self._language is None:
            self._detect_language()
        batch = Batch(self._model, self._options, self._options.batch_size or DEFAULT_BATCH_SIZE)
        n_segments = 0
        for number, event in in_order(batch.run(partial(self._open, chunk) for chunk in self._chunks())):
            if isinstance(event, MaxWhisperError):
                raise event
            if isinstance(event, Segment):
                yield replace(event, id=n_segments)
                n_segments += 1
            else:
                self._texts.append(event.text)
                self._progress(self._step(self._stops[number]))
        if self._source.length is not None:
            self._progress(self._step(self._source.length))

    @property
    def language(self) -> str:
        """The language, once the first segment or the end has come."""
        assert self._language is not None
        return self._language

    def summary(self, segments: Sequence[Segment]) -> Transcription:
        """The transcription, given all segments so far; after the first one, or the end, the language is known."""
        return Transcription("".join(self._texts), tuple(segments), self.language, self._probabilities)

    def _detect_language(self) -> None:
        """Read as much speech as the language is detected in; without any speech it is the recording's beginning."""
        n_samples = self._options.language_detection_segments * N_SAMPLES
        spoken: list[np.ndarray] = []
        while sum(map(len, spoken)) < n_samples and (read := next(self._speech, None)) is not None:
            spoken += [span.samples for span in read.spans]
            self._waiting += read.chunks
        if spoken:
            speech: SampleSource = HeldSamples(np.concatenate(spoken)[:n_samples], self._source.name)
        else:
            speech = beginning(self._source, n_samples)
        self._probabilities = detect_spoken_language(self._model, spectrogram(self._model, speech), self._options)
        self._language = most_probable_language(self._probabilities)

    def _chunks(self) -> Iterator[Stretch]:
        while self._waiting:
            yield self._waiting.popleft()
        for read in self._speech:
            yield from read.chunks

    def _open(self, chunk: Stretch) -> LongForm:
        self._stops.append(chunk.span.stop)
        return LongForm(
            spectrogram(self._model, HeldSamples(chunk.samples, self._source.name)),
            self._model.dims,
            self._options,
            language=self._language,
            restore_times=SpeechTimes([chunk.span]).restore,
            first_frame=chunk.span.start // HOP_LENGTH,
        )

    def _reading(self, step: Step) -> None:
        """Tell of the reading until there are chunks, whose decoding is told of then."""
        if not self._stops:
            self._progress(step)

    def _step(self, n_samples: int) -> Step:
        total = self._source.length
        return Step("transcribing", n_samples // SAMPLE_RATE, None if total is None else total // SAMPLE_RATE, "s")


def stream_recordings(
    model: SpeechModel,
    audios: Iterable[Audio],
    options: TranscribeOptions,
    batch_size: int,
    progress: Progress,
) -> Iterator[RecordingEvent]:
    """What becomes of recordings, several at a time, as it comes; the events of one recording are in order.

    options: resolved for the model. batch_size: recordings at a time.
    """
    opened: dict[int, LongForm] = {}
    segments: dict[int, list[Segment]] = defaultdict(list)

    def opening(number: int, audio: Audio) -> Callable[[], LongForm]:
        reading = options.of_one_among_many(isinstance(audio, np.ndarray))

        def open_recording() -> LongForm:
            opened[number] = long_form(model, open_samples(audio, reading), options, silent)
            return opened[number]

        return open_recording

    n_done = 0
    for number, event in Batch(model, options, batch_size).run(map(opening, count(), audios)):
        if isinstance(event, Segment):
            segments[number].append(event)
            yield RecordingEvent(number, event, opened[number].language or "en")
            continue
        opened.pop(number, None)
        so_far = segments.pop(number, [])
        n_done += 1
        progress(Step("transcribing", n_done, None, "recordings"))
        yield RecordingEvent(number, event if isinstance(event, MaxWhisperError) else _transcription(event, so_far))


def outcomes(events: Iterable[RecordingEvent]) -> Iterator[Transcription | MaxWhisperError]:
    """What becomes of each recording in the end, in their order; what comes early waits."""
    early: dict[int, Transcription | MaxWhisperError] = {}
    current = 0
    for event in events:
        if isinstance(event.content, Transcription | MaxWhisperError):
            early[event.number] = event.content
        while current in early:
            yield early.pop(current)
            current += 1


def long_form(model: SpeechModel, source: SampleSource, options: TranscribeOptions, progress: Progress) -> LongForm:
    """A whole recording, or, with a voice-activity filter, its speech alone."""
    restore_times = None
    if options.vad_filter:
        parameters = options.speech or VadParameters()
        spans = find_speech(source, parameters, progress)
        padding = round(parameters.speech_pad_ms * SAMPLE_RATE / 1000)
        source, restore_times = Joined(source, spans), SpeechTimes(spans, padding=padding).restore
    log_mel = spectrogram(model, source, progress)
    return LongForm(log_mel, model.dims, options, restore_times=restore_times, progress=progress)


def spectrogram(model: SpeechModel, source: SampleSource, progress: Progress = silent) -> LogMelWindows:
    """The log-mel spectrogram of a recording that the model takes, computed by what the model has for it."""
    return LogMelWindows(source, model.dims.n_mels, log10_mel=model.log10_mel, progress=progress)


def beginning(source: SampleSource, n_samples: int) -> SampleSource:
    """The first samples of a recording, read no further; all of one that is shorter."""
    blocks: list[np.ndarray] = []
    for block in source.blocks():
        blocks.append(block)
        if sum(map(len, blocks)) >= n_samples:
            break
    return HeldSamples(np.concatenate(blocks)[:n_samples], source.name)


def detect_spoken_language(model: SpeechModel, log_mel: LogMelWindows, options: TranscribeOptions) -> dict[str, float]:
    """How probable each language is in the first windows of a recording, by code."""
    tokenizer = get_tokenizer(model.dims.is_multilingual, num_languages=model.dims.num_languages)
    windows = []
    for seek in range(0, max(1, log_mel.content_frames), N_FRAMES)[: options.language_detection_segments]:
        window = np.ascontiguousarray(log_mel.window(seek, N_FRAMES)[None])
        with model.turns:
            windows += language_probabilities(model, model.encode(window), 1, tokenizer)
    return mean_probabilities(windows)


def in_order(events: Iterable[Event]) -> Iterator[Event]:
    """The events of recording 0, then those of recording 1, and so on; what comes early waits."""
    early: dict[int, list[Event]] = defaultdict(list)
    current = 0
    for event in events:
        early[event[0]].append(event)
        while current in early:
            ready = early.pop(current)
            yield from ready
            if isinstance(ready[-1][1], Segment):
                break
            current += 1


def _transcription(result: RecordingResult, segments: Sequence[Segment]) -> Transcription:
    return Transcription(result.text, tuple(segments), result.language, result.language_probabilities)
