"""Recordings transcribed by several processes: the order, the errors, and how they end."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from max_whisper import load_model
from max_whisper.errors import AudioError, CheckpointError, MaxWhisperError, OptionError
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.progress import Step, silent
from max_whisper.results import Segment, Transcription
from max_whisper.runtime.threads import allowed_cpus
from max_whisper.transcription.workers import Workers, core_groups

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes keep to cores on Linux only")

SAMPLES = Path(__file__).resolve().parents[2] / "audio_samples"
RECORDING = str(SAMPLES / "greeting.ogg")
LOADING: dict[str, Any] = {"model": "nano", "device": "cpu", "compute_type": "int8"}
OPTIONS: dict[str, Any] = {"temperature": 0}
ONE_CPU = allowed_cpus()[:1]


def workers(
    files: Sequence[str],
    loading: dict[str, Any] = LOADING,
    n_processes: int = 1,
    loaded: Callable[[ModelDimensions], None] = lambda dims: None,
    progress: Callable[[Step], None] = silent,
) -> list[Transcription | Exception]:
    events = Workers(files, [ONE_CPU] * n_processes, load_model, loading, OPTIONS, loaded, progress).events()
    contents = {event.number: event.content for event in events if not isinstance(event.content, Segment)}
    return [contents[number] for number in range(len(files))]


def tokens_and_times(outcome: Transcription | Exception) -> list[tuple[Any, ...]]:
    """What does not depend on the number of threads; probabilities do by their rounding."""
    assert isinstance(outcome, Transcription)
    assert outcome.segments
    return [(segment.tokens, segment.start, segment.end, segment.text) for segment in outcome.segments]


def test_each_recording_has_what_it_has_alone_in_the_order_given(tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    files = [str(SAMPLES / "directions.mp3"), str(bad), RECORDING]
    told: list[ModelDimensions] = []
    steps: list[Step] = []
    outcomes = workers(files, n_processes=2, loaded=told.append, progress=steps.append)
    model = load_model(**LOADING)
    assert tokens_and_times(outcomes[0]) == tokens_and_times(model.transcribe(files[0], **OPTIONS))
    assert isinstance(outcomes[1], AudioError)
    assert str(bad) in str(outcomes[1])
    assert tokens_and_times(outcomes[2]) == tokens_and_times(model.transcribe(files[2], **OPTIONS))
    assert told == [model.dims]
    assert steps[-3:] == [Step("transcribing", number, 3, "recordings") for number in (1, 2, 3)]
    assert multiprocessing.active_children() == []


def test_a_model_that_cannot_be_loaded() -> None:
    with pytest.raises(CheckpointError, match="no model is called 'tinny'"):
        workers([RECORDING], {**LOADING, "model": "tinny"})


def test_a_process_that_dies() -> None:
    def kill(_: ModelDimensions) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    died, lost = workers([RECORDING, RECORDING], loaded=kill)
    assert isinstance(died, MaxWhisperError)
    assert str(died) == "a worker process ended with status -9"
    assert isinstance(lost, MaxWhisperError)
    assert str(lost) == f"{RECORDING}: no worker process is left to transcribe it"


def test_what_the_model_cannot_do_ends_all() -> None:
    def refuse(_: ModelDimensions) -> None:
        raise OptionError("language: no")

    with pytest.raises(OptionError, match="language: no"):
        workers([RECORDING], loaded=refuse)


# Starts a process, prints its id when it has its model, and is killed.
KILLED = f"""
import multiprocessing, os, signal

import max_whisper
from max_whisper.progress import silent
from max_whisper.transcription.workers import Workers

def loaded(dims):
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    list(Workers([{RECORDING!r}], [{ONE_CPU}], max_whisper.load_model, {LOADING}, {OPTIONS}, loaded, silent).events())
"""


def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    program = tmp_path / "killed.py"
    program.write_text(KILLED)
    output = subprocess.run([sys.executable, str(program)], stdout=subprocess.PIPE, text=True, check=False).stdout
    worker = int(output)
    with suppress(ProcessLookupError):
        while Path(f"/proc/{worker}/stat").exists() and " Z " not in Path(f"/proc/{worker}/stat").read_text():
            time.sleep(0.1)  # ends, or the whole run hangs


def test_groups_of_cores() -> None:
    (every,) = core_groups(1)
    assert sorted(every) == allowed_cpus()
    with pytest.raises(OptionError, match="workers: at most one for each core"):
        core_groups(len(allowed_cpus()) + 1)
