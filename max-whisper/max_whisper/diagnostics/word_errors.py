"""Word error rate: the share of words that are wrong, missing or too many."""

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer


@dataclass(frozen=True)
class WordErrors:
    """Errors of a transcription, counted against a transcript."""

    errors: int  # substitutions, deletions and insertions of the best alignment
    words: int  # in the transcript

    @property
    def rate(self) -> float | None:
        """Errors for each word of the transcript; None where it has no words."""
        return self.errors / self.words if self.words else None


def normalize(text: str) -> str:
    """Lower case without punctuation: letters, digits and apostrophes, words parted by one space."""
    kept = (character if character.isalnum() or character == "'" else " " for character in text.lower())
    return " ".join("".join(kept).split())


def word_errors(transcript: str, text: str) -> WordErrors:
    """The errors of `text` against `transcript`, both normalized first."""
    expected, heard = normalize(transcript), normalize(text)
    if not expected:
        return WordErrors(len(heard.split()), 0)
    counts = jiwer.process_words(expected, heard)
    return WordErrors(counts.substitutions + counts.deletions + counts.insertions, len(expected.split()))


def total(counts: Sequence[WordErrors]) -> WordErrors:
    """The errors of several transcriptions together: long ones weigh more."""
    return WordErrors(sum(count.errors for count in counts), sum(count.words for count in counts))
