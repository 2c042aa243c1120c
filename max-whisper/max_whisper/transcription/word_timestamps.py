"""When each word was said: the times of openai-whisper (whisper/timing.py), from how the decoder looks at the audio.

Some cross-attention heads look at the moment of speech that they write down. Their weights, normalized and smoothed,
make a map of tokens by time; the best monotonic path through it (dynamic time warping) says when each token was said.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from max_whisper.audio import HOP_LENGTH, SAMPLE_RATE
from max_whisper.models.whisper.tokenizer import Tokenizer
from max_whisper.results import Word

MEDIAN_FILTER_WIDTH = 7  # positions of the encoder's output, 20 ms each
FRAMES_PER_POSITION = 2  # mel frames for each position of the encoder's output
POSITIONS_PER_SECOND = SAMPLE_RATE // (HOP_LENGTH * FRAMES_PER_POSITION)
LONGEST_USUAL_WORD = 0.7  # seconds; the median duration of a window's words is taken for no more than this
SENTENCE_ENDS = ".。!！?？"  # noqa: RUF001

# Steps of a path, numbered as in whisper/timing.py.
_DIAGONAL, _NEXT_TEXT, _NEXT_TIME = 0, 1, 2


@dataclass
class WordTiming:
    """A word on its way to a `Word`; its times are seconds from the beginning of the window."""

    word: str  # empty once it has been merged into a neighbor
    tokens: list[int]
    start: float
    end: float
    probability: float  # mean probability of its tokens


@dataclass
class SegmentDraft:
    """A segment whose times and words are not final yet."""

    seek: int  # first mel frame (10 ms each) of the window in which the segment was decoded
    start: float  # seconds from the beginning of the recording
    end: float  # seconds from the beginning of the recording
    tokens: tuple[int, ...]  # timestamp tokens among them
    text: str
    words: tuple[Word, ...] | None = None  # None as long as words are not timed
    word_ends: tuple[int, ...] = ()  # tokens of text up to the end of each word
    written: tuple[float, float] = field(init=False)  # start and end by the model's timestamps; words move the others

    def __post_init__(self) -> None:
        self.written = self.start, self.end


def text_tokens_of(drafts: Sequence[SegmentDraft], tokenizer: Tokenizer) -> list[int]:
    """The tokens of text of all segments of a window: what is to be aligned."""
    return [token for draft in drafts for token in draft.tokens if token < tokenizer.eot]


def tokens_to_align(text_tokens: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """The tokens that the decoder reads to align a text: a transcript of it without timestamps."""
    return [*tokenizer.sot_sequence_including_notimestamps, *text_tokens, tokenizer.eot]


def align_words(
    scores: np.ndarray, probabilities: np.ndarray, tokenizer: Tokenizer, text_tokens: Sequence[int], n_frames: int
) -> list[WordTiming]:
    """The words of a text and their times (`find_alignment` of openai-whisper, after its pass of the decoder).

    scores: float32 [alignment heads, n, n_audio_ctx], the scaled query-key products of the n tokens of
        `tokens_to_align`, before the softmax.
    probabilities: float32 [n - 1], of each token but the first, after those before it.
    n_frames: mel frames of the recording in the window; the silence behind them is left out.
    """
    first = len(tokenizer.sot_sequence)  # of the tokens that are aligned: <|notimestamps|> stands for the beginning
    n_positions = n_frames // FRAMES_PER_POSITION
    words, word_tokens = tokenizer.split_to_word_tokens([*text_tokens, tokenizer.eot])
    if len(word_tokens) <= 1:
        return []

    attention = attention_map(scores[:, :, :n_positions])[first:-1]
    text_indices, time_indices = dynamic_time_warping(-attention.astype(np.float64))
    times = time_indices[np.diff(text_indices, prepend=text_indices[0] - 1) > 0] / POSITIONS_PER_SECOND

    of_text = probabilities[first : first + len(text_tokens)].astype(np.float64)
    timings = []
    after = 0
    for word, tokens in zip(words[:-1], word_tokens[:-1], strict=True):  # all but <|endoftext|>
        before, after = after, after + len(tokens)
        probability = float(np.mean(of_text[before:after]))
        timings.append(WordTiming(word, tokens, float(times[before]), float(times[after]), probability))
    return timings


def attention_map(scores: np.ndarray) -> np.ndarray:
    """How much each token looks at each position: float32 [heads, n, positions] to [n, positions].

    The softmax of each head is normalized over the tokens, so that positions that all tokens look at do not stand out,
    and smoothed over time; the result is the mean over the heads.
    """
    n_heads, *shape = scores.shape
    total = np.zeros(shape, np.float32)
    for head in scores:  # one at a time: there are hundreds of them in a large model without chosen heads
        weights = np.exp(head - head.max(axis=-1, keepdims=True, initial=-np.inf))
        weights /= weights.sum(axis=-1, keepdims=True)
        mean = weights.mean(axis=0, dtype=np.float64).astype(np.float32)
        std = weights.std(axis=0, dtype=np.float64).astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):  # a position that all tokens look at alike is NaN
            total += median_filter((weights - mean) / std, MEDIAN_FILTER_WIDTH)
    return total / np.float32(n_heads)


def median_filter(x: np.ndarray, width: int) -> np.ndarray:
    """The median of the `width` values around each one of the last axis, which is continued by its reflection.

    width: odd. NaN counts as the greatest value. An axis that is no longer than half the width is left as it is.
    """
    reach = width // 2
    length = x.shape[-1]
    if length <= reach:
        return x
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(reach, reach)], mode="reflect")
    shifted = [padded[..., offset : offset + length] for offset in range(width)]
    # Of any reach + 2 of the values, neither the least nor the greatest is the median: both can be forgotten, and the
    # next value looked at, until one is left.
    candidates, waiting = shifted[: reach + 2], shifted[reach + 2 :]
    while True:
        candidates = _without_extremes(candidates)
        if not waiting:
            return candidates[0]
        candidates.append(waiting.pop())


def _without_extremes(values: list[np.ndarray]) -> list[np.ndarray]:
    """The values without the least and the greatest, element by element."""
    middle = []
    least, greatest = values[0], values[0]
    for value in values[1:]:
        # fmin passes over NaN and maximum does not, so NaN is the greatest.
        least, value = np.fmin(least, value), np.maximum(least, value)
        middle.append(value)
    greatest = middle[0]
    rest = []
    for value in middle[1:]:
        greatest, value = np.maximum(greatest, value), np.fmin(greatest, value)
        rest.append(value)
    return rest


def dynamic_time_warping(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The path of least cost from the first text index and time index to the last (`dtw_cpu` of openai-whisper).

    cost: float64 [n, m], n >= 1. Each step goes on by one in the text, in time or in both.

    Returns the text indices and the time indices of the path, int64 [steps] each. Of steps that cost the same, the one
    in time is taken.
    """
    n, m = cost.shape
    # Row d holds the cells whose text and time indices add up to d: they depend on the two rows before alone.
    skewed = np.pad(cost, [(0, 0), (0, n)]).ravel()[: n * (n + m - 1)].reshape(n, n + m - 1).T.copy()
    steps = np.empty((n + m + 1, n + 1), np.uint8)
    # Totals of three rows in turn, by text index + 1; the paths begin before the first cell.
    before_last, last, this = np.full((3, n + 1), np.inf)
    before_last[0] = 0
    for row in range(2, n + m + 1):
        low, high = max(1, row - m), min(n, row - 1)
        diagonal, text, time = before_last[low - 1 : high], last[low - 1 : high], last[low : high + 1]
        is_diagonal = (diagonal < text) & (diagonal < time)
        is_text = (text < diagonal) & (text < time)
        steps[row, low : high + 1] = np.where(is_diagonal, _DIAGONAL, np.where(is_text, _NEXT_TEXT, _NEXT_TIME))
        this[:] = np.inf
        this[low : high + 1] = skewed[row - 2, low - 1 : high] + np.where(
            is_diagonal, diagonal, np.where(is_text, text, time)
        )
        before_last, last, this = last, this, before_last
    return _backtrace(steps, n, m)


def _backtrace(steps: np.ndarray, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The path to cell (n, m), from the step that led to each cell: uint8 [i + j, i]."""
    path = []
    i, j = n, m
    while i > 0 or j > 0:
        path.append((i - 1, j - 1))
        step = _NEXT_TIME if i == 0 else _NEXT_TEXT if j == 0 else steps[i + j, i]
        i -= step != _NEXT_TIME
        j -= step != _NEXT_TEXT
    text_indices, time_indices = np.array(path[::-1], np.int64).T
    return text_indices, time_indices


def merge_punctuations(alignment: Sequence[WordTiming], prepended: str, appended: str) -> None:
    """Merge punctuation into the word that it belongs to, and leave an empty word in its place.

    prepended: punctuation that belongs to the word after it; appended: to the word before it.
    """
    following = len(alignment) - 1
    for index in range(len(alignment) - 2, -1, -1):
        mark = alignment[index]
        if mark.word.startswith(" ") and mark.word.strip() in prepended:
            word = alignment[following]
            word.word, word.tokens = mark.word + word.word, mark.tokens + word.tokens
            mark.word, mark.tokens = "", []
        else:
            following = index

    previous = 0
    for index in range(1, len(alignment)):
        word, mark = alignment[previous], alignment[index]
        if not word.word.endswith(" ") and mark.word in appended:
            word.word, word.tokens = word.word + mark.word, word.tokens + mark.tokens
            mark.word, mark.tokens = "", []
        else:
            previous = index


def add_word_timestamps(
    drafts: Sequence[SegmentDraft],
    alignment: Sequence[WordTiming],
    tokenizer: Tokenizer,
    *,
    prepend_punctuations: str,
    append_punctuations: str,
    last_speech_timestamp: float,
) -> None:
    """Give the segments of a window their words, and the times of their first and last word.

    alignment: of the tokens of text of all the drafts; its entries are changed.
    prepend_punctuations: merged with the word after them. append_punctuations: with the word before them.
    last_speech_timestamp: when speech ended before this window, in seconds from the beginning of the recording.
    """
    durations = np.array([timing.end - timing.start for timing in alignment])
    durations = durations[durations.nonzero()]
    median_duration = min(LONGEST_USUAL_WORD, float(np.median(durations)) if len(durations) > 0 else 0.0)
    if len(durations) > 0:
        _shorten_at_sentence_ends(alignment, 2 * median_duration)
    merge_punctuations(alignment, prepend_punctuations, append_punctuations)

    timings = iter(alignment)
    for draft in drafts:
        words, draft.word_ends = _words_of(draft, timings, tokenizer)
        if words:
            if words[0].end - last_speech_timestamp > 4 * median_duration:
                _shorten_after_pause(words, 2 * median_duration)
            _fit(draft, words, median_duration)
            last_speech_timestamp = draft.end
        draft.words = tuple(Word(word.word, word.start, word.end, word.probability) for word in words)


def _shorten_at_sentence_ends(alignment: Sequence[WordTiming], longest: float) -> None:
    """Cut marks that end a sentence, and words after them, to `longest` seconds: the rest is the pause between."""
    for before, timing in pairwise(alignment):
        if timing.end - timing.start > longest:
            if timing.word in SENTENCE_ENDS:
                timing.end = timing.start + longest
            elif before.word in SENTENCE_ENDS:
                timing.start = timing.end - longest


def _words_of(
    draft: SegmentDraft, timings: Iterator[WordTiming], tokenizer: Tokenizer
) -> tuple[list[WordTiming], tuple[int, ...]]:
    """Take the words of a segment from those of the window; their times become those of the recording.

    Returns the words, and how many tokens of text there are up to the end of each.
    """
    offset = draft.seek * HOP_LENGTH / SAMPLE_RATE
    n_tokens = sum(token < tokenizer.eot for token in draft.tokens)
    words: list[WordTiming] = []
    ends: list[int] = []
    done = 0
    while done < n_tokens and (timing := next(timings, None)) is not None:
        done += len(timing.tokens)
        if timing.word:
            words.append(replace(timing, start=round(offset + timing.start, 2), end=round(offset + timing.end, 2)))
            ends.append(done)
    return words, tuple(ends)


def _shorten_after_pause(words: Sequence[WordTiming], longest: float) -> None:
    """Cut the first word and the second to `longest` seconds where they reach into the pause before them."""
    first, second = words[0], words[1] if len(words) > 1 else None
    if first.end - first.start > longest or (second and second.end - first.start > 2 * longest):
        if second and second.end - second.start > longest:
            first.end = second.start = max(second.end / 2, second.end - longest)
        first.start = max(0, first.end - longest)


def _fit(draft: SegmentDraft, words: Sequence[WordTiming], median_duration: float) -> None:
    """Let a segment begin and end with its words, or a word that is far too long with the segment."""
    first, last = words[0], words[-1]
    if draft.start < first.end and draft.start - 0.5 > first.start:
        first.start = max(0, min(first.end - median_duration, draft.start))
    else:
        draft.start = first.start
    if draft.end > last.start and draft.end + 0.5 < last.end:
        last.end = max(last.start + median_duration, draft.end)
    else:
        draft.end = last.end
