"""With `compatible` every writer gives the bytes of openai-whisper's writer on the same result, and else mostly."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whisper.utils import format_timestamp as reference_timestamp
from whisper.utils import get_writer

from max_whisper.errors import OptionError
from max_whisper.results import Transcription, formats


def result(*segments: tuple[float, float, str], language: str = "en", **fields: Any) -> dict[str, Any]:
    """A result dictionary of openai-whisper's shape from (start, end, text)."""
    return {
        "text": "".join(text for _, _, text in segments),
        "segments": [
            {
                "id": number,
                "seek": 3000 * number,
                "start": start,
                "end": end,
                "text": text,
                "tokens": [50364 + number, 440, 50365 + number],
                "temperature": 0.0,
                "avg_logprob": -0.3141592653589793,
                "compression_ratio": 0.8888888888888888,
                "no_speech_prob": 1.5e-12,
            }
            | fields
            for number, (start, end, text) in enumerate(segments)
        ],
        "language": language,
    }


CASES = {
    "plain": result((0.0, 2.48, " Hello there."), (2.48, 5.0, " General remarks.")),
    "empty result": result(),
    "empty text": result((0.0, 1.0, ""), (1.0, 2.0, "   ")),
    "unicode": result((0.0, 1.5, " Žluťoučký kůň — 日本語, العربية, 👩‍🚀 \ufffd \u2028 \x85"), language="cs"),
    "arrow": result((0.0, 1.0, " from --> to ---> and -->-->"), (1.0, 2.0, "-->")),
    "tab": result((0.0, 1.0, "\tone\ttwo\t"), (1.0, 2.0, " a \t b")),
    "line breaks": result((0.0, 1.0, " one\ntwo\r\nthree\n"), (1.0, 2.0, "\n\nfour\n\n")),
    "quotes": result((0.0, 1.0, ' "quoted" \\ back\\slash <u>tag</u> & more')),
    "hours": result((3599.9, 3600.0, " a"), (3600.0, 7261.001, " b"), (359999.0, 360000.25, " c")),
    "rounding": result((0.0005, 0.0015, " a"), (59.9994, 59.9996, " b"), (0.1 + 0.2, 1.0049999, " c")),
    "carry": result((59.9999, 3599.9999, " a")),
    "whole numbers": result((0, 30, " times as integers"), temperature=0),
    "not a number": result((0.0, 1.0, " a"), avg_logprob=float("nan"), compression_ratio=float("inf")),
}

# The formats of which the default is another file, a valid one; test_valid_files.py says what is in it.
DIFFERENT = {
    "empty text": ["vtt", "srt"],
    "arrow": ["vtt", "srt"],
    "line breaks": ["txt", "vtt", "srt", "tsv"],
    "quotes": ["vtt"],
    "rounding": ["vtt", "srt"],  # its segments are not in the order of their times
    "not a number": ["json"],
}


@pytest.mark.parametrize("format", formats.FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_bytes_equal_openai_whisper(tmp_path: Path, case: str, format: str) -> None:
    ours, reference = tmp_path / f"ours.{format}", tmp_path / f"reference.{format}"
    get_writer(format, str(tmp_path))(CASES[case], "/recordings/reference.wav")
    Transcription.from_dict(CASES[case]).save(ours, compatible=True)
    assert ours.read_bytes() == reference.read_bytes()
    if CASES[case]["segments"]:
        assert ours.stat().st_size > 0
    Transcription.from_dict(CASES[case]).save(ours)
    assert (ours.read_bytes() == reference.read_bytes()) == (format not in DIFFERENT.get(case, ())), ours.read_text()


PIECES = {
    "spaces": [
        " a",
        " word",
        " understanding",
        ",",
        ".",
        " -->",
        " don't",
        " two words",
        "-",
        " \u201cquoted\u201d",
        " x\ny",
    ],
    "no spaces": ["今", "日は", "天気", "。", "、", "がいい", "ですね", "\u3000", "カタカナも"],
    "odd": ["", " ", "\n", " a\n", "\t tab", "-->", " <u>b</u>", " \ufffd", " 👩\u200d🚀", "\u2028", " \\1", "\x85 c"],
    "long": [" " + "pneumonoultramicroscopic" * n for n in (1, 3, 60)] + [" a"],
}

LAYOUTS: list[dict[str, Any]] = [
    {},
    {"max_line_width": 10},
    {"max_line_width": 1, "max_line_count": 1},
    {"max_line_width": 20, "max_line_count": 2},
    {"max_line_width": 42, "max_line_count": 1},
    {"max_line_width": 2000, "max_line_count": 3},
    {"max_line_count": 1},
    {"max_words_per_line": 1},
    {"max_words_per_line": 3},
    {"max_words_per_line": 1000},
    {"max_words_per_line": 2, "max_line_width": 12},
    {"max_words_per_line": 2, "max_line_count": 2},
    {"max_words_per_line": 2, "max_line_width": 12, "max_line_count": 2},
]


def spoken(kind: str, seed: int) -> dict[str, Any]:
    """A result with words: pauses, gaps, words without duration, segments that were emptied or have no words."""
    rng = np.random.default_rng([seed, len(kind)])
    time = float(rng.choice([0.0, 3597.0]))
    made = result(*[(0.0, 0.0, "") for _ in range(int(rng.integers(1, 9)))])
    for segment in made["segments"]:
        words: list[dict[str, Any]] = []
        for _ in range(int(rng.choice([0, 1, 2, 5, 20]))):
            start = round(time + float(rng.choice([0.0, 0.0, 0.02, 0.5, 3.0, 3.02, 8.0])), 2)
            time = round(start + float(rng.choice([0.0, 0.02, 0.3, 1.0])), 2)
            word = str(rng.choice(PIECES[kind]))
            words.append({"word": word, "start": start, "end": time, "probability": float(rng.random())})
        segment["words"] = words
        if words:
            segment["start"], segment["end"] = words[0]["start"], words[-1]["end"]
            segment["text"] = "".join(word["word"] for word in words)
        elif rng.random() < 0.5:
            segment["tokens"] = []
    return made


def assert_equal(words: dict[str, Any], names: Iterable[str], options: dict[str, Any]) -> None:
    for format in names:
        ours, reference = io.StringIO(), io.StringIO()
        get_writer(format, "").write_result(words, reference, options)
        formats.write(Transcription.from_dict(words), ours, format, compatible=True, **options)
        assert ours.getvalue() == reference.getvalue()


@pytest.mark.parametrize("highlight_words", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("kind", PIECES)
def test_words_equal_openai_whisper(kind: str, layout: dict[str, Any], highlight_words: bool) -> None:
    options = {**layout, "highlight_words": highlight_words}
    for seed in range(12):
        assert_equal(spoken(kind, seed), ["srt", "vtt"], options)


@pytest.mark.parametrize("kind", PIECES)
def test_every_format_with_words(kind: str) -> None:
    for seed in range(12):
        assert_equal(spoken(kind, seed), formats.FORMATS, {"max_line_width": 20})


def test_more_words_than_a_cue_holds() -> None:
    """A segment of more than 1000 words, where openai-whisper has a limit that nobody set."""
    words = [{"word": " a", "start": n / 10, "end": n / 10 + 0.1, "probability": 0.5} for n in range(2100)]
    long = result((0.0, 210.0, " a" * 2100), words=words)
    assert_equal(long, ["srt"], {})
    assert_equal(long, ["srt"], {"max_words_per_line": 1500})
    assert_equal(long, ["srt"], {"max_line_width": 3000, "max_line_count": 1})


def test_emptied_segments_alone_give_no_cues(tmp_path: Path) -> None:
    """They have an empty list of words even where words were not asked for."""
    emptied = result((0.0, 0.0, ""), (0.0, 2.0, ""), tokens=[], words=[])
    get_writer("srt", str(tmp_path))(emptied, "reference.wav")
    Transcription.from_dict(emptied).save(tmp_path / "ours.srt", compatible=True)
    assert (tmp_path / "ours.srt").read_bytes() == (tmp_path / "reference.srt").read_bytes() == b""


def test_an_emptied_segment_before_others_without_words(tmp_path: Path) -> None:
    """openai-whisper's own writer fails with a KeyError here."""
    mixed = result((0.0, 0.0, ""), (0.0, 2.0, " one"))
    mixed["segments"][0] |= {"tokens": [], "words": []}
    with pytest.raises(KeyError, match="words"):
        get_writer("srt", str(tmp_path))(mixed, "reference.wav")
    file = io.StringIO()
    formats.write(Transcription.from_dict(mixed), file, "vtt", compatible=True)
    assert file.getvalue() == "WEBVTT\n\n00:00.000 --> 00:00.000\n\n\n00:00.000 --> 00:02.000\none\n\n"


@pytest.mark.parametrize("format", formats.FORMATS)
@pytest.mark.parametrize("option", ["max_line_width", "max_line_count", "max_words_per_line", "highlight_words"])
def test_options_without_words(format: str, option: str) -> None:
    file = io.StringIO()
    given: dict[str, Any] = {option: True if option == "highlight_words" else 1}
    with pytest.raises(OptionError) as caught:
        formats.write(Transcription.from_dict(CASES["plain"]), file, format, **given)
    assert str(caught.value) == f"{option} needs the times of words; transcribe with word_timestamps=True"
    assert file.getvalue() == ""
    # Where nothing was said there is nothing to lay out.
    formats.write(Transcription.from_dict(CASES["empty result"]), file, format, **given)


@pytest.mark.parametrize("value", [0, -1, 2.5, "40", True])
@pytest.mark.parametrize("option", ["max_line_width", "max_line_count", "max_words_per_line"])
def test_limits_that_cannot_be(option: str, value: Any) -> None:
    with pytest.raises(OptionError) as caught:
        formats.write(Transcription.from_dict(spoken("spaces", 0)), io.StringIO(), "srt", **{option: value})
    assert str(caught.value) == f"{option}: a number of at least 1, or None, got {value!r}"


def test_an_option_that_does_not_exist() -> None:
    file, given = io.StringIO(), {"max_line_widht": 40}
    with pytest.raises(OptionError, match=r"^max_line_widht: no such option; did you mean max_line_width\?"):
        formats.write(Transcription.from_dict(CASES["plain"]), file, "srt", **given)  # type: ignore[arg-type]


def test_formats_are_the_reference_ones() -> None:
    assert formats.FORMATS == ("txt", "vtt", "srt", "tsv", "json")


def test_unknown_format() -> None:
    file = io.StringIO()
    with pytest.raises(OptionError) as caught:
        formats.write(Transcription.from_dict(CASES["plain"]), file, "pdf")
    assert str(caught.value) == "unknown output format 'pdf'; choose one of txt, vtt, srt, tsv, json"
    assert file.getvalue() == ""


@pytest.mark.parametrize("hours", [False, True])
@pytest.mark.parametrize("marker", [".", ","])
def test_timestamps_equal_openai_whisper(hours: bool, marker: str) -> None:
    times = [0, 0.0004, 0.0005, 0.9996, 59.9995, 60, 61.5, 3599.9994, 3599.9995, 3600, 86399.9999, 1e6]
    for seconds in times:
        ours = formats.format_timestamp(seconds, always_include_hours=hours, decimal_marker=marker)
        assert ours == reference_timestamp(seconds, hours, marker)
