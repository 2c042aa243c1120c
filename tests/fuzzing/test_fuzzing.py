"""The fuzzing program: cases of fixed seeds hold, cases repeat, and each kind of fault is found."""

import json
import subprocess
import sys
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from max_whisper import Transcription
from max_whisper.definitions import options_of
from max_whisper.errors import AudioError, OptionError
from max_whisper.options import TranscribeOptions
from max_whisper.transcriber import Transcriber
from tests.fuzzing import cases
from tests.fuzzing.cases import READ_OTHERWISE, Case, load_fuzzed_model, plain_samples, run_case
from tests.fuzzing.containers import SPOKEN, encoded, spoken, writable
from tests.fuzzing.damage import DAMAGES, damaged
from tests.fuzzing.drawing import drawn_value, transcribe_keywords, wrong_keywords

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model() -> Transcriber:
    return load_fuzzed_model()


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of the command line takes as long as thirty other cases."""
    monkeypatch.setattr(cases, "COMMAND_SHARE", 0)


def test_cases_of_a_fixed_seed_hold(model: Transcriber, tmp_path: Path) -> None:
    ran = [run_case(model, 20, number, tmp_path) for number in range(60)]
    faulty = [f"{case.again}\n{case.described}\n{case.faults}" for case in ran if case.faults]
    assert faulty == []
    outcomes = Counter(case.outcome for case in ran)
    assert min(outcomes[outcome] for outcome in ("transcribed", "AudioError", "OptionError", "left half-read")) > 2


def test_cases_of_the_command_line_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "COMMAND_SHARE", 1)
    for number in range(3):
        case = run_case(None, 3, number, tmp_path)  # type: ignore[arg-type]
        assert case.faults == [], case.described
        assert case.outcome in ("status 0", "status 1", "status 2")


def test_a_case_repeats(model: Transcriber, tmp_path: Path) -> None:
    for number in (3, 4, 5, 11):
        first, again = (run_case(model, 1, number, tmp_path) for _ in range(2))
        assert first == again
        assert first.described


def one_that_transcribes(model: Transcriber, folder: Path) -> Case:
    """A case of a single file with text, read as it is."""
    for number in range(200):
        case = run_case(model, 5, number, folder)
        is_file = case.described.startswith("transcribe(") and not case.described.startswith("transcribe(array")
        if case.outcome == "transcribed" and is_file and not any(name in case.described for name in READ_OTHERWISE):
            return case
    raise AssertionError("no such case")


@pytest.mark.parametrize("fault", ["another error", "two lines", "foreign warning", "no text", "NaN", "backwards"])
def test_a_fault_is_found(model: Transcriber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    good = one_that_transcribes(model, tmp_path)
    transcribe = type(model).transcribe

    def faulty(self: Transcriber, audio: Any, **keywords: Any) -> Transcription:
        result = transcribe(self, audio, **keywords)
        segment = result.segments[0]
        if fault == "another error":
            raise KeyError("segments")
        if fault == "two lines":
            raise AudioError("one\ntwo")
        if fault == "foreign warning":
            warnings.warn("invalid value encountered in cast", RuntimeWarning, stacklevel=2)
        if fault == "no text" and not isinstance(audio, np.ndarray):
            return replace(result, text="", segments=())
        if fault == "NaN":
            return replace(result, segments=(replace(segment, avg_logprob=float("nan")),))
        if fault == "backwards":
            return replace(result, segments=(replace(segment, start=segment.end + 1),))
        return result

    monkeypatch.setattr(type(model), "transcribe", faulty)
    told = {
        "another error": "KeyError: 'segments'",
        "two lines": "an error of several lines",
        "foreign warning": "RuntimeWarning in ",
        "no text": "no text, where ",
        "NaN": "a segment with (",
        "backwards": "a segment from ",
    }
    case = run_case(model, good.seed, good.number, tmp_path)
    assert len(case.faults) == 1
    assert told[fault] in case.faults[0]


@pytest.mark.parametrize("ends", ["crash", "hang"])
def test_a_process_that_crashes_or_hangs_is_a_fault_and_replaced(ends: str) -> None:
    program = """
import ctypes, sys, time
from tests.fuzzing import __main__, cases
run_case = cases.run_case
def faulty(model, seed, number, folder):
    if number == 1:
        ctypes.string_at(0) if sys.argv.pop(1) == "crash" else time.sleep(60)
    return cases.Case(seed, number, outcome="fine")
cases.run_case = faulty
cases.load_fuzzed_model = cases.usual_seconds = lambda *_: 0.0
__main__.LEAST_LIMIT = 0.5
__main__._work(0, int(sys.argv[2]), time.monotonic() + 2)
"""
    watch = f"""
import subprocess, sys, time
from tests.fuzzing import __main__
Popen = subprocess.Popen
def start(command, **keywords):
    first = command[command.index("--first") + 1]
    return Popen([sys.executable, "-c", {program!r}, {ends!r}, first], **keywords)
__main__.subprocess.Popen = start
sys.exit(__main__._watch(0, 0, time.monotonic() + 4))
"""
    done = subprocess.run([sys.executable, "-c", watch], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "case 1: " in done.stdout
    assert "a crash, or a hang that was ended" in done.stdout
    assert ("Segmentation fault" if ends == "crash" else "Timeout") in done.stdout
    assert "again: python -m tests.fuzzing --seed 0 --case 1" in done.stdout
    assert "1 with faults" in done.stdout.splitlines()[-1]


def test_containers_hold_the_speech() -> None:
    assert len(writable()) > 30
    for container in writable():
        content = encoded(container, SPOKEN[0])
        assert content is not None
        samples = plain_samples(content)
        assert samples is not None
        assert len(samples) == pytest.approx(len(spoken(SPOKEN[0])), abs=3000), str(container)


def test_damages_change_files_and_empty_ones_are_no_error() -> None:
    rng = np.random.default_rng(0)
    content = bytes(range(256)) * 20
    for damage in DAMAGES:
        changed = bytearray(content)
        assert damage(rng, changed)
        assert changed != content, damage.__name__
    for length in range(20):
        for _ in range(50):
            damaged(rng, content[:length])


def test_every_option_is_drawn_and_most_values_are_taken() -> None:
    rng = np.random.default_rng(0)
    drawn: Counter[str] = Counter()
    for _ in range(3000):
        keywords = transcribe_keywords(rng)
        TranscribeOptions(**keywords)
        drawn.update(keywords.keys())
    assert set(drawn) == {option.name for option in options_of(TranscribeOptions)}
    for option in options_of(TranscribeOptions):
        values = {json.dumps(drawn_value(rng, option), default=str) for _ in range(60)}
        assert len(values) > 1, f"{option.name}: give it values in drawing.py"
    refused = 0
    for _ in range(100):
        try:
            TranscribeOptions.from_keywords(wrong_keywords(rng))
        except OptionError:
            refused += 1
    assert 40 < refused < 100
