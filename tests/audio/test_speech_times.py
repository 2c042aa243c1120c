"""Times in the speech alone put back into the recording: moments, and segments with and without words."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from max_whisper.audio import SAMPLE_RATE
from max_whisper.audio.vad import Span, SpeechTimes, Spoken
from max_whisper.results import Segment, Word
from tests.audio.test_vad import random_spans


def test_times_are_the_inverse_of_concatenation() -> None:
    generator = np.random.default_rng(2)
    for _ in range(20):
        spans = random_spans(generator, 2.0)
        times = SpeechTimes(spans)
        original = np.concatenate([np.arange(start, stop) for start, stop in spans])
        for sample in generator.integers(0, len(original), 200):
            assert round(times.original_time(sample / SAMPLE_RATE) * SAMPLE_RATE) == original[sample]
        for cut in np.cumsum([stop - start for start, stop in spans]):
            # The end of the last sample before the cut, not the start of the first one after it.
            end = times.original_time(cut / SAMPLE_RATE, is_end=True)
            assert round(end * SAMPLE_RATE) == original[cut - 1] + 1


def test_times_never_go_back_and_never_leave_the_spans() -> None:
    generator = np.random.default_rng(4)
    for is_end in (False, True):
        spans = random_spans(generator, 1.0)
        times = SpeechTimes(spans)
        mapped = [times.original_time(seconds, is_end=is_end) for seconds in np.arange(-1, 30, 0.01)]
        assert mapped == sorted(mapped)
        for time in mapped:
            assert any(start - 1e-6 <= time * SAMPLE_RATE <= stop + 1e-6 for start, stop in spans)


def test_without_speech_every_time_is_zero() -> None:
    assert SpeechTimes([]).original_time(1.0) == 0


def segment(start: float, end: float, words: tuple[Word, ...] | None = None) -> Segment:
    text = " text" if words is None else "".join(word.word for word in words)
    return Segment(3, 100, start, end, text, (1, 2), 0.0, -0.5, 1.1, 0.01, words)


def spoken(start: float, end: float, words: tuple[Word, ...] | None = None) -> Spoken:
    """A segment whose timestamps are its times; each word is a token."""
    return Spoken(segment(start, end, words), (start, end), tuple((token,) for token in range(len(words or ()))))


def words_at(*times: tuple[float, float]) -> tuple[Word, ...]:
    return tuple(Word(" word", start, end, 0.5) for start, end in times)


def times_of(segments: list[Segment]) -> list[list[tuple[float, float]]]:
    return [[(word.start, word.end) for word in segment.words or ()] for segment in segments]


# One second of speech at 5 s, two at 7 s, one at 30 s.
TIMES = SpeechTimes([Span(80_000, 96_000), Span(112_000, 144_000), Span(480_000, 496_000)])


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, 1.0, (5.0, 6.0)),
        (0.25, 2.5, (5.25, 8.5)),
        (1.0, 3.0, (7.0, 9.0)),
        (3.0, 4.0, (30.0, 31.0)),
        (3.5, 9.0, (30.5, 31.0)),
        (1.0, 1.0, (7.0, 7.0)),
        (2.9, 3.8, (30.0, 30.8)),  # a timestamp just before the cut is one at the cut
        (1.2, 3.14, (7.2, 9.0)),
        (2.9, 3.1, (30.0, 30.1)),
        (2.8, 3.1, (8.8, 9.0)),
    ],
)
def test_segments_are_put_back(start: float, end: float, expected: tuple[float, float]) -> None:
    (restored,) = TIMES.restore([spoken(start, end)])
    assert (restored.start, restored.end) == expected
    assert restored == replace(segment(start, end), start=expected[0], end=expected[1], seek=700)


def test_words_are_not_torn_over_a_cut() -> None:
    words = words_at((0.0, 0.5), (0.9, 1.04), (0.9, 1.4), (2.5, 3.0))
    (restored,) = TIMES.restore([spoken(0.0, 3.0, words)])
    assert times_of([restored]) == [[(5.0, 5.5), (5.9, 6.0), (7.0, 7.4), (8.5, 9.0)]]
    assert [(word.word, word.probability) for word in restored.words or ()] == [(" word", 0.5)] * len(words)
    assert (restored.start, restored.end) == (5.0, 9.0)


def test_words_follow_the_timestamps_of_their_segment() -> None:
    """The alignment puts the first words of a segment at the end of the one before it, 21 s early."""
    first = spoken(1.1, 2.7, words_at((1.1, 2.0), (2.0, 2.8)))
    second = Spoken(segment(2.8, 4.0, words_at((2.8, 2.8), (2.8, 2.95), (2.95, 3.8))), (3.1, 3.9), ())
    for one, other in (TIMES.restore([first, second]), TIMES.restore([first]) + TIMES.restore([second], 8.8)):
        assert times_of([one]) == [[(7.1, 8.0), (8.0, 8.8)]]
        starts, ends = zip(*times_of([other])[0], strict=True)
        assert (other.start, other.end) == (starts[0], ends[-1]) == (30.0, 30.8)
        assert all(end - start >= 0.1 for start, end in zip(starts, ends, strict=True))


def test_words_follow_the_others_where_nobody_speaks() -> None:
    """Where a model writes no timestamps, or one that is too early, the silence around speech tells."""
    spans = [Span(80_000, 112_000), Span(480_000, 512_000)]  # two of 2 s, each with 0.4 s of silence around it
    given = [spoken(0.5, 4.0, words_at((1.65, 1.65), (1.65, 1.9), (2.2, 2.9), (2.9, 3.3)))]
    (restored,) = SpeechTimes(spans, padding=6400).restore(given)
    assert 30.0 <= restored.start < restored.end <= 32.0
    (early,) = SpeechTimes(spans).restore([spoken(0.5, 4.0, words_at((1.65, 1.65), (1.65, 1.9)))])
    assert 6.6 <= early.start < early.end <= 7.0


# Of ten seconds of speech: the words of the window before, the end of its last timestamp, and the words that come.
FULL: dict[str, tuple[list[tuple[float, float]], float, list[tuple[float, float]]]] = {
    "one": ([(8.0, 8.9), (8.9, 10.0)], 9.2, [(9.6, 10.0)]),
    "two": ([(8.0, 8.9), (8.9, 10.0)], 9.2, [(9.2, 9.6), (9.6, 10.0)]),
    "at the end": ([(8.0, 10.0)], 10.0, [(10.0, 10.0)] * 3),
    "a hundred": ([(8.0, 10.0), (10.0, 10.0)], 10.0, [(10.0, 10.0)] * 100),
    "more than samples of 10 ms": ([(8.0, 10.0)], 10.0, [(9.9, 10.0)] * 200),
    "half of a hundredth": ([(8.0, 9.995)], 9.995, [(9.995, 10.0)] * 2),
}


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("stop", [320_000, 320_077])
def test_words_after_the_last_one_of_the_speech_have_length(name: str, stop: int) -> None:
    before, written, coming = FULL[name]
    times = SpeechTimes([Span(160_000, stop)])
    (first,) = times.restore([Spoken(segment(8.0, written, words_at(*before)), (8.0, written), ())])
    for _ in range(3):
        (second,) = times.restore([spoken(coming[0][0], 10.0, words_at(*coming))], first.end)
        words = second.words or ()
        assert all(word.start < word.end for word in words)
        assert all(word.end <= following.start for word, following in pairwise(words))
        assert first.end - max(0.01, len(words) / SAMPLE_RATE) - 1e-9 <= second.start
        assert second.end <= stop / SAMPLE_RATE
        first = second


@pytest.mark.parametrize("stop", [160_000, 480_000])
def test_words_without_length_leave_the_next_window_its_time(stop: int) -> None:
    """They took it, and the next words were in the next span."""
    times = SpeechTimes([Span(160_000, 320_000), Span(960_000, 960_000 + stop)])
    (first,) = times.restore([spoken(8.0, 9.2, words_at((8.0, 9.2), (9.2, 9.2), (9.2, 9.2), (9.2, 9.2)))])
    (second,) = times.restore([spoken(9.2, 10.0, words_at((9.2, 9.6), (9.6, 10.0)))], first.end)
    assert times_of([first, second]) == [
        [(18.0, 18.36), (18.36, 18.64), (18.64, 18.92), (18.92, 19.2)],
        [(19.2, 19.6), (19.6, 20.0)],
    ]


@pytest.mark.parametrize(("start", "end"), [(2.0, 2.0), (2.0, 7.0), (5.0, 7.0)])
def test_an_emptied_segment_leaves_the_next_window_its_time(start: float, end: float) -> None:
    """The next window begins at the end of the last word, whatever timestamps are behind it."""
    times = SpeechTimes([Span(160_000, 320_000)])
    empty = Spoken(replace(segment(start, end), text="", tokens=(), words=()), (2.0, 7.0), ())
    first, emptied = times.restore([spoken(1.0, 2.0, words_at((1.0, 2.0))), empty])
    assert (first.end, emptied.start, emptied.end) == (12.0, 12.0, 12.0)
    (second,) = times.restore([spoken(2.0, 4.0, words_at((2.2, 3.0), (3.0, 4.0)))], emptied.end)
    assert times_of([second]) == [[(12.2, 13.0), (13.0, 14.0)]]
    if start == end:  # a word without length, and nothing else in its window
        (alone,) = times.restore([empty])
        assert (alone.start, alone.end) == (12.0, 12.0)


def test_words_without_length_get_some_of_the_next_words_or_the_last_ones() -> None:
    words = words_at((0.1, 0.4), (0.4, 0.4), (0.4, 0.8), (1.0, 2.9), (2.9, 2.9), (2.9, 2.9))
    (restored,) = TIMES.restore([spoken(0.0, 3.0, words)])
    (times,) = times_of([restored])
    assert times == [(5.1, 5.4), (5.4, 5.6), (5.6, 5.8), (7.0, 8.44), (8.44, 8.72), (8.72, 9.0)]


def test_a_segment_that_goes_on_after_a_long_silence_is_two() -> None:
    words = tuple(Word(f" {name}", start, start + 0.4, 0.5) for name, start in (("a", 2.0), ("b", 2.5), ("c", 3.2)))
    given = Spoken(segment(2.0, 3.6, words), (2.0, 3.6), ((90, 1), (2,), (3, 91)))
    first, second = TIMES.restore([given])
    assert (first.text, first.tokens, first.start, first.end) == (" a b", (90, 1, 2), 8.0, 8.9)
    assert (second.text, second.tokens, second.start, second.end) == (" c", (3, 91), 30.2, 30.6)
    # Between the first two spans there is a second.
    (whole,) = TIMES.restore([spoken(0.5, 1.8, words_at((0.5, 0.9), (1.1, 1.5)))])
    assert (whole.start, whole.end) == (5.5, 7.5)


def test_a_segment_without_words_is_between_those_with_words() -> None:
    empty = Spoken(replace(segment(1.0, 1.0), text="", tokens=(), words=()), (1.0, 1.0), ())
    first, second = (spoken(start, start + 0.5, words_at((start, start + 0.5))) for start in (1.2, 1.8))
    restored = TIMES.restore([first, empty, second], 7.1)
    assert [(one.start, one.end) for one in restored] == [(7.2, 7.7), (7.7, 7.7), (7.8, 8.3)]


def test_times_of_a_recording_that_is_all_speech_stay() -> None:
    spans = [Span(0, 1000 * SAMPLE_RATE)]
    given = segment(1.28, 999.98, (Word(" a", 1.28, 2.0, 0.9), Word(" b", 2.0, 999.98, 0.8)))
    assert SpeechTimes(spans).restore([Spoken(given, (1.0, 1000.0), ())]) == [given]
    empty = replace(given, words=())
    assert SpeechTimes(spans).restore([Spoken(empty, (1.28, 999.98), ())]) == [empty]


def random_windows(generator: np.random.Generator, duration: float) -> list[list[Spoken]]:
    """Windows of a recording as openai-whisper's steps give them: words in order, many of them without length.

    The timestamps are those of the words, but for an error of up to 0.3 s; in some there are none.
    """
    windows, time = [], 0.0
    while time < duration:
        window = []
        for _ in range(int(generator.integers(1, 5))):
            times = []
            for _ in range(int(generator.choice([1, 2, 8, 30]))):
                start = min(duration, time + float(generator.choice([0, 0, 0, 0.1, 1.0])))
                time = min(duration, start + float(generator.choice([0, 0, 0.02, 0.3, 0.5, 2.0])))
                times.append((round(start, 2), round(time, 2)))
            error = generator.uniform(-0.3, 0.3, 2)
            written = (times[0][0] + error[0], times[-1][1] + error[1]) if generator.random() < 0.8 else (0.0, duration)
            words = tuple(Word("w" * int(generator.integers(1, 12)), *moment, 0.5) for moment in times)
            window.append(
                Spoken(segment(written[0], written[1], words), written, tuple((token,) for token in range(len(words))))
            )
        windows.append(window)
        time += 0.01
    return windows


@pytest.mark.parametrize("padding", [0, 6400])
@pytest.mark.parametrize("longest", [0.2, 2.0, 20.0])
def test_words_of_any_recording_have_length_and_order_and_a_span(longest: float, padding: int) -> None:
    generator = np.random.default_rng([int(longest * 10), padding])
    for _ in range(60):
        spans = random_spans(generator, longest)
        duration = sum(stop - start for start, stop in spans) / SAMPLE_RATE
        times, after = SpeechTimes(spans, padding=padding), 0.0
        given, restored = list[Word](), list[Word]()
        end = (spans[-1].stop - SAMPLE_RATE // 100) / SAMPLE_RATE
        for window in random_windows(generator, duration):
            segments = times.restore(window, after)
            given += [word for entry in window for word in entry.segment.words or ()]
            tokens = [token for entry in window for tokens in entry.word_tokens for token in tokens]
            if len(segments) > len(window):
                assert len([token for segment in segments for token in segment.tokens]) >= len(segments)
            else:
                assert [segment.tokens for segment in segments] == [entry.segment.tokens for entry in window]
            assert len(tokens) == sum(len(segment.words or ()) for segment in segments)
            for index, segment in enumerate(segments):
                words = segment.words or ()
                # The last words of the speech may have to share its last 10 ms with those of the windows before.
                earliest = min(after, end) if index == 0 else after
                assert segment.start == words[0].start >= earliest - 1e-9
                assert segment.end == words[-1].end
                assert segment.text == "".join(word.word for word in words)
                after = segment.end
                restored += words
        assert [word.word for word in restored] == [word.word for word in given]
        for word, following in pairwise(restored):
            assert min(word.end, end) <= following.start + 1e-9
        for word in restored:
            holding = [span for span in spans if span.start <= word.start * SAMPLE_RATE + 1e-3 <= span.stop + 2e-3]
            assert any(word.end * SAMPLE_RATE <= span.stop + 1e-3 for span in holding), word
        if longest > 1:
            assert all(word.start < word.end for word in restored)


@pytest.mark.parametrize("longest", [0.2, 20.0])
def test_segments_of_any_recording_have_order_and_are_in_speech(longest: float) -> None:
    generator = np.random.default_rng(9)
    for _ in range(100):
        spans = random_spans(generator, longest)
        duration = sum(stop - start for start, stop in spans) / SAMPLE_RATE
        moments = np.sort(generator.uniform(0, duration + 1, 40))
        given = [spoken(float(start), float(end)) for start, end in zip(moments[::2], moments[1::2], strict=True)]
        times = SpeechTimes(spans)
        restored = times.restore(given)
        ends = [0.0, *(moment for segment in restored for moment in (segment.start, segment.end))]
        assert ends == sorted(ends)
        for moment in ends[1:]:
            assert any(start - 160 <= moment * SAMPLE_RATE <= stop + 160 for start, stop in spans)
