"""Segments, transcriptions and their way to a file."""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from max_whisper.errors import MaxWhisperError, OptionError
from max_whisper.results import Segment, Transcription, Word


def segment_dict(**changes: Any) -> dict[str, Any]:
    """A segment in the key order of `new_segment` in whisper/transcribe.py, after the id that it adds in front."""
    return {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 2.5,
        "text": " Seven eight nine.",
        "tokens": [50364, 13806, 3180, 4949, 13, 50489],
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 0.7083333333333334,
        "no_speech_prob": 0.011,
    } | changes


def transcription() -> Transcription:
    second = segment_dict(id=1, seek=250, start=2.5, end=4.0, text=" Ten.", tokens=[50364, 9380, 13, 50439])
    result = {"text": " Seven eight nine. Ten.", "segments": [segment_dict(), second], "language": "en"}
    return Transcription.from_dict(result)


def test_segment_keeps_keys_order_and_values() -> None:
    segment = Segment.from_dict(segment_dict())
    assert segment.tokens == (50364, 13806, 3180, 4949, 13, 50489)
    assert list(segment.to_dict().items()) == list(segment_dict().items())


def test_words_keep_keys_order_and_values() -> None:
    words = [
        {"word": " Seven", "start": 0.0, "end": 0.48, "probability": 0.75},
        {"word": " eight", "start": 0.48, "end": 0.48, "probability": 1.0},
    ]
    segment = Segment.from_dict(segment_dict(words=words))
    assert segment.words == (Word(" Seven", 0.0, 0.48, 0.75), Word(" eight", 0.48, 0.48, 1.0))
    assert json.dumps(segment.to_dict()) == json.dumps(segment_dict(words=words))


def test_words_are_there_where_they_were_asked_for() -> None:
    assert "words" not in Segment.from_dict(segment_dict()).to_dict()
    assert Segment.from_dict(segment_dict(words=[])).to_dict() == segment_dict(words=[])


def test_an_emptied_segment_has_an_empty_list_of_words() -> None:
    emptied = segment_dict(text="", tokens=[], words=[])
    assert Segment.from_dict(emptied).to_dict() == emptied
    assert replace(Segment.from_dict(emptied), words=None).to_dict() == emptied


@pytest.mark.parametrize("key", ["word", "start", "end", "probability"])
def test_missing_key_of_a_word_is_a_key_error(key: str) -> None:
    word = {"word": " Seven", "start": 0.0, "end": 0.48, "probability": 0.75}
    del word[key]
    with pytest.raises(KeyError, match=key):
        Segment.from_dict(segment_dict(words=[word]))


def test_missing_key_is_a_key_error() -> None:
    incomplete = segment_dict()
    del incomplete["seek"]
    with pytest.raises(KeyError, match="seek"):
        Segment.from_dict(incomplete)


def test_transcription_round_trip() -> None:
    result = transcription()
    assert list(result.to_dict()) == ["text", "segments", "language"]
    assert Transcription.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_language_probabilities_stay_out_of_the_dictionary() -> None:
    detected = replace(transcription(), language_probabilities={"en": 0.75, "de": 0.25})
    assert detected.to_dict() == transcription().to_dict()
    assert hash(detected) == hash(transcription())
    assert transcription().language_probabilities is None


def test_results_are_values() -> None:
    assert hash(transcription()) == hash(transcription())
    with pytest.raises(FrozenInstanceError):
        transcription().text = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["talk.txt", "talk.vtt", "talk.srt", "talk.tsv", "talk.json", "loud.TXT", "a.b.txt"])
def test_save_takes_the_format_from_the_suffix(tmp_path: Path, name: str) -> None:
    transcription().save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    written = (tmp_path / name).read_text(encoding="utf-8")
    first_line = {
        ".txt": "Seven eight nine.",
        ".vtt": "WEBVTT",
        ".srt": "1",
        ".tsv": "start\tend\ttext",
        ".json": json.dumps(transcription().to_dict()),
    }
    assert written.split("\n")[0] == first_line[Path(name).suffix.lower()]


def test_save_hands_the_options_of_subtitles_on(tmp_path: Path) -> None:
    words = (Word(" Seven", 0.0, 0.5, 0.75), Word(" eight", 0.5, 1.0, 0.75), Word(" nine.", 1.0, 2.5, 0.75))
    result = transcription()
    result = replace(result, segments=(replace(result.segments[0], words=words),))
    path = tmp_path / "talk.srt"
    result.save(path, max_line_width=12, max_line_count=2)
    assert path.read_text() == "1\n00:00:00,000 --> 00:00:02,500\nSeven eight\nnine.\n\n"
    result.save(path, max_line_width=12, max_line_count=1)
    assert "Seven eight\n\n2\n" in path.read_text()
    result.save(path, max_words_per_line=1)
    assert "\nSeven\n\n" in path.read_text()
    result.save(path, highlight_words=True)
    assert "\nSeven <u>eight</u> nine.\n" in path.read_text()
    with pytest.raises(OptionError, match=r"^highlight_words needs the times of words"):
        transcription().save(path, highlight_words=True)
    assert "<u>eight</u>" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


def test_save_takes_a_string_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "talk.txt"
    path.write_text("an old and much longer file than the new one\n" * 9)
    transcription().save(str(path))
    assert path.read_text() == "Seven eight nine.\nTen.\n"


@pytest.mark.parametrize(
    ("name", "found"), [("talk.docx", "suffix '.docx'"), ("talk", "no suffix"), (".srt", "no suffix")]
)
def test_save_with_an_unknown_suffix(tmp_path: Path, name: str, found: str) -> None:
    with pytest.raises(OptionError) as caught:
        transcription().save(tmp_path / name)
    expected = f"cannot save to '{tmp_path / name}': it has {found}; give the file one of .txt, .vtt, .srt, .tsv, .json"
    assert str(caught.value) == expected
    assert list(tmp_path.iterdir()) == []


def test_save_into_a_missing_folder(tmp_path: Path) -> None:
    path = tmp_path / "no" / "talk.srt"
    with pytest.raises(MaxWhisperError) as caught:
        transcription().save(path)
    assert str(caught.value) == (
        f"cannot write '{path}': No such file or directory; choose a folder that exists and that you may write to"
    )


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that this process may not write into. Root, who may, is nobody for the while."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)


def test_save_into_a_read_only_folder(read_only_folder: Path) -> None:
    with pytest.raises(MaxWhisperError, match=r"^cannot write '.*talk\.srt': Permission denied; choose a folder"):
        transcription().save(read_only_folder / "talk.srt")
    assert list(read_only_folder.iterdir()) == []


def test_save_over_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "talk.srt").mkdir()
    with pytest.raises(MaxWhisperError, match="Is a directory"):
        transcription().save(tmp_path / "talk.srt")
    assert [path.name for path in tmp_path.iterdir()] == ["talk.srt"]


def test_save_interrupted_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talk.json"
    transcription().save(path)
    old = path.read_bytes()

    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full_disk)
    with pytest.raises(MaxWhisperError, match="No space left on device"):
        transcription().save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
