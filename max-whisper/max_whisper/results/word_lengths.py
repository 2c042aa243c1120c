"""Time for words that have none.

The alignment of words gives some of them no length: it says that a word is spoken at a moment, at which the next one
begins too. Such words are given a share of the time that is theirs and their neighbor's together.
"""

from __future__ import annotations

from collections.abc import Sequence

SECONDS_PER_LETTER = 0.07  # of quick speech; a word that had no length gets no more than this


def with_lengths(
    times: Sequence[tuple[int, int]], letters: Sequence[int], low: int, high: int, units_per_second: int
) -> list[tuple[int, int]]:
    """Times of words, in order and within [low, high], of which none has no length where all of them fit.

    Words without length share the time up to the end of the word after them, by their letters; at the end, the time
    from the start of the word before them.

    Args:
        times: start and end of each word, in units of time, the words in their order.
        letters: how long each word is, at least 1.
        low, high: where the words are, in units. As many words fit as there are units between.
        units_per_second: how long a unit is.
    """
    starts = [min(max(start, low), high) for start, _ in times]
    ends = [max(start, min(end, high)) for start, (_, end) in zip(starts, times, strict=True)]
    first = 0
    while first < len(times):
        after = first  # the words from `first` up to it are at one moment
        while after < len(times) and ends[after] == starts[after] == starts[first]:
            after += 1
        if after > first:
            longest = [int(SECONDS_PER_LETTER * units_per_second * count) for count in letters[first:after]]
            if after < len(times):
                begin = starts[first]
                lengths = _shares(longest, letters[first:after], letters[after], ends[after] - begin)
                starts[after] = max(starts[after], begin + sum(lengths))
                ends[after] = max(ends[after], starts[after])
            else:
                before, others = (starts[first - 1], letters[first - 1]) if first else (low, sum(letters))
                lengths = _shares(longest, letters[first:], others, high - before)
                begin = min(starts[first], high - sum(lengths))
                if first:
                    ends[first - 1] = min(ends[first - 1], begin)
            for index, length in enumerate(lengths, start=first):
                starts[index], ends[index] = begin, begin + length
                begin += length
        first = max(after, first + 1)
    return _apart(starts, ends, low, high)


def _shares(longest: Sequence[int], letters: Sequence[int], others: int, units: int) -> list[int]:
    """The shares of words in a stretch of time, by their letters; `others` is the number of letters of the rest."""
    total = sum(letters) + others
    return [min(limit, units * count // total) for limit, count in zip(longest, letters, strict=True)]


def _apart(starts: list[int], ends: list[int], low: int, high: int) -> list[tuple[int, int]]:
    """The words one after the other, each at least a unit long, moved no further than that takes."""
    least = 1 if high - low >= len(starts) else 0
    moment = low
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        starts[index] = max(start, moment)
        ends[index] = moment = max(end, starts[index] + least)
    moment = high
    for index in reversed(range(len(starts))):
        ends[index] = min(ends[index], moment)
        starts[index] = moment = min(starts[index], ends[index] - least)
    return list(zip(starts, ends, strict=True))
