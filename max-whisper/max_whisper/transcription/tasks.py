"""Recordings to transcriptions: one after the other in its windows, its speech in batches, or many at once."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from max_whisper.audio import CHUNK_LENGTH, HOP_LENGTH, N_FRAMES, N_SAMPLES, SAMPLE_RATE, Audio
from max_whisper.audio.log_mel import LogMelWindows
from max_whisper.audio.samples import Excerpt, Joined, SampleSource, open_samples
from max_whisper.audio.vad import BATCHED, Span, SpeechTimes, VadParameters, find_speech, pack_spans
from max_whisper.backends.interface import SpeechModel
from max_whisper.decoding import language_probabilities, mean_probabilities, most_probable_language
from max_whisper.errors import MaxWhisperError
from max_whisper.models.whisper.tokenizer import get_tokenizer
from max_whisper.options import TranscribeOptions
from max_whisper.progress import Progress, Step, silent
from max_whisper.results import Segment, Transcription
from max_whisper.transcription.batching import Batch, Event
from max_whisper.transcription.longform import LongForm, Outcome


class OneByOne:
    """A recording, window by window, each where the one before it points."""

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

    def summary(self, segments: Sequence[Segment]) -> Transcription:
        """The transcription, given all segments so far."""
        return _transcription(self._recording.outcome, segments)


class SpeechInBatches:
    """The speech of a recording, cut at silences into stretches of at most 30 s, several at once.

    Each stretch is a recording of its own, with the result that it has alone.
    """

    def __init__(
        self, model: SpeechModel, source: SampleSource, options: TranscribeOptions, progress: Progress
    ) -> None:
        """options: resolved for the model, with a batch size."""
        assert options.batch_size is not None
        self._model = model
        self._source = source
        self._options = options
        self._progress = progress
        spans = find_speech(source, (options.vad_parameters or BATCHED).at_most(CHUNK_LENGTH), progress)
        # Whole mel frames, so that a chunk's frames are the recording's.
        self._chunks = [Span(start - start % HOP_LENGTH, stop) for start, stop in pack_spans(spans)]
        self._probabilities: dict[str, float] | None = None
        self._language = options.language
        if self._language is None:
            n_samples = options.language_detection_segments * N_SAMPLES
            speech = beginning(Joined(source, spans) if spans else source, n_samples)
            self._probabilities = detect_spoken_language(model, spectrogram(model, speech), options)
            self._language = most_probable_language(self._probabilities)
        self._texts: list[str] = []

    def segments(self) -> Iterator[Segment]:
        """The segments, in the order of the recording."""
        batch = Batch(self._model, self._options, self._options.batch_size or 1)
        n_segments = 0
        for number, event in in_order(batch.run(partial(self._open, chunk) for chunk in self._chunks)):
            if isinstance(event, MaxWhisperError):
                raise event
            if isinstance(event, Segment):
                yield replace(event, id=n_segments)
                n_segments += 1
            else:
                self._texts.append(event.text)
                self._progress(self._step(number))

    def summary(self, segments: Sequence[Segment]) -> Transcription:
        """The transcription, given all segments so far."""
        assert self._language is not None
        return Transcription("".join(self._texts), tuple(segments), self._language, self._probabilities)

    def _open(self, chunk: Span) -> LongForm:
        return LongForm(
            spectrogram(self._model, Excerpt(self._source, *chunk)),
            self._model.dims,
            self._options,
            language=self._language,
            place=partial(_later, samples=chunk.start),
            origin=chunk.start // HOP_LENGTH,
        )

    def _step(self, number: int) -> Step:
        done, total = self._chunks[number].stop, self._chunks[-1].stop
        return Step("transcribing", done // SAMPLE_RATE, total // SAMPLE_RATE, "s")


def transcribe_recordings(
    model: SpeechModel,
    audios: Iterable[Audio],
    options: TranscribeOptions,
    batch_size: int,
    progress: Progress,
    sample_rate: int | None = None,
) -> Iterator[Transcription | MaxWhisperError]:
    """What becomes of each recording, in order: its transcription or the error that ended it.

    options: resolved for the model. batch_size: recordings at a time. sample_rate: of arrays, in Hz.
    """

    def opening(audio: Audio) -> Callable[[], LongForm]:
        rate = sample_rate if isinstance(audio, np.ndarray) else None
        return lambda: long_form(model, open_samples(audio, rate), options, silent)

    segments: dict[int, list[Segment]] = defaultdict(list)
    for number, event in in_order(Batch(model, options, batch_size).run(map(opening, audios))):
        if isinstance(event, Segment):
            segments[number].append(event)
            continue
        progress(Step("transcribing", number + 1, None, "recordings"))
        yield event if isinstance(event, MaxWhisperError) else _transcription(event, segments.pop(number, []))


def long_form(model: SpeechModel, source: SampleSource, options: TranscribeOptions, progress: Progress) -> LongForm:
    """A whole recording, or, with a voice-activity filter, its speech alone."""
    place = None
    if options.vad_filter:
        spans = find_speech(source, options.vad_parameters or VadParameters(), progress)
        source, place = Joined(source, spans), SpeechTimes(spans).restore
    return LongForm(spectrogram(model, source, progress), model.dims, options, place=place, progress=progress)


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
    return open_samples(np.concatenate(blocks)[:n_samples])


def detect_spoken_language(model: SpeechModel, log_mel: LogMelWindows, options: TranscribeOptions) -> dict[str, float]:
    """How probable each language is in the first windows of a recording, by code."""
    tokenizer = get_tokenizer(model.dims.is_multilingual, num_languages=model.dims.num_languages)
    windows = []
    for seek in range(0, max(1, log_mel.content_frames), N_FRAMES)[: options.language_detection_segments]:
        features = model.encode(np.ascontiguousarray(log_mel.window(seek, N_FRAMES)[None]))
        windows += language_probabilities(model, features, 1, tokenizer)
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


def _transcription(outcome: Outcome, segments: Sequence[Segment]) -> Transcription:
    return Transcription(outcome.text, tuple(segments), outcome.language, outcome.language_probabilities)


def _later(segment: Segment, samples: int) -> Segment:
    """A segment of a stretch that begins so many samples into the recording."""
    seconds = samples / SAMPLE_RATE
    words = segment.words and tuple(
        replace(word, start=round(word.start + seconds, 2), end=round(word.end + seconds, 2)) for word in segment.words
    )
    return replace(
        segment,
        seek=segment.seek + samples // HOP_LENGTH,
        start=round(segment.start + seconds, 2),
        end=round(segment.end + seconds, 2),
        words=words,
    )
