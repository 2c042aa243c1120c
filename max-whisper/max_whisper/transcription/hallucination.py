"""Where the next window begins once the words of this one are timed, and which segments are made up.

Of silence a model sometimes makes text. Such segments show by their words: improbable, very short or very long. Between
silences they are dropped, and the silence is skipped (`hallucination_silence_threshold`; whisper/transcribe.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from max_whisper.audio import FRAMES_PER_SECOND, HOP_LENGTH, N_FRAMES, SAMPLE_RATE
from max_whisper.results import Word
from max_whisper.transcription.word_timestamps import SegmentDraft

LEAST_USUAL_PROBABILITY = 0.15
SHORTEST_USUAL_WORD, LONGEST_USUAL_WORD = 0.133, 2.0  # seconds
N_WORDS_JUDGED = 8  # the first words of a segment stand for all
EDGE = 2.0  # seconds; a segment this near to a window's beginning or end has silence there
PUNCTUATION = "\"'“¿([{-\"'.。,，!！?？:：”)]}、"  # noqa: RUF001


@dataclass(frozen=True)
class Continuation:
    """What becomes of a window's segments, and where the next window begins."""

    seek: int  # first mel frame of the next window
    drafts: list[SegmentDraft]  # the segments that stay
    last_speech_timestamp: float  # seconds from the beginning of the recording
    # Whether the window counts as not decoded: it began with silence, and the next one begins where that ends.
    skipped: bool = False


def continue_after_words(
    drafts: Sequence[SegmentDraft],
    *,
    seek: int,
    next_seek: int,
    n_frames: int,
    content_frames: int,
    is_finished: bool,
    last_speech_timestamp: float,
    threshold: float | None,
) -> Continuation:
    """Decide how to go on from a window, by the words of its segments.

    drafts: the segments of the window, each with its words.
    seek: first mel frame of the window (10 ms each).
    next_seek: first mel frame of the next window, by the timestamps of this one.
    n_frames: mel frames of the recording in the window.
    content_frames: mel frames of the whole recording.
    is_finished: whether the window's tokens end with a single timestamp, which says that no speech is cut off.
    last_speech_timestamp: when speech ended before this window, in seconds from the beginning of the recording.
    threshold: seconds of silence beside a segment that make it a hallucination if its words look like one; None
        keeps all segments.
    """
    window_start = _seconds(seek)
    window_end = _seconds(seek + N_FRAMES)
    words_end = end_of_words(drafts)
    if not is_finished and words_end is not None and words_end > window_start:
        next_seek = round(words_end * FRAMES_PER_SECOND)
        if threshold is not None and window_end - words_end <= threshold:
            next_seek = seek + n_frames
    if threshold is None:
        return _continuation(next_seek, drafts, last_speech_timestamp)

    first = _first_with_words(drafts)
    if first is not None and is_anomaly(first) and first.start - window_start > threshold:
        silence = round((first.start - window_start) * FRAMES_PER_SECOND)
        return Continuation(seek + silence, [], last_speech_timestamp, skipped=True)

    speech_end = last_speech_timestamp
    for index, draft in enumerate(drafts):
        if not draft.words:
            continue
        following = _first_with_words(drafts[index + 1 :])
        following_start = window_start + _seconds(n_frames)
        if following is not None and following.words:
            following_start = following.words[0].start
        silence_before = (
            draft.start - speech_end > threshold or draft.start < threshold or draft.start - window_start < EDGE
        )
        silence_after = (
            following_start - draft.end > threshold
            or (following is not None and is_anomaly(following))
            or window_end - draft.end < EDGE
        )
        if is_anomaly(draft) and silence_before and silence_after:
            next_seek = round(max(window_start + 1, draft.start) * FRAMES_PER_SECOND)
            if _seconds(content_frames) - draft.end < threshold:
                next_seek = content_frames
            return _continuation(next_seek, drafts[:index], last_speech_timestamp)
        speech_end = draft.end
    return _continuation(next_seek, drafts, last_speech_timestamp)


def is_anomaly(draft: SegmentDraft) -> bool:
    """Whether the first words of a segment, punctuation aside, look like made-up ones."""
    if not draft.words:
        return False
    words = [word for word in draft.words if word.word not in PUNCTUATION][:N_WORDS_JUDGED]
    score = sum(word_anomaly(word) for word in words)
    return score >= 3 or score + 0.01 >= len(words)


def word_anomaly(word: Word) -> float:
    """How odd a word is: 0 for a usual one, more the less probable, the shorter or the longer it is."""
    duration = word.end - word.start
    score = 0.0
    if word.probability < LEAST_USUAL_PROBABILITY:
        score += 1.0
    if duration < SHORTEST_USUAL_WORD:
        score += (SHORTEST_USUAL_WORD - duration) * 15
    if duration > LONGEST_USUAL_WORD:
        score += duration - LONGEST_USUAL_WORD
    return score


def end_of_words(drafts: Sequence[SegmentDraft]) -> float | None:
    """When the last word ends, or the last segment where there are no words; None without segments."""
    ends = (word.end for draft in reversed(drafts) for word in reversed(draft.words or ()))
    return next(ends, drafts[-1].end if drafts else None)


def _continuation(seek: int, drafts: Sequence[SegmentDraft], last_speech_timestamp: float) -> Continuation:
    words_end = end_of_words(drafts)
    return Continuation(seek, list(drafts), last_speech_timestamp if words_end is None else words_end)


def _first_with_words(drafts: Sequence[SegmentDraft]) -> SegmentDraft | None:
    return next((draft for draft in drafts if draft.words), None)


def _seconds(frames: int) -> float:
    return frames * HOP_LENGTH / SAMPLE_RATE
