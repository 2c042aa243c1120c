"""Segments and words of a transcription: plain data under openai-whisper's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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
