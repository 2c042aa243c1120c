"""What a transcription is, once it is done: plain data under openai-whisper's names."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from max_whisper import writers
from max_whisper.errors import MaxWhisperError, OptionError


@dataclass(frozen=True)
class Word:
    """A word with its punctuation and its times; the fields are those of openai-whisper's words, in its order."""

    word: str  # usually with a leading space, as the tokenizer gives it
    start: float  # seconds from the beginning of the recording
    end: float  # seconds from the beginning of the recording
    probability: float  # mean probability of its tokens, 0 to 1


@dataclass(frozen=True)
class Segment:
    """A stretch of speech and its text; the fields are those of openai-whisper's segments, in its order."""

    id: int  # 0 for the first segment of the recording
    seek: int  # first mel frame (10 ms each) of the 30 s window in which the segment was decoded
    start: float  # seconds from the beginning of the recording
    end: float  # seconds from the beginning of the recording
    text: str  # usually with a leading space, as the tokenizer gives it
    tokens: tuple[int, ...]  # timestamp tokens among them
    temperature: float  # the sampling temperature that gave this text; 0 is greedy
    avg_logprob: float  # mean natural log-probability of the window's tokens
    compression_ratio: float  # bytes of the window's text over their zlib-compressed size; high means repetition
    no_speech_prob: float  # probability that the window has no speech, 0 to 1
    words: tuple[Word, ...] | None = None  # None without word timestamps; empty in a segment that was emptied

    def to_dict(self) -> dict[str, Any]:
        """The segment as openai-whisper's dictionary: the same keys in the same order, the tokens a list."""
        words: dict[str, Any] = {}
        if self.words is not None:
            words["words"] = [asdict(word) for word in self.words]
        elif not self.tokens:
            # It gives a segment that it has emptied a list of words, whether or not words were asked for.
            words["words"] = []
        return {
            "id": self.id,
            "seek": self.seek,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "tokens": list(self.tokens),
            "temperature": self.temperature,
            "avg_logprob": self.avg_logprob,
            "compression_ratio": self.compression_ratio,
            "no_speech_prob": self.no_speech_prob,
            **words,
        }

    @classmethod
    def from_dict(cls, segment: Mapping[str, Any]) -> Segment:
        """The segment of one of openai-whisper's dictionaries; a missing key other than `words` is a KeyError."""
        words = None
        if "words" in segment:
            words = tuple(
                Word(word["word"], word["start"], word["end"], word["probability"]) for word in segment["words"]
            )
        return cls(
            id=segment["id"],
            seek=segment["seek"],
            start=segment["start"],
            end=segment["end"],
            text=segment["text"],
            tokens=tuple(segment["tokens"]),
            temperature=segment["temperature"],
            avg_logprob=segment["avg_logprob"],
            compression_ratio=segment["compression_ratio"],
            no_speech_prob=segment["no_speech_prob"],
            words=words,
        )


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

    def save(
        self,
        path: str | Path,
        *,
        max_line_width: int | None = None,
        max_line_count: int | None = None,
        max_words_per_line: int | None = None,
        highlight_words: bool = False,
    ) -> None:
        """Write the transcription to `path` in the format of its suffix: .txt, .vtt, .srt, .tsv or .json.

        The file appears whole or not at all; one of that name is replaced. The options shape subtitles of words, as in
        `writers.write`.

        Raises:
            OptionError: the suffix names no format, a limit is less than 1, or there are no words for the options.
            MaxWhisperError: the file cannot be written there.
        """
        path = Path(path)
        format = path.suffix[1:].lower()
        if format not in writers.FORMATS:
            known = ", ".join(f".{name}" for name in writers.FORMATS)
            suffix = f"suffix '{path.suffix}'" if path.suffix else "no suffix"
            raise OptionError(f"cannot save to '{path}': it has {suffix}; give the file one of {known}")
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            try:
                with part.open("w", encoding="utf-8") as file:
                    writers.write(
                        self,
                        file,
                        format,
                        max_line_width=max_line_width,
                        max_line_count=max_line_count,
                        max_words_per_line=max_words_per_line,
                        highlight_words=highlight_words,
                    )
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise MaxWhisperError(
                f"cannot write '{path}': {reason}; choose a folder that exists and that you may write to"
            ) from error
