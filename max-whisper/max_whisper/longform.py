"""Audio of any length: windows of 30 s, one after the other, into segments.

The steps are those of openai-whisper (whisper/transcribe.py): features of the whole recording, the language from its
first 30 s, then windows, each of which begins where the last timestamp of the one before it points.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from max_whisper.audio import (
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    N_FRAMES,
    N_SAMPLES,
    SAMPLE_RATE,
    pad_or_trim,
)
from max_whisper.decoding import AudioFeatures, DecodingResult, SpeechModel, WindowDecoder, detect_language
from max_whisper.log_mel import log_mel_spectrogram
from max_whisper.options import TranscribeOptions
from max_whisper.progress import Progress, Step, silent
from max_whisper.results import Segment, Transcription
from max_whisper.tokenizer import get_tokenizer


def transcribe(
    model: SpeechModel, audio: np.ndarray, options: TranscribeOptions, progress: Progress = silent
) -> Transcription:
    """Transcribe a whole recording.

    audio: float32 [n], 16 kHz, mono. `progress` hears how many of its seconds are done.

    Raises OptionError where the options do not fit the model.
    """
    recording = LongForm(model, audio, options)
    segments = tuple(recording.segments(progress))
    return Transcription(recording.text(segments), segments, recording.language)


def detect_spoken_language(model: SpeechModel, audio: np.ndarray) -> tuple[str, dict[str, float]]:
    """The language of the first 30 s of a recording and the probabilities of all languages, by code.

    audio: float32 [n], 16 kHz, mono. Raises OptionError for an English-only model.
    """
    log_mel = log_mel_spectrogram(pad_or_trim(audio, N_SAMPLES), model.dims.n_mels)
    tokenizer = get_tokenizer(model.dims.is_multilingual, num_languages=model.dims.num_languages)
    return detect_language(model, model.encode(log_mel[None]), tokenizer)


@dataclass(frozen=True)
class Window:
    """A stretch of the recording that is decoded at once."""

    seek: int  # first mel frame (10 ms each)
    frames: int  # mel frames of the recording in it: at most 3000, fewer in the last window

    @property
    def start(self) -> float:
        """Seconds from the beginning of the recording."""
        return self.seek * HOP_LENGTH / SAMPLE_RATE


@dataclass(frozen=True)
class Span:
    """The tokens of one segment and their times in the window."""

    start: float  # seconds from the beginning of the window
    end: float
    tokens: tuple[int, ...]


class LongForm:
    """One recording on its way to segments; its language is known from the start."""

    def __init__(self, model: SpeechModel, audio: np.ndarray, options: TranscribeOptions) -> None:
        """audio: float32 [n], 16 kHz, mono. Raises OptionError where the options do not fit the model."""
        dims = model.dims
        self._options = options.resolve(dims)
        self._model = model
        # With 30 s of silence behind it, so that every window can be cut out whole.
        self._log_mel = log_mel_spectrogram(audio, dims.n_mels, padding=N_SAMPLES)
        self._content_frames = self._log_mel.shape[-1] - N_FRAMES
        self._frames_per_position = N_FRAMES // dims.n_audio_ctx
        self._first_features: AudioFeatures | None = None

        self.language = self._options.language or self._detect_language()
        self._tokenizer = get_tokenizer(
            dims.is_multilingual,
            num_languages=dims.num_languages,
            language=self.language,
            task=self._options.task,
        )
        self._decoder = WindowDecoder(model, self._tokenizer, self._options)

    def segments(self, progress: Progress = silent) -> Iterator[Segment]:
        """The segments, each as soon as it is final. `progress` hears how many seconds of the recording are done."""
        seek = n_segments = 0
        previous_tokens: list[int] = []
        while seek < self._content_frames:
            window = Window(seek, min(N_FRAMES, self._content_frames - seek))
            result = self._decode(window, previous_tokens)
            if self._is_silence(result):
                seek += window.frames
            else:
                spans, frames_done = split_at_timestamps(
                    result.tokens, self._tokenizer.timestamp_begin, window.frames, self._frames_per_position
                )
                # Without the timestamp rules a model can write a last timestamp of 0, which would decode the same
                # window for ever.
                seek += frames_done or window.frames
                for span in spans:
                    segment = self._segment(n_segments, window, span, result)
                    n_segments += 1
                    if self._options.condition_on_previous_text:
                        previous_tokens += segment.tokens
                    yield segment
            progress(self._step(seek))

    def text(self, segments: Sequence[Segment]) -> str:
        """The text of the whole recording, given all its segments.

        Decoded from the tokens of all, so that a character whose bytes two segments share is whole.
        """
        return self._tokenizer.decode([token for segment in segments for token in segment.tokens])

    def _detect_language(self) -> str:
        features = self._encode(self._log_mel[:, :N_FRAMES])
        if self._content_frames >= N_FRAMES:
            # The first window is this very stretch; a shorter one is padded with zeros instead of silence's log-mel.
            self._first_features = features
        tokenizer = get_tokenizer(True, num_languages=self._model.dims.num_languages)
        language, _ = detect_language(self._model, features, tokenizer)
        return language

    def _decode(self, window: Window, previous_tokens: Sequence[int]) -> DecodingResult:
        if window.seek == 0 and self._first_features is not None:
            features, self._first_features = self._first_features, None
        else:
            log_mel = self._log_mel[:, window.seek : window.seek + window.frames]
            features = self._encode(pad_or_trim(log_mel, N_FRAMES))
        return self._decoder.decode(features, [previous_tokens])[0]

    def _encode(self, log_mel: np.ndarray) -> AudioFeatures:
        return self._model.encode(np.ascontiguousarray(log_mel[None]))

    def _is_silence(self, result: DecodingResult) -> bool:
        """Whether the window is to be skipped: <|nospeech|> was probable, and its text was not."""
        no_speech_threshold, logprob_threshold = self._options.no_speech_threshold, self._options.logprob_threshold
        if no_speech_threshold is None or not result.no_speech_prob > no_speech_threshold:
            return False
        return logprob_threshold is None or not result.avg_logprob > logprob_threshold

    def _segment(self, number: int, window: Window, span: Span, result: DecodingResult) -> Segment:
        start, end = window.start + span.start, window.start + span.end
        text = self._tokenizer.decode([token for token in span.tokens if token < self._tokenizer.eot])
        is_empty = start == end or not text.strip()
        return Segment(
            id=number,
            seek=window.seek,
            start=start,
            end=end,
            text="" if is_empty else text,
            tokens=() if is_empty else span.tokens,
            temperature=result.temperature,
            avg_logprob=result.avg_logprob,
            compression_ratio=result.compression_ratio,
            no_speech_prob=result.no_speech_prob,
        )

    def _step(self, seek: int) -> Step:
        total = self._content_frames
        return Step("transcribing", min(seek, total) // FRAMES_PER_SECOND, total // FRAMES_PER_SECOND, "s")


def split_at_timestamps(
    tokens: Sequence[int], timestamp_begin: int, window_frames: int, frames_per_position: int
) -> tuple[list[Span], int]:
    """Cut a window's tokens into segments, and say how many of its mel frames are done with.

    Two timestamps in a row end one segment and begin the next. What comes after the last such pair is unfinished and
    left to the next window, which begins there; a timestamp at the very end, after text, finishes it and the window.
    Without any pair the whole window is one segment, up to the last timestamp if there is one.

    frames_per_position: mel frames for each step of the timestamps (2, which is 20 ms).
    """
    seconds_per_position = frames_per_position * HOP_LENGTH / SAMPLE_RATE
    is_timestamp = [token >= timestamp_begin for token in tokens]
    finished = is_timestamp[-2:] == [False, True]
    cuts = [index for index in range(1, len(tokens)) if is_timestamp[index - 1] and is_timestamp[index]]

    if not cuts:
        end = window_frames * HOP_LENGTH / SAMPLE_RATE
        timestamps = [token for token in tokens if token >= timestamp_begin]
        if timestamps and timestamps[-1] != timestamp_begin:
            end = (timestamps[-1] - timestamp_begin) * seconds_per_position
        return [Span(0.0, end, tuple(tokens))], window_frames

    if finished:
        cuts.append(len(tokens))
    spans = []
    for first, after in zip([0, *cuts], cuts, strict=False):
        start = (tokens[first] - timestamp_begin) * seconds_per_position
        end = (tokens[after - 1] - timestamp_begin) * seconds_per_position
        spans.append(Span(start, end, tuple(tokens[first:after])))
    if finished:
        return spans, window_frames
    return spans, (tokens[cuts[-1] - 1] - timestamp_begin) * frames_per_position
