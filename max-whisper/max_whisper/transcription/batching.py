"""Many recordings at once: what they ask of the model at the same time is answered as one batch.

A recording (longform.py) does not know whether it is alone, so every option works in a batch, and a batch changes
no text, token or time; probabilities are the same but for the rounding of products of another size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from max_whisper.backends.interface import AudioFeatures, SpeechModel
from max_whisper.decoding import DecodingResult, WindowDecoder, decode_with_fallback, language_probabilities
from max_whisper.errors import MaxWhisperError, NonFiniteError, without_frames
from max_whisper.models.whisper.tokenizer import get_tokenizer
from max_whisper.options import TranscribeOptions
from max_whisper.results import Segment
from max_whisper.transcription.longform import (
    AlignTokens,
    DecodeWindow,
    DetectedLanguage,
    DetectLanguage,
    LongForm,
    RecordingResult,
    Request,
    Steps,
)

# What becomes of a recording, with its number: segments, then its result, or the error that ended it.
Event: TypeAlias = tuple[int, Segment | RecordingResult | MaxWhisperError]

Kind = TypeVar("Kind", AlignTokens, DetectLanguage, DecodeWindow)
Result = TypeVar("Result")


@dataclass
class _Active:
    """A recording on its way."""

    number: int
    recording: LongForm
    steps: Steps
    request: Request | None = None
    window: int = 0  # its window in the batch decoded last


class Batch:
    """Runs recordings, several at a time."""

    def __init__(self, model: SpeechModel, options: TranscribeOptions, size: int) -> None:
        """options: resolved for the model. size: recordings at a time."""
        dims = model.dims
        self._model = model
        self._tokenizer = get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages)
        self._decoder = WindowDecoder(model, self._tokenizer, options)
        self._size = size
        self._features: AudioFeatures = None  # of the batch decoded last

    def run(self, recordings: Iterable[Callable[[], LongForm]]) -> Iterator[Event]:
        """Run all recordings; their events as they come, those of one recording in order.

        recordings: each is opened when its turn comes, so that only `size` of them are held at once. An error that a
        user can cause, in opening or in reading, ends its own recording only.
        """
        waiting = enumerate(recordings)
        active: list[_Active] = []
        while True:
            while len(active) < self._size and (entry := next(waiting, None)) is not None:
                number, open_recording = entry
                try:
                    recording = open_recording()
                except MaxWhisperError as error:
                    yield number, without_frames(error)
                    continue
                active.append(_Active(number, recording, recording.steps()))
                yield from _go_on(active[-1], None)
                active = [slot for slot in active if slot.request is not None]
            if not active:
                return
            for slot, answer in self._in_turns(self._answers(active)):
                yield from _go_on(slot, answer)
            active = [slot for slot in active if slot.request is not None]

    def _in_turns(self, answers: Iterator[tuple[_Active, Any]]) -> Iterator[tuple[_Active, Any]]:
        """The answers, each computed in a turn at the device, which is over before the answer is used.

        So a stream that is left half-read keeps no turn.
        """
        while True:
            with self._model.turns:
                answer = next(answers, None)
            if answer is None:
                return
            yield answer

    def _answers(self, active: Sequence[_Active]) -> Iterator[tuple[_Active, Any]]:
        """The answers to one kind of request: alignments before the next windows take the features' place."""
        if aligning := _asking(active, AlignTokens):
            return self._align(aligning)
        if detecting := _asking(active, DetectLanguage):
            return self._detect_language(detecting)
        return self._decode(_asking(active, DecodeWindow))

    def _align(self, asking: Sequence[tuple[_Active, AlignTokens]]) -> Iterator[tuple[_Active, Any]]:
        # One after the other: the scores of a window are large where a checkpoint names no heads, and a pass over
        # whole texts is bound by arithmetic, which a batch does not speed up.
        for slot, request in asking:
            features = self._model.select(self._features, [slot.window])
            tokens = np.array([request.tokens], dtype=np.int64)
            try:
                attention = self._model.cross_attention(features, tokens, self._tokenizer.eot)
            except NonFiniteError as error:
                yield slot, error
            else:
                yield slot, (attention.scores[0], attention.probabilities[0])

    def _detect_language(self, asking: Sequence[tuple[_Active, DetectLanguage]]) -> Iterator[tuple[_Active, Any]]:
        features = self._encode([request.log_mel for _, request in asking])

        def detect(part: AudioFeatures, windows: Sequence[int]) -> list[dict[str, float]]:
            return language_probabilities(self._model, part, len(windows), self._tokenizer)

        every = self._each_or_its_error(detect, features, len(asking))
        for window, ((slot, _), answer) in enumerate(zip(asking, every, strict=True)):
            if isinstance(answer, NonFiniteError):
                yield slot, answer
            else:
                yield slot, DetectedLanguage(answer, self._model.select(features, [window]))

    def _decode(self, asking: Sequence[tuple[_Active, DecodeWindow]]) -> Iterator[tuple[_Active, Any]]:
        known = [(slot, request) for slot, request in asking if request.features is not None]
        new = [(slot, request) for slot, request in asking if request.features is None]
        parts = [request.features for _, request in known]
        if new:
            parts.append(self._encode([request.log_mel for _, request in new]))
        self._features = parts[0] if len(parts) == 1 else self._model.join(parts)
        windows = known + new
        contexts = [request.context for _, request in windows]

        def decode(part: AudioFeatures, which: Sequence[int]) -> list[DecodingResult]:
            return decode_with_fallback(self._decoder, part, [contexts[window] for window in which])

        results = self._each_or_its_error(decode, self._features, len(windows))
        for window, ((slot, _), result) in enumerate(zip(windows, results, strict=True)):
            slot.window = window
            yield slot, result

    def _each_or_its_error(
        self,
        compute: Callable[[AudioFeatures, Sequence[int]], list[Result]],
        features: AudioFeatures,
        n_windows: int,
    ) -> Sequence[Result | NonFiniteError]:
        """What becomes of each window of a batch. One that has no finite logits takes none of the others with it.

        compute: gives the results of features of some windows, and the numbers of those.
        """
        try:
            return compute(features, range(n_windows))
        except NonFiniteError as error:
            if n_windows == 1:
                return [error]
        results: list[Result | NonFiniteError] = []
        for window in range(n_windows):
            try:
                results += compute(self._model.select(features, [window]), [window])
            except NonFiniteError as error:
                results.append(error)
        return results

    def _encode(self, log_mels: list[np.ndarray]) -> AudioFeatures:
        return self._model.encode(np.ascontiguousarray(np.stack(log_mels)))


def _asking(active: Sequence[_Active], kind: type[Kind]) -> list[tuple[_Active, Kind]]:
    """Who asks for that, and the requests."""
    return [(slot, slot.request) for slot in active if isinstance(slot.request, kind)]


def _go_on(slot: _Active, answer: Any) -> Iterator[Event]:
    """Let a recording go on with the answer to its request, up to its next one or its end; an error ends it."""
    slot.request = None
    if isinstance(answer, NonFiniteError):
        slot.steps.close()
        yield slot.number, answer
        return
    try:
        event = slot.steps.send(answer)
        while isinstance(event, Segment):
            yield slot.number, event
            event = next(slot.steps)
        slot.request = event
    except StopIteration:
        yield slot.number, slot.recording.result
    except MaxWhisperError as error:
        yield slot.number, without_frames(error)
