"""A model for tests of the command line: it hears the same words in everything."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from max_whisper.audio import load_audio
from max_whisper.audio.reading import ReadingOptions
from max_whisper.definitions import options_of
from max_whisper.errors import MaxWhisperError
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS
from max_whisper.progress import Step
from max_whisper.results import RecordingEvent, Segment, Transcription

READING = [option.name for option in options_of(ReadingOptions)]
SEGMENTS = (
    Segment(0, 0, 0.0, 1.5, " one two", (1, 2), 0.0, -0.1, 1.0, 0.01),
    Segment(1, 0, 1.5, 61.25, " three [bold]four[/bold]", (3, 4), 0.0, -0.1, 1.0, 0.01),
)
TEXT = """\
Detected language: English
[00:00.000 --> 00:01.500]  one two
[00:01.500 --> 01:01.250]  three [bold]four[/bold]
"""


TRANSCRIPTION = Transcription("".join(segment.text for segment in SEGMENTS), SEGMENTS, "en")


class Stream:
    """The segments of one recording, as a Transcriber yields them."""

    language = "en"

    def __iter__(self) -> Iterator[Segment]:
        return iter(SEGMENTS)

    def transcription(self) -> Transcription:
        return TRANSCRIPTION


class FakeTranscriber:
    """Hears the same words in everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.name = "fake"
        self.dims = OFFICIAL_MODELS["tiny"].dims
        self.loaded: list[tuple[str | None, dict[str, Any]]] = []
        self.heard: list[tuple[int, dict[str, Any]]] = []

    def load(self, model: str | None, **options: Any) -> "FakeTranscriber":
        self.loaded.append((model, {name: value for name, value in options.items() if name != "progress"}))
        return self

    def stream(self, audio: Any, **options: Any) -> Stream:
        reading = {name: getattr(options["options"], name) for name in READING}
        n_samples = len(load_audio(audio, **reading))
        progress = options.pop("progress")
        progress(Step("transcribing", 1, 2, "s"))
        self.heard.append((n_samples, vars(options.pop("options"))))
        assert options == {}
        return Stream()

    def stream_many(self, sources: Sequence[Any], **options: Any) -> Iterator[RecordingEvent]:
        for number, source in enumerate(sources):
            try:
                self.stream(source, **options)
            except MaxWhisperError as error:
                yield RecordingEvent(number, error)
            else:
                self.heard[-1] = (self.heard[-1][0], {**self.heard[-1][1], "together": True})
                for segment in SEGMENTS:
                    yield RecordingEvent(number, segment, "en")
                yield RecordingEvent(number, TRANSCRIPTION)

    def detect_language(self, audio: Any, *, segments: int = 1, **reading: Any) -> tuple[str, dict[str, float]]:
        self.heard.append((len(load_audio(audio, **reading)), {"segments": segments, **reading}))
        return "de", {"en": 0.018, "de": 0.94, "nl": 0.04, "fr": 0.002}


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("max-whisper: error: ")
    return line.removeprefix("max-whisper: error: ")
