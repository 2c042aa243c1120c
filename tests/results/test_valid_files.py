"""The files are valid whatever the text: by the grammars of the formats, and as other programs read them."""

import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import av
import numpy as np
import pytest

from max_whisper.errors import OptionError
from max_whisper.results import Segment, Transcription, Word, formats
from tests.results.test_formats import LAYOUTS, PIECES, spoken

VTT_TIME, SRT_TIME = r"(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})", r"(\d{2,}):([0-5]\d):([0-5]\d),(\d{3})"
# What a text can have that ends, splits or hides a cue, a row or a file.
TEXTS = {
    "ampersand": " R&D &amp; AT&T &lt;",
    "tags": " a <b> and </b> <u>5 < 6 > 4</u> <00:00:01.000> <v Ann>hi",
    "arrow": " from --> to ---> and -->-->",
    "a cue": " one\n\n7\n00:00:01,000 --> 00:00:02,000\ntwo\n\n00:01.000 --> 00:02.000\nthree",
    "empty lines": "\n\none\r\n\r\n\rtwo\x0bthree\x0c\x0cfour\u2028five\u2029six\x85seven\x1c\x1d\x1eeight\n",
    "controls": " a\x00b\x07c\x1b[31mred\x7f\x80\x9f",
    "tabs": "\ta\tb\t\tc",
    "bidi": " \u202ecba\u202c \u2067\u05d0\u05d1\u05d2\u2069 \u200f!",
    "half characters": " a\ud83d b\udc00",
    "blocks": "NOTE a\nSTYLE b\nREGION c\nWEBVTT",
    "digits": " 12\n13\n",
    "long": " x" * 100_000,
    "quote": ' "He said',
}
ROOT = Path(__file__).resolve().parents[2]


def segment(number: int, start: float, end: float, text: str, words: tuple[Word, ...] | None = None) -> Segment:
    return Segment(number, 0, start, end, text, (1,), 0.0, -0.3, 1.1, 0.0, words)


def transcription(*segments: Segment) -> Transcription:
    return Transcription("".join(one.text for one in segments), segments, "en")


def worded(text: str, words: str = r"\s*\S+|\s+$") -> tuple[Word, ...]:
    """The words of a text, every third one without length."""
    found = re.findall(words, text, re.DOTALL)[:400]
    moments = np.cumsum([0.0, *(0.0 if number % 3 == 2 else 0.2 for number in range(len(found)))]).round(2).tolist()
    return tuple(Word(word, start, end, 0.5) for word, start, end in zip(found, moments[:-1], moments[1:], strict=True))


def written(result: Transcription, format: str, **options: Any) -> str:
    file = io.StringIO()
    formats.write(result, file, format, **options)
    file.getvalue().encode()
    return file.getvalue()


def seconds_of(match: tuple[str, ...]) -> float:
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in match)
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def assert_cues(cues: list[tuple[float, float, str]]) -> None:
    for start, end, text in cues:
        assert 0 <= start < end
        assert text.strip() == text != ""
        assert all(line.strip() for line in text.split("\n"))
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", text)
    assert [start for start, *_ in cues] == sorted(start for start, *_ in cues)


def read_vtt(text: str) -> list[tuple[float, float, str]]:
    """The cues of a file by the grammar of https://www.w3.org/TR/webvtt1/#syntax; their texts without markup."""
    assert text.startswith("WEBVTT\n\n")
    cues = []
    for block in text.removeprefix("WEBVTT\n\n").removesuffix("\n\n").split("\n\n") if text != "WEBVTT\n\n" else []:
        timing, *lines = block.split("\n")
        match = re.fullmatch(f"{VTT_TIME} --> {VTT_TIME}", timing)
        assert match, timing
        payload = "\n".join(lines)
        assert "-->" not in payload
        bare = re.sub("</?u>", "", payload)
        assert payload.count("<u>") == payload.count("</u>") <= 1
        assert not re.search("[<>]", bare)
        assert not re.search("&(?!amp;|lt;|gt;)", bare)
        cues.append((seconds_of(match.groups()[:4]), seconds_of(match.groups()[4:]), html.unescape(bare)))
    assert_cues(cues)
    return cues


def read_srt(text: str) -> list[tuple[float, float, str]]:
    """The cues of a file as they are usually written: a number, the times, lines of text, an empty line."""
    cues = []
    for number, block in enumerate(text.removesuffix("\n\n").split("\n\n") if text else [], start=1):
        counter, timing, *lines = block.split("\n")
        match = re.fullmatch(f"{SRT_TIME} --> {SRT_TIME}", timing)
        assert counter == str(number)
        assert match, timing
        payload = "\n".join(lines)
        assert "-->" not in payload
        cues.append((seconds_of(match.groups()[:4]), seconds_of(match.groups()[4:]), payload))
    assert_cues(cues)
    return cues


READERS = {"vtt": read_vtt, "srt": read_srt}


def shown(text: str) -> str:
    """What of a text is to be seen."""
    kept = re.sub(r"[\ud800-\udfff]", "\ufffd", text)
    return "".join(
        c for c in kept if (not c.isspace() and c.isprintable()) or c in "\u202e\u202c\u2067\u2069\u200f\ufffd"
    )


def of_srt(text: str) -> str:
    return re.sub("-{2,}>", "->", text)


@pytest.mark.parametrize("name", TEXTS)
def test_segments_of_any_text(name: str) -> None:
    text = TEXTS[name]
    result = transcription(segment(0, 0.0, 1.5, " First."), segment(1, 1.5, 2.0, text), segment(2, 2.0, 4.0, " Last."))
    for format, read in READERS.items():
        cues = read(written(result, format))
        assert [cue[:2] for cue in cues] == [(0.0, 1.5), (1.5, 2.0), (2.0, 4.0)]
        assert (cues[0][2], cues[2][2]) == ("First.", "Last.")
        assert shown(cues[1][2]) == shown(text if format == "vtt" else of_srt(text))


@pytest.mark.parametrize("layout", [{}, {"max_line_width": 10}, {"max_words_per_line": 1}], ids=str)
@pytest.mark.parametrize("name", TEXTS)
def test_words_of_any_text(name: str, layout: dict[str, Any]) -> None:
    for words in (worded(TEXTS[name]), worded(TEXTS[name], ".")):
        if name == "long":
            words = (Word(TEXTS["long"], 0.0, 0.0, 0.5), *words)
        text = "".join(word.word for word in words)
        result = transcription(segment(0, 0.0, words[-1].end, text, words))
        for format, read in READERS.items():
            cues = read(written(result, format, **layout))
            expected, got = shown(text), shown("".join(cue[2] for cue in cues))
            assert got == expected or (format == "srt" and of_srt(got) == of_srt(expected))
            highlighted = read(written(result, format, highlight_words=True, **layout))
            assert [cue[0] for cue in highlighted][:1] == [cue[0] for cue in cues][:1]


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize("highlight_words", [False, True])
@pytest.mark.parametrize("kind", PIECES)
def test_random_words(kind: str, highlight_words: bool, format: str) -> None:
    for seed in range(6):
        result = Transcription.from_dict(spoken(kind, seed))
        for layout in LAYOUTS:
            READERS[format](written(result, format, highlight_words=highlight_words, **layout))


def test_cues_without_text_are_left_out() -> None:
    empty = [segment(0, 0.0, 1.0, ""), segment(1, 1.0, 2.0, " \n "), segment(2, 2.0, 3.0, "\x00\x07")]
    result = transcription(*empty, segment(3, 3.0, 4.0, " a"), segment(4, 4.0, 5.0, "\u3000"))
    assert read_vtt(written(result, "vtt")) == read_srt(written(result, "srt")) == [(3.0, 4.0, "a")]
    assert written(result, "vtt") == "WEBVTT\n\n00:03.000 --> 00:04.000\na\n\n"
    assert written(transcription(*empty), "srt") == ""
    blank = transcription(segment(0, 0.0, 1.0, "  ", (Word(" ", 0.0, 0.5, 0.5), Word(" ", 0.5, 1.0, 0.5))))
    for options in ({}, {"highlight_words": True}):
        assert read_vtt(written(blank, "vtt", **options)) == []


def no_tokens(result: Transcription, words: bool) -> Transcription:
    """As another program may give it: without tokens, and with no words rather than an empty list of them."""
    data = result.to_dict()
    for one in data["segments"]:
        one["tokens"] = []
        if not words:
            one.pop("words", None)
    return Transcription.from_dict(data)


@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("format", READERS)
def test_segments_with_text_and_no_words_are_cues(format: str, tokens: bool) -> None:
    one = (Word(" one", 1.0, 1.4, 0.5), Word(" two", 1.4, 2.0, 0.5))
    texts = [" zero", " one two", " three", "", " four"]
    for words, none in (((), ()), (None, None), (one, ()), (one, None)):
        result = transcription(
            *(
                segment(number, number, number + 1.0, text, words if number == 1 else none)
                for number, text in enumerate(texts)
            )
        )
        if not tokens:
            result = no_tokens(result, words is one)
        expected = [(0.0, 1.0, "zero"), (1.0, 2.0, "one two"), (2.0, 3.0, "three"), (4.0, 5.0, "four")]
        assert READERS[format](written(result, format)) == expected
        if words is one:
            each = [*expected[:1], (1.0, 1.4, "one"), (1.4, 2.0, "two"), *expected[2:]]
            lines = [*expected[:1], (1.0, 2.0, "one\ntwo"), *expected[2:]]
            assert READERS[format](written(result, format, max_words_per_line=1)) == each
            limits = {"max_line_width": 4, "max_line_count": 2}
            assert READERS[format](written(result, format, **limits)) == lines


@pytest.mark.parametrize("format", READERS)
def test_a_text_is_not_shown_again_after_its_words(format: str) -> None:
    """As openai-whisper gives words to segments where a character is torn between two of them."""
    first = segment(0, 0.0, 1.0, " radi Someone", (Word(" radi", 0.0, 0.4, 0.5), Word(" Someone在", 0.4, 1.0, 0.5)))
    second = segment(1, 1.0, 2.0, "在", (Word(" tough", 1.0, 2.0, 0.5),))
    result = transcription(first, second, segment(2, 2.0, 2.0, " tough", ()))
    assert READERS[format](written(result, format)) == [(0.0, 1.0, "radi Someone在"), (1.0, 2.0, "tough")]
    again = transcription(segment(0, 1.0, 2.0, " tough", second.words), segment(1, 2.0, 3.0, " tough", ()))
    assert READERS[format](written(again, format)) == [(1.0, 2.0, "tough"), (2.0, 3.0, "tough")]


def test_lines_are_of_words() -> None:
    result = no_tokens(transcription(segment(0, 0.0, 1.0, " a"), segment(1, 1.0, 2.0, " b")), False)
    with pytest.raises(OptionError, match="word_timestamps=True"):
        written(result, "srt", max_words_per_line=1)
    assert written(no_tokens(transcription(segment(0, 0.0, 1.0, " ")), False), "srt", highlight_words=True) == ""


def test_cues_without_length_or_before_the_beginning() -> None:
    behind = transcription(segment(0, 0.0, 2.0, " a"), segment(1, 2.0, 2.0, " b"), segment(2, 2.0, 1.0, " c"))
    assert read_srt(written(behind, "srt")) == [(0.0, 2.0, "a"), (2.0, 2.001, "b"), (2.0, 2.001, "c")]
    negative = transcription(segment(0, -1000.0, 1.0, " a"), segment(1, 0.5, 1.0, " b"), segment(2, 0.2, 0.4, " c"))
    assert [cue[2] for cue in read_vtt(written(negative, "vtt"))] == ["a", "c", "b"]


def test_words_without_length_are_shown_and_underlined() -> None:
    words = (Word(" the", 6.2, 6.2, 0.5), Word(" answer", 6.2, 6.2, 0.5), Word(" is", 6.2, 7.5, 0.5))
    result = transcription(segment(0, 6.2, 7.5, " the answer is", words))
    highlighted = written(result, "vtt", highlight_words=True)
    for word in ("the", "answer", "is"):
        assert highlighted.count(f"<u>{word}</u>") == 1
    cues = read_vtt(highlighted)
    assert [cue[2] for cue in cues] == ["the answer is"] * 3
    assert (cues[0][0], cues[-1][1]) == (6.2, 7.5)
    assert all(end - start > 0.2 for start, end, _ in cues)
    assert read_srt(written(result, "srt")) == [(6.2, 7.5, "the answer is")]


def test_a_mark_over_two_words_is_no_arrow() -> None:
    words = (Word(" a", 0.0, 0.2, 0.5), Word(" --", 0.2, 0.4, 0.5), Word("> b & <", 0.4, 0.6, 0.5))
    result = transcription(segment(0, 0.0, 0.6, " a --> b & <", words))
    assert written(result, "srt") == "1\n00:00:00,000 --> 00:00:00,600\na -> b & <\n\n"
    assert written(result, "vtt") == "WEBVTT\n\n00:00.000 --> 00:00.600\na --&gt; b &amp; &lt;\n\n"
    assert "a --<u>&gt; b &amp; &lt;</u>" in written(result, "vtt", highlight_words=True)


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "long"])
def test_ffmpeg_reads_what_was_said(name: str, tmp_path: Path) -> None:
    """FFmpeg's libraries read as many cues, at the same times."""
    result = transcription(segment(0, 0.25, 1.5, " First."), segment(1, 1.5, 2.0, TEXTS[name]))
    for format in READERS:
        path = tmp_path / f"talk.{format}"
        result.save(path)
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux() if packet.size]
            times = [
                (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base)) for packet in packets
            ]
            texts = [bytes(packet).decode() for packet in packets]
        assert times == [(0.25, 1.25), (1.5, 0.5)]
        assert texts[0] == "First."
        plain = html.unescape(texts[1]) if format == "vtt" else texts[1]
        assert shown(plain) == shown(TEXTS[name] if format == "vtt" else of_srt(TEXTS[name]))


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_json_has_numbers_or_null(value: float) -> None:
    words = (Word(" a", 0.0, 0.5, value),)
    odd = replace(segment(0, 0.0, 1.0, " a", words), avg_logprob=value, compression_ratio=value)
    result = transcription(odd, segment(1, 1.0, 2.0, " b"))
    read = json.loads(written(result, "json"), parse_constant=refuse)
    assert (read["segments"][0]["avg_logprob"], read["segments"][0]["compression_ratio"]) == (None, None)
    assert read["segments"][0]["words"][0]["probability"] is None
    assert read["segments"][1] == result.to_dict()["segments"][1]
    with pytest.raises(AssertionError):
        json.loads(written(result, "json", compatible=True), parse_constant=refuse)


@pytest.mark.parametrize("name", TEXTS)
def test_json_and_rows_of_any_text(name: str) -> None:
    text = TEXTS[name]
    result = transcription(segment(0, 0.0, 1.5, " First."), segment(1, 1.5, 2.0, text), segment(2, 2.0, 4.0, " Last."))
    read = json.loads(written(result, "json"), parse_constant=refuse)
    assert read["segments"][1]["text"] == re.sub(r"[\ud800-\udfff]", "\ufffd", text)

    rows = [line.split("\t") for line in written(result, "tsv").splitlines()]
    assert rows[0] == ["start", "end", "text"]
    assert [row[:2] for row in rows[1:]] == [["0", "1500"], ["1500", "2000"], ["2000", "4000"]]
    assert shown(rows[2][2]) == shown(text)

    lines = written(result, "txt").split("\n")
    assert (lines[0], lines[-2:]) == ("First.", ["Last.", ""])
    assert shown("".join(lines[1:-2])) == shown(text)


@pytest.mark.parametrize("format", formats.FORMATS)
@pytest.mark.parametrize("name", TEXTS)
def test_every_file_can_be_saved(name: str, format: str, tmp_path: Path) -> None:
    path = tmp_path / f"talk.{format}"
    transcription(segment(0, 0.0, 1.5, TEXTS[name])).save(path)
    path.read_bytes().decode()


def test_what_differs_is_listed() -> None:
    page = (ROOT / "docs" / "from-openai-whisper.md").read_text(encoding="utf-8")
    files = page[page.index("\n## Files") : page.index("\n## What differs")]
    for word in (
        "`&amp;`",
        "`-->`",
        "`null`",
        "without text",
        "without length",
        "U+FFFD",
        "compatible=True",
        "| tsv |",
    ):
        assert word in files, word
