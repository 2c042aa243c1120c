"""The segments of a recording while it is transcribed."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from max_whisper.errors import MaxWhisperError
from max_whisper.results import Segment, Transcription


class TranscriptionStream(Iterator[Segment]):
    """The segments of one recording, each as soon as it is final, and the transcription that they make up.

    An error of the recording ends the iteration: it is raised there and by each call that follows.
    """

    def __init__(
        self,
        segments: Iterator[Segment],
        summary: Callable[[Sequence[Segment]], Transcription],
        language: Callable[[], str],
    ) -> None:
        """summary: the transcription of the segments so far. language: the recording's, right after the first one."""
        self._segments = segments
        self._summary = summary
        self._language = language
        self._waiting: deque[Segment] = deque()
        self._final: list[Segment] = []
        self._error: MaxWhisperError | None = None

    def __next__(self) -> Segment:
        segment = self._waiting.popleft() if self._waiting else self._computed()
        self._final.append(segment)
        return segment

    def _computed(self) -> Segment:
        if self._error is not None:
            raise self._error  # what there is of a recording that failed is not all of it
        try:
            return next(self._segments)
        except MaxWhisperError as error:
            self._error = error
            raise

    @property
    def language(self) -> str:
        """The language that is written or was detected; the first segment is waited for."""
        if not self._final and not self._waiting:
            with suppress(StopIteration):
                self._waiting.append(self._computed())
        return self._language()

    def transcription(self) -> Transcription:
        """The whole transcription: the rest of the recording is transcribed now. Raises AudioError as `transcribe`."""
        for _ in self:
            pass
        return self._summary(self._final)
