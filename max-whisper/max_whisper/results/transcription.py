"""The transcription of a whole recording: plain data under openai-whisper's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from max_whisper.errors import MaxWhisperError, OptionError
from max_whisper.results import formats
from max_whisper.results.segment import Segment
from max_whisper.runtime.files import replacing

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from max_whisper.results.keywords import SubtitleKeywords


@dataclass(frozen=True)
class Transcription:
    """The text of a whole recording."""

    text: str
    segments: tuple[Segment, ...]
    language: str  # two- or three-letter code, as in openai-whisper's LANGUAGES: 'en', 'yue'
    # Probabilities of all the model's languages by code, 0 to 1, where the language was detected; None where it was
    # given. openai-whisper's dictionaries do not have them, and neither has `to_dict`.
    language_probabilities: Mapping[str, float] | None = field(default=None, hash=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The transcription as the dictionary that openai-whisper's `transcribe` returns and its JSON writer dumps."""
        return {
            "text": self.text,
            "segments": [segment.to_dict() for segment in self.segments],
            "language": self.language,
        }

    @classmethod
    def from_dict(cls, result: Mapping[str, Any]) -> Transcription:
        """The transcription of one of openai-whisper's result dictionaries; a missing key is a KeyError."""
        return cls(
            text=result["text"],
            segments=tuple(Segment.from_dict(segment) for segment in result["segments"]),
            language=result["language"],
        )

    def save(self, path: str | Path, **subtitles: Unpack[SubtitleKeywords]) -> None:
        """Write the transcription to `path` in the format of its suffix: .txt, .vtt, .srt, .tsv or .json.

        The file appears whole or not at all; one of that name is replaced.

        Args:
            path: the file to write, UTF-8.
            subtitles: `compatible=True` writes openai-whisper's files byte for byte, even where they are not valid.
                The others say how words become lines, in .srt and .vtt: `max_line_width` characters, `max_line_count`
                lines, `max_words_per_line`, `highlight_words`. They need words: transcribe with `word_timestamps=True`.

        Raises:
            OptionError: the suffix names no format, an option does not exist, a limit is less than 1, or there are no
                words for the options.
            MaxWhisperError: the file cannot be written there.
        """
        path = Path(path)
        format = path.suffix[1:].lower()
        if format not in formats.FORMATS:
            known = ", ".join(f".{name}" for name in formats.FORMATS)
            suffix = f"suffix '{path.suffix}'" if path.suffix else "no suffix"
            raise OptionError(f"cannot save to '{path}': it has {suffix}; give the file one of {known}")
        try:
            with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
                formats.write(self, file, format, **subtitles)
        except OSError as error:
            reason = error.strerror or str(error)
            raise MaxWhisperError(
                f"cannot write '{path}': {reason}; choose a folder that exists and that you may write to"
            ) from error
