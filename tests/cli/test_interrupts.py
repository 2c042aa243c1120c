"""A signal loses nothing: what was printed is in a file that says that its end is missing."""

import json
import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from max_whisper import load_audio, load_model
from max_whisper.cli import interrupts
from max_whisper.cli.console import ConsoleProgress
from max_whisper.cli.drafts import Drafts
from max_whisper.cli.options import OutputOptions
from max_whisper.cli.outputs import Outputs
from max_whisper.cli.recordings import FileErrors, Recording
from max_whisper.results import RecordingEvent
from tests.cli.fakes import SEGMENTS, TEXT, TRANSCRIPTION
from tests.cli.programs import ENVIRONMENT, program

SAMPLES = Path(__file__).resolve().parents[2] / "audio_samples"
FORMATS = ("json", "srt", "tsv", "txt", "vtt")
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
WAITING = "print('waiting', file=sys.stderr, flush=True); time.sleep(600)"


def start(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def wait_for(process: "subprocess.Popen[str]", line: str, count: int = 1) -> None:
    """Wait until the process has printed a line on standard error, so often."""
    assert process.stderr is not None
    while count:
        printed = process.stderr.readline()
        assert printed, "it ended before"
        count -= printed == f"{line}\n"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_the_segments_so_far_are_written(recording: Path, tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "talk.v2.srt").write_text("an earlier run's, complete")
    process = start([*program(tmp_path, after=WAITING), "transcribe", str(recording), "-o", str(folder)])
    wait_for(process, "waiting")
    process.send_signal(number)
    output, error = process.communicate()
    assert process.returncode == SIGNALS[number]
    assert output.splitlines()[1:] == ["[00:00.000 --> 00:01.000]  one", "[00:01.000 --> 00:02.000]  two"]
    assert names(folder) == sorted([*(f"talk.v2.{format}.partial" for format in FORMATS), "talk.v2.srt"])
    assert (folder / "talk.v2.srt").read_text() == "an earlier run's, complete"
    assert (folder / "talk.v2.txt.partial").read_text() == "one\ntwo\n"
    assert json.loads((folder / "talk.v2.json.partial").read_text())["text"] == " one two"
    first, last = error.splitlines()
    assert first.startswith(f"max-whisper: '{recording}' is written up to 2 s: {folder}/talk.v2.txt.partial, ")
    assert last == "max-whisper: interrupted"
    # A whole run takes the place of what was unfinished.
    process = start([*program(tmp_path), "transcribe", str(recording), "-o", str(folder)])
    process.communicate()
    assert process.returncode == 0
    assert names(folder) == [f"talk.v2.{format}" for format in FORMATS]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_native_code_that_does_not_heed_a_signal(recording: Path, tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "out"
    native = "print('waiting', file=sys.stderr, flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
    command = program(tmp_path, after=native)
    process = start([*command, "transcribe", str(recording), "-o", str(folder), "-f", "srt"])
    wait_for(process, "waiting")
    process.send_signal(number)
    _, error = process.communicate()
    assert process.returncode == SIGNALS[number]
    assert names(folder) == ["talk.v2.srt.partial"]
    assert error.splitlines()[-1] == "max-whisper: interrupted"


def test_a_second_ctrl_c_ends_at_once(recording: Path, tmp_path: Path) -> None:
    endless = "from max_whisper.cli import interrupts; interrupts.GRACE = 10.0**6"
    native = "print('waiting', file=sys.stderr, flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
    command = program(tmp_path, after=native, first=endless)
    process = start([*command, "transcribe", str(recording), "-o", str(tmp_path / "out")])
    wait_for(process, "waiting")
    time.sleep(0.5)  # until it is in native code, where no exception can be raised
    process.send_signal(signal.SIGINT)
    while process.poll() is None:  # the first may not be taken yet, and two that wait are one
        process.send_signal(signal.SIGINT)
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    assert process.returncode == 130
    assert names(tmp_path / "out") == []


def test_nothing_said_is_nothing_written(recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    process = start([*program(tmp_path, (), after=WAITING), "transcribe", str(recording), "-o", str(folder)])
    wait_for(process, "waiting")
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert (process.returncode, error) == (143, "max-whisper: interrupted\n")
    assert names(folder) == []


def test_a_signal_that_is_ignored_stays_ignored(recording: Path, tmp_path: Path) -> None:
    """`nohup` has a program ignore SIGHUP."""
    gate = tmp_path / "gate"
    passing = (
        f"print('waiting', file=sys.stderr, flush=True)\n    while not Path({str(gate)!r}).exists(): time.sleep(0.05)"
    )
    command = [*program(tmp_path, after=passing), "transcribe", str(recording), "-o", str(tmp_path / "out")]
    process = start(["bash", "-c", "trap '' HUP; exec \"$@\"", "-", *command])
    wait_for(process, "waiting")
    process.send_signal(signal.SIGHUP)
    gate.touch()
    process.communicate()
    assert process.returncode == 0
    assert names(tmp_path / "out") == [f"talk.v2.{format}" for format in FORMATS]


def test_an_error_in_the_middle_loses_nothing_either(recording: Path, tmp_path: Path) -> None:
    second = recording.with_name("second.wav")
    second.write_bytes(recording.read_bytes())
    command = program(tmp_path, after="if 'talk' in audio: raise AudioError('it was removed')")
    folder = tmp_path / "out"
    process = start([*command, "transcribe", str(recording), str(second), "-f", "txt", "-o", str(folder)])
    _, error = process.communicate()
    assert process.returncode == 1
    assert error.splitlines()[0] == "max-whisper: error: it was removed"
    assert names(folder) == ["second.txt", "talk.v2.txt.partial"]
    assert (folder / "talk.v2.txt.partial").read_text() == "one\ntwo\n"


def test_what_would_have_been_printed_is_printed(recording: Path, tmp_path: Path) -> None:
    command = [*program(tmp_path, after=WAITING), "transcribe", str(recording), "-f", "txt", "-o", "-"]
    process = start(command)
    wait_for(process, "waiting")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert (process.returncode, output) == (130, "one\ntwo\n")


def test_several_recordings_at_once(recording: Path, tmp_path: Path) -> None:
    second = recording.with_name("second.wav")
    second.write_bytes(recording.read_bytes())
    folder = tmp_path / "out"
    command = [*program(tmp_path, after=WAITING), "transcribe", str(recording), str(second), "--batch-size", "2"]
    process = start([*command, "-f", "txt", "-o", str(folder)])
    wait_for(process, "waiting")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert names(folder) == ["second.txt.partial", "talk.v2.txt.partial"]
    assert {path.read_text() for path in folder.iterdir()} == {"one\ntwo\n"}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes keep to cores on Linux only")
@pytest.mark.parametrize("whole_group", [False, True])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_worker_processes(recording: Path, tmp_path: Path, number: signal.Signals, whole_group: bool) -> None:
    """A signal to the process alone, as `kill` gives it, and to all, as a terminal does. A third recording is done."""
    done, waiting = recording.with_name("done.wav"), recording.with_name("waiting.wav")
    for path in (done, waiting):
        path.write_bytes(recording.read_bytes())
    folder = tmp_path / "out"
    one_cpu = (
        "from max_whisper.transcription import workers\n"
        "workers.core_groups = lambda count: [sorted(os.sched_getaffinity(0))] * count\n"
    )
    command = program(tmp_path, after=f"if 'done' not in audio: {WAITING}", first=one_cpu)
    files = [str(recording), str(done), str(waiting)]
    process = subprocess.Popen(
        [*command, "transcribe", *files, "--workers", "2", "-f", "txt", "-o", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    wait_for(process, "waiting", 2)
    if whole_group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode == SIGNALS[number]
    assert names(folder) == ["done.txt", "talk.v2.txt.partial", "waiting.txt.partial"]
    assert {path.read_text() for path in folder.iterdir()} == {"one\ntwo\n"}
    assert output.count("one") == 1  # the recording whose turn it was is printed as it comes


def test_a_real_model(tmp_path: Path) -> None:
    """nano on five minutes of speech: what was printed is what is written, and the beginning of the whole."""
    once = (load_audio(SAMPLES / "one_day.flac") * 32767).astype(np.int16)
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.tile(once, 5).tobytes())
    options = ["--model", "nano", "--device", "cpu", "--beam-size", "None", "-f", "txt", "-o", str(tmp_path / "out")]
    process = start([sys.executable, "-m", "max_whisper", "transcribe", str(path), *options])
    assert process.stdout is not None
    printed = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGTERM)
    printed += process.stdout.readlines()
    assert process.wait() == 143
    lines = [line.partition("]  ")[2] for line in printed[1:]]
    written = (tmp_path / "out" / "long.txt.partial").read_text()
    assert written.startswith("".join(lines))
    assert len(written.splitlines()) - len(lines) in (0, 1)  # of a line that was being printed
    whole = load_model("nano", device="cpu").transcribe(path, temperature=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0), best_of=5)
    assert "".join(f"{segment.text.strip()}\n" for segment in whole.segments).startswith(written)


class SignalOnceHeld(list[bool]):
    """The list of what holds signals back; one comes as soon as it has its first entry."""

    def append(self, entry: bool) -> None:
        super().append(entry)
        interrupts._raise(signal.SIGTERM, None)


def test_a_signal_at_the_very_beginning_of_held_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_raised", [])
    monkeypatch.setattr(interrupts, "_held", SignalOnceHeld())
    done = []
    with pytest.raises(interrupts.Interrupted) as raised, interrupts.held():
        done.append(True)
    assert done == [True]
    assert raised.value.number == signal.SIGTERM
    with interrupts.held():  # it is raised once
        done.append(True)


@pytest.mark.parametrize("n_printed", [1, 2, 3, 4])
def test_no_line_is_printed_twice_after_a_signal(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_printed: int
) -> None:
    """Lines of a recording wait for its turn. A signal comes as one of them has been printed; then all is saved."""
    printed: list[str] = []

    def text(_: ConsoleProgress, line: str) -> None:
        printed.append(line)
        if len(printed) == n_printed:
            raise interrupts.Interrupted(signal.SIGINT)

    monkeypatch.setattr(ConsoleProgress, "text", text)
    console = ConsoleProgress()
    errors = FileErrors(console, debug=False)
    recordings = [Recording(str(recording), str(recording), Path(name)) for name in ("first", "second")]
    outputs = Outputs(OutputOptions(output_dir=str(tmp_path / "out"), output_format="txt"), {}, console)
    outputs.prepare(recordings)
    drafts = Drafts(recordings, outputs, console, errors, verbose=True, is_detected=lambda: True)
    events = [RecordingEvent(1, segment, "en") for segment in SEGMENTS]
    events += [RecordingEvent(1, TRANSCRIPTION), RecordingEvent(0, TRANSCRIPTION)]
    for event in events[:-1]:
        drafts.hear(event)
    assert printed == []
    with pytest.raises(interrupts.Interrupted):
        drafts.hear(events[-1])
    drafts.hear(events[-1])
    drafts.save()
    assert printed == ["Detected language: English", *TEXT.splitlines()]
    assert names(tmp_path / "out") == ["first.txt", "second.txt"]


@pytest.mark.parametrize(
    "work",
    [
        "time.sleep(60)",
        # A thread that goes on, as a compile may, and native code that does not heed the signal.
        "threading.Thread(target=time.sleep, args=(60,)).start(); time.sleep(60)",
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",
    ],
)
def test_ctrl_c_is_130(recording: Path, tmp_path: Path, work: str) -> None:
    code = (
        "import hashlib, threading, time\n"
        "import max_whisper.transcriber\n"
        "def load(*_, **__):\n"
        "    print('loading', flush=True)\n"
        f"    {work}\n"
        "max_whisper.transcriber.load_model = load\n"
        "from max_whisper.cli import main; main()"
    )
    process = start([sys.executable, "-c", code, "transcribe", str(recording), "-o", str(tmp_path)])
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert error.splitlines() == ["max-whisper: interrupted"]


def test_ctrl_c_with_nobody_left_to_read_is_130() -> None:
    code = (
        "import sys, time\n"
        "from max_whisper.cli import program\n"
        "def work(*_):\n"
        "    sys.stdout.write('not flushed yet')\n"
        "    print('working', file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        "program._run_command = work\n"
        "program.main()"
    )
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == "working\n"
        process.stdout.close()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "max-whisper: interrupted\n"
    assert process.returncode == 130
