import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.spread import spread
from max_whisper.diagnostics.backends import Backend, choose_backends
from max_whisper.diagnostics.comparison import Outcome, same_words
from max_whisper.diagnostics.process import BackendFailedError
from max_whisper.diagnostics.recordings import DEMO, Recording, recordings
from max_whisper.diagnostics.screen import Row, Screen, comparison_table
from max_whisper.errors import AudioError, OptionError

SAMPLE = Recording(Path("talk.wav"), "one two three four")


def result(seconds: float, text: str, end: float = 1.0) -> dict[str, Any]:
    segment = {"start": 0.0, "end": end, "tokens": [1, 2], "text": text}
    transcription = {"text": text, "language": "en", "segments": [segment]}
    return {"seconds": seconds, "audio_seconds": 8.0, "transcription": transcription}


def outcome(name: str, **answer: Any) -> Outcome:
    made = Outcome(Backend(name, "cpu"), peak_memory_mb=123.4)
    made.add(SAMPLE, result(**answer))
    return made


def printed(*content: Any, height: int = 40) -> str:
    console = Console(width=120, height=height, file=io.StringIO(), force_terminal=False)
    console.print(*content)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_speed_up_and_real_time_factor() -> None:
    baseline, faster = outcome("torch", seconds=4.0, text="one"), outcome("max", seconds=1.0, text="one")
    assert faster.speed_up(baseline) == 4
    assert faster.real_time_factor == 0.125
    assert Outcome(Backend("max", "cpu")).speed_up(baseline) is None


def test_equality_needs_text_tokens_and_times() -> None:
    reference = outcome("torch", seconds=4.0, text="one")
    assert outcome("max", seconds=1.0, text="one").differing(reference) == []
    assert outcome("max", seconds=1.0, text="One").differing(reference) == [SAMPLE.path]
    assert outcome("max", seconds=1.0, text="one", end=1.02).differing(reference) == [SAMPLE.path]
    first, second = result(1.0, "one")["transcription"], result(1.0, "one")["transcription"]
    second["segments"][0]["tokens"] = [1, 3]
    assert not same_words(first, second)


def test_two_recordings_of_the_same_name_are_two() -> None:
    made = Outcome(Backend("max", "cpu"))
    for folder, text in (("a", "one"), ("b", "two")):
        made.add(Recording(Path(folder) / "talk.wav", text), result(1.0, text))
    assert made.total_seconds == 2
    assert made.word_errors([Recording(Path("a/talk.wav"), "one"), Recording(Path("b/talk.wav"), "two")]).errors == 0


def test_table_of_a_reference_an_equal_a_different_and_a_failed_backend() -> None:
    failed = Outcome(Backend("torch", "gpu"), failure="torch gpu: no GPU")
    rows = [
        outcome("torch", seconds=4.0, text="one two three for"),
        outcome("hybrid", seconds=2.0, text="one two three for"),
        outcome("max", seconds=1.0, text="one two three four"),
        failed,
    ]
    lines = printed(comparison_table(rows, [SAMPLE])).splitlines()
    reference, hybrid, different, last = lines[4:8]
    assert ["baseline" in reference, "25.0%" in reference, "the reference" in reference] == [True] * 3
    assert ["2.00 x" in hybrid, "0.250" in hybrid, "equal to the reference" in hybrid] == [True] * 3
    assert ["4.00 x" in different, "0.0%" in different, "differ in talk" in different] == [True] * 3
    assert "failed" in last


def test_screen_shows_state_text_and_numbers_and_fits_the_terminal() -> None:
    rows = [Row(Outcome(Backend(name, "cpu"))) for name in ("torch", "hybrid", "max")]
    for row in rows:
        row.baseline = rows[0].outcome
    rows[0].start()
    rows[0].hear({"event": "segment", "text": " one two"})
    rows[0].outcome.add(SAMPLE, result(4.0, "one two"))
    rows[0].finish()
    rows[1].start()
    rows[1].hear({"event": "step", "message": "downloading tiny", "done": 1, "total": 4})
    text = printed(Screen("the title", rows))
    assert "the title" in text
    assert "one two" in text
    assert "real-time factor 0.500" in text
    assert "downloading tiny, 25 %" in text
    assert "waiting" in text
    rows[2].fail(BackendFailedError("max cpu: out of memory"))
    assert "out of memory" in printed(Screen("the title", rows))
    for height in (24, 40):
        assert len(printed(Screen("the title", rows), height=height).splitlines()) <= height - 1


def test_backends_begin_with_the_baseline() -> None:
    assert choose_backends("max,hybrid", "cpu") == [Backend(name, "cpu") for name in ("torch", "hybrid", "max")]
    assert [str(backend) for backend in choose_backends("max", "gpu")] == ["torch cpu", "max gpu"]
    with pytest.raises(OptionError, match="'jax'"):
        choose_backends("jax", "cpu")


def test_the_demo_has_its_recordings_and_their_transcripts() -> None:
    found = recordings([], DEMO)
    assert [sample.name for sample in found] == list(DEMO)
    assert all(sample.transcript for sample in found)


def test_recordings_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "b.wav").touch()
    (tmp_path / "b.txt").write_text("words\n")
    first, second = recordings([str(tmp_path / "a.wav"), str(tmp_path / "b.wav")])
    assert first.transcript is None
    assert second.transcript == "words"
    with pytest.raises(AudioError, match=r"c\.wav"):
        recordings([str(tmp_path / "c.wav")])


def test_spread() -> None:
    assert spread([3.0, 1.0, 2.0, 5.0, 4.0]) == {
        "median": 3.0,
        "min": 1.0,
        "q1": 2.0,
        "q3": 4.0,
        "max": 5.0,
        "runs": [3.0, 1.0, 2.0, 5.0, 4.0],
    }
