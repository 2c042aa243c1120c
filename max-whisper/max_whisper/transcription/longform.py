"""Audio of any length: windows of 30 s, one after the other, into segments.

The steps are those of openai-whisper (whisper/transcribe.py): the language from the first 30 s, then windows, each of
which begins where the last timestamp of the one before it points. A recording computes nothing on a model itself: it
asks, and whoever runs it (batching.py) answers, alone or together with what other recordings ask at that time.
"""

from bisect import bisect_left
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from max_whisper.audio import FRAMES_PER_SECOND, HOP_LENGTH, N_FRAMES, SAMPLE_RATE
from max_whisper.audio.vad import Spoken
from max_whisper.backends.interface import AudioFeatures
from max_whisper.decoding import DecodingResult, WindowContext, is_silence, mean_probabilities, most_probable_language
from max_whisper.decoding.prompt import text_tokens
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.tokenizer import Tokenizer, get_tokenizer
from max_whisper.options import TranscribeOptions
from max_whisper.progress import Progress, Step, silent
from max_whisper.results import Segment
from max_whisper.transcription.clips import Clip, clips_of
from max_whisper.transcription.hallucination import Continuation, continue_after_words
from max_whisper.transcription.word_timestamps import (
    SegmentDraft,
    add_word_timestamps,
    align_words,
    text_tokens_of,
    tokens_to_align,
)


class LogMel(Protocol):
    """The log-mel spectrogram of a recording, window by window; see log_mel.LogMelWindows."""

    content_frames: int

    def window(self, seek: int, frames: int) -> np.ndarray:
        """Mel frames [seek, seek + frames) of the recording and the silence after it, then zeros: [n_mels, 3000]."""
        ...


@dataclass(frozen=True)
class DetectLanguage:
    """Asks which language a window is in; answered with `DetectedLanguage`."""

    log_mel: np.ndarray  # float32 [n_mels, 3000]


@dataclass(frozen=True)
class DetectedLanguage:
    """How probable each language is, by code, and the window's features for further use."""

    probabilities: dict[str, float]
    features: AudioFeatures


@dataclass(frozen=True)
class DecodeWindow:
    """Asks for a window's text; answered with a `DecodingResult`."""

    log_mel: np.ndarray  # float32 [n_mels, 3000]
    context: WindowContext
    features: AudioFeatures | None  # of this very log-mel, where they are known already


@dataclass(frozen=True)
class AlignTokens:
    """Asks how tokens look at the audio of the window decoded last; answered with (scores, probabilities).

    The answer is one window's `CrossAttention`: float32 [heads, n, n_audio_ctx] and float32 [n - 1].
    """

    tokens: Sequence[int]


Request: TypeAlias = DetectLanguage | DecodeWindow | AlignTokens
Steps: TypeAlias = Generator[Request | Segment, Any, None]


# Gives the segments of a window the times of another recording, after a time in it; see SpeechTimes.restore.
RestoreTimes: TypeAlias = Callable[[Sequence[Spoken], float], Sequence[Segment]]


@dataclass(frozen=True)
class Window:
    """A stretch of the recording that is decoded at once."""

    seek: int  # first mel frame (10 ms each)
    frames: int  # mel frames of the recording in it: at most 3000, fewer in the last window

    @property
    def start(self) -> float:
        """Seconds from the beginning of the recording."""
        return float(self.seek * HOP_LENGTH / SAMPLE_RATE)

    @property
    def duration(self) -> float:
        """Seconds of the recording in it."""
        return self.frames * HOP_LENGTH / SAMPLE_RATE


@dataclass(frozen=True)
class TimedTokens:
    """The tokens of one segment and their times in the window."""

    start: float  # seconds from the beginning of the window
    end: float
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class RecordingResult:
    """The text and the language of a recording, which go with its segments."""

    text: str
    language: str
    language_probabilities: dict[str, float] | None  # where the language was detected


class LongForm:
    """One recording on its way to segments."""

    def __init__(
        self,
        log_mel: LogMel,
        dims: ModelDimensions,
        options: TranscribeOptions,
        *,
        language: str | None = None,
        restore_times: RestoreTimes | None = None,
        first_frame: int = 0,
        progress: Progress = silent,
    ) -> None:
        """
        options: resolved for the model.
        language: where it is not an option but was found out already; otherwise it is detected.
        restore_times: gives segments the times of another recording, of which this one is made.
        first_frame: mel frame of that other recording at which this one begins; it seeds the sampling.
        progress: hears how many seconds of the recording are done.
        """
        self._log_mel = log_mel
        self._dims = dims
        self._options = options
        self._restore_times = restore_times
        self._first_frame = first_frame
        self._progress = progress
        self._frames_per_position = N_FRAMES // dims.n_audio_ctx

        self.language = options.language or language  # None until it is detected
        self.language_probabilities: dict[str, float] | None = None
        self._first_features: AudioFeatures | None = None

        self._seek = 0
        self._n_segments = 0
        self._last_speech_timestamp = 0.0  # seconds
        self._reported_end = 0.0  # of the last segment given, in seconds
        self._tokenizer = self._tokenizer_of(self.language or "en")
        self._initial_prompt = text_tokens(self._tokenizer, options.initial_prompt)
        self._hotwords = text_tokens(self._tokenizer, options.hotwords or None)
        # The tokens of all segments, after the initial prompt, and where among them the next prompt begins.
        self._tokens = list(self._initial_prompt)
        self._prompt_start = 0

    @property
    def result(self) -> RecordingResult:
        """The text of all segments so far, and the language.

        The text is decoded from the tokens of all, so that a character whose bytes two segments share is whole.
        """
        text = self._tokenizer.decode(self._tokens[len(self._initial_prompt) :])
        return RecordingResult(text, self.language or "en", self.language_probabilities)

    def steps(self) -> Steps:
        """Requests, to be answered with `send`, and segments, each as soon as it is final."""
        if self.language is None:
            yield from self._detect_language()
        for clip in clips_of(self._options.clips, self._log_mel.content_frames):
            self._seek = clip.first
            while self._seek < clip.stop:
                yield from self._transcribe_window(clip)
                self._progress(self._step())

    def _tokenizer_of(self, language: str) -> Tokenizer:
        return get_tokenizer(
            self._dims.is_multilingual,
            num_languages=self._dims.num_languages,
            language=language,
            task=self._options.task,
        )

    def _detect_language(self) -> Generator[Request, Any, None]:
        content, windows = self._log_mel.content_frames, []
        for number in range(self._options.language_detection_segments):
            seek = number * N_FRAMES
            if number and seek >= content:
                break
            answer: DetectedLanguage = yield DetectLanguage(self._log_mel.window(seek, N_FRAMES))
            windows.append(answer.probabilities)
            if number == 0 and content >= N_FRAMES:
                # The first window is this very stretch; a shorter one is padded with zeros, not with silence's log-mel.
                self._first_features = answer.features
        self.language_probabilities = mean_probabilities(windows)
        self.language = most_probable_language(self.language_probabilities)
        self._tokenizer = self._tokenizer_of(self.language)

    def _transcribe_window(self, clip: Clip) -> Steps:
        """Decode the window at the seek, give its segments and move on."""
        options, content = self._options, self._log_mel.content_frames
        window = Window(self._seek, min(N_FRAMES, content - self._seek, clip.stop - self._seek))
        log_mel = self._log_mel.window(window.seek, window.frames)
        features, tokenizer = None, self._tokenizer
        if window.seek == 0 and window.frames == N_FRAMES:
            features, self._first_features = self._first_features, None
        if options.multilingual:
            answer: DetectedLanguage = yield DetectLanguage(log_mel)
            features, tokenizer = answer.features, self._tokenizer_of(most_probable_language(answer.probabilities))
        context = WindowContext(tokenizer, self._prompt(), self._first_frame + window.seek)
        result: DecodingResult = yield DecodeWindow(log_mel, context, features)
        if is_silence(result, options):
            self._seek += window.frames
            return

        spans, frames_done = split_at_timestamps(
            result.tokens, tokenizer.timestamp_begin, window.frames, self._frames_per_position
        )
        drafts = [self._draft(window, span, tokenizer) for span in spans]
        # Without the timestamp rules a model can write a last timestamp of 0, which would decode the same window for
        # ever.
        self._seek += frames_done or window.frames
        if options.word_timestamps:
            continuation = yield from self._time_words(window, drafts, tokenizer, result)
            self._seek, drafts = continuation.seek, continuation.drafts
            self._last_speech_timestamp = continuation.last_speech_timestamp
            if continuation.skipped:
                return
        for segment in self._with_reported_times([self._segment(draft, result) for draft in drafts], drafts, clip):
            self._tokens += segment.tokens
            yield replace(segment, id=self._n_segments)
            self._n_segments += 1
        if not options.condition_on_previous_text or result.temperature > options.prompt_reset_on_temperature:
            self._prompt_start = len(self._tokens)

    def _prompt(self) -> list[int]:
        """The tokens said before the window: hotwords and a carried prompt first, then what fits of the last text."""
        carried, text = [], self._tokens[self._prompt_start :]
        if self._options.carry_initial_prompt:
            carried = self._initial_prompt
            text = self._tokens[max(len(carried), self._prompt_start) :]
        room = self._dims.n_text_ctx // 2 - 1
        if not self._hotwords:
            # With no room at all the slice is everything, as in openai-whisper, and the decoder's own cut decides.
            return carried + text[len(carried) - room :]
        hotwords = self._hotwords[:room]
        carried = _last(carried, room - len(hotwords))
        return hotwords + carried + _last(text, room - len(hotwords) - len(carried))

    def _draft(self, window: Window, span: TimedTokens, tokenizer: Tokenizer) -> SegmentDraft:
        return SegmentDraft(
            seek=window.seek,
            start=window.start + span.start,
            end=window.start + span.end,
            tokens=span.tokens,
            text=tokenizer.decode([token for token in span.tokens if token < tokenizer.eot]),
        )

    def _time_words(
        self, window: Window, drafts: Sequence[SegmentDraft], tokenizer: Tokenizer, result: DecodingResult
    ) -> Generator[Request, Any, Continuation]:
        """Give the segments their words, and decide by them how to go on."""
        options, text, alignment = self._options, text_tokens_of(drafts, tokenizer), []
        if text:
            scores, probabilities = yield AlignTokens(tokens_to_align(text, tokenizer))
            alignment = align_words(scores, probabilities, tokenizer, text, window.frames)
        add_word_timestamps(
            drafts,
            alignment,
            tokenizer,
            prepend_punctuations=options.prepend_punctuations,
            append_punctuations=options.append_punctuations,
            last_speech_timestamp=self._last_speech_timestamp,
        )
        return continue_after_words(
            drafts,
            seek=window.seek,
            next_seek=self._seek,
            n_frames=window.frames,
            content_frames=self._log_mel.content_frames,
            is_finished=ends_with_timestamp(result.tokens, tokenizer.timestamp_begin),
            last_speech_timestamp=self._last_speech_timestamp,
            threshold=options.hallucination_silence_threshold,
        )

    def _with_reported_times(
        self, segments: Sequence[Segment], drafts: Sequence[SegmentDraft], clip: Clip
    ) -> Sequence[Segment]:
        """The segments of a window with the times that are given to the user; decoding goes on by those that it has."""
        if self._options.clamp_timestamps:
            segments = [clip.clamped(segment) for segment in segments]
        if self._restore_times:
            spoken = [
                Spoken(segment, draft.written, _by_words(segment.tokens, draft.word_ends, self._tokenizer.eot))
                for segment, draft in zip(segments, drafts, strict=True)
            ]
            segments = self._restore_times(spoken, self._reported_end)
        if segments:
            self._reported_end = segments[-1].end
        return segments

    def _segment(self, draft: SegmentDraft, result: DecodingResult) -> Segment:
        is_empty = draft.start == draft.end or not draft.text.strip()
        return Segment(
            id=self._n_segments,
            seek=draft.seek,
            start=draft.start,
            end=draft.end,
            text="" if is_empty else draft.text,
            tokens=() if is_empty else draft.tokens,
            temperature=result.temperature,
            avg_logprob=result.avg_logprob,
            compression_ratio=result.compression_ratio,
            no_speech_prob=result.no_speech_prob,
            words=() if is_empty else draft.words,
        )

    def _step(self) -> Step:
        total = self._log_mel.content_frames
        return Step("transcribing", min(self._seek, total) // FRAMES_PER_SECOND, total // FRAMES_PER_SECOND, "s")


def _by_words(tokens: Sequence[int], word_ends: Sequence[int], eot: int) -> tuple[tuple[int, ...], ...]:
    """The tokens of a segment word by word; its first timestamp is with the first word, others with the one before.

    word_ends: how many tokens of text, below `eot`, there are up to the end of each word.
    """
    words: list[list[int]] = [[] for _ in word_ends]
    n_text = 0
    for token in tokens if words else ():
        n_text += token < eot
        words[min(bisect_left(word_ends, n_text), len(words) - 1)].append(token)
    return tuple(tuple(word) for word in words)


def _last(tokens: list[int], count: int) -> list[int]:
    """The last tokens, none where `count` is 0."""
    return tokens[max(0, len(tokens) - count) :]


def split_at_timestamps(
    tokens: Sequence[int], timestamp_begin: int, window_frames: int, frames_per_position: int
) -> tuple[list[TimedTokens], int]:
    """Cut a window's tokens into segments, and say how many of its mel frames are done with.

    Two timestamps in a row end one segment and begin the next. What comes after the last such pair is unfinished and
    left to the next window, which begins there; a timestamp at the very end, after text, finishes it and the window.
    Without any pair the whole window is one segment, up to the last timestamp if there is one.

    frames_per_position: mel frames for each step of the timestamps (2, which is 20 ms).
    """
    seconds_per_position = frames_per_position * HOP_LENGTH / SAMPLE_RATE
    is_timestamp = [token >= timestamp_begin for token in tokens]
    finished = ends_with_timestamp(tokens, timestamp_begin)
    cuts = [index for index in range(1, len(tokens)) if is_timestamp[index - 1] and is_timestamp[index]]

    if not cuts:
        end = window_frames * HOP_LENGTH / SAMPLE_RATE
        timestamps = [token for token in tokens if token >= timestamp_begin]
        if timestamps and timestamps[-1] != timestamp_begin:
            end = (timestamps[-1] - timestamp_begin) * seconds_per_position
        return [TimedTokens(0.0, end, tuple(tokens))], window_frames

    if finished:
        cuts.append(len(tokens))
    spans = []
    for first, after in zip([0, *cuts], cuts, strict=False):
        start = (tokens[first] - timestamp_begin) * seconds_per_position
        end = (tokens[after - 1] - timestamp_begin) * seconds_per_position
        spans.append(TimedTokens(start, end, tuple(tokens[first:after])))
    if finished:
        return spans, window_frames
    return spans, (tokens[cuts[-1] - 1] - timestamp_begin) * frames_per_position


def ends_with_timestamp(tokens: Sequence[int], timestamp_begin: int) -> bool:
    """Whether the last token is a timestamp and the one before it is text: no speech follows."""
    return [token >= timestamp_begin for token in tokens[-2:]] == [False, True]
