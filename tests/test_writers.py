"""Every writer gives the bytes of openai-whisper's writer on the same result."""

import io
from pathlib import Path
from typing import Any

import pytest
from whisper.utils import format_timestamp as reference_timestamp
from whisper.utils import get_writer

from max_whisper import writers
from max_whisper.errors import OptionError
from max_whisper.results import Transcription


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


@pytest.mark.parametrize("format", writers.FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_bytes_equal_openai_whisper(tmp_path: Path, case: str, format: str) -> None:
    ours, reference = tmp_path / f"ours.{format}", tmp_path / f"reference.{format}"
    get_writer(format, str(tmp_path))(CASES[case], "/recordings/reference.wav")
    Transcription.from_dict(CASES[case]).save(ours)
    assert ours.read_bytes() == reference.read_bytes()
    if CASES[case]["segments"]:
        assert ours.stat().st_size > 0


def test_formats_are_the_reference_ones() -> None:
    assert writers.FORMATS == ("txt", "vtt", "srt", "tsv", "json")


def test_unknown_format() -> None:
    file = io.StringIO()
    with pytest.raises(OptionError) as caught:
        writers.write(Transcription.from_dict(CASES["plain"]), file, "pdf")
    assert str(caught.value) == "unknown output format 'pdf'; choose one of txt, vtt, srt, tsv, json"
    assert file.getvalue() == ""


@pytest.mark.parametrize("hours", [False, True])
@pytest.mark.parametrize("marker", [".", ","])
def test_timestamps_equal_openai_whisper(hours: bool, marker: str) -> None:
    times = [0, 0.0004, 0.0005, 0.9996, 59.9995, 60, 61.5, 3599.9994, 3599.9995, 3600, 86399.9999, 1e6]
    for seconds in times:
        ours = writers.format_timestamp(seconds, always_include_hours=hours, decimal_marker=marker)
        assert ours == reference_timestamp(seconds, hours, marker)
