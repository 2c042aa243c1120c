"""Printing never decides whether files are written, whatever standard output and standard error are."""

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.programs import ENVIRONMENT, program, shell

TEXTS = (" café 10 €", " 你好 😀", " plain")
LINES = "café 10 €\n你好 😀\nplain\n"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a device of Linux")


def check_files(folder: Path, name: str = "talk.v2") -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{name}.{format}" for format in ("json", "srt", "tsv", "txt", "vtt")
    ]
    assert (folder / f"{name}.txt").read_bytes() == LINES.encode("utf-8")
    assert json.loads((folder / f"{name}.json").read_bytes())["text"] == "".join(TEXTS)


@pytest.mark.parametrize(
    "encoding",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii:strict", "PYTHONUNBUFFERED": "1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
def test_an_encoding_without_the_letters(recording: Path, tmp_path: Path, encoding: dict[str, str]) -> None:
    folder = tmp_path / "out"
    command = [*program(tmp_path, TEXTS), "transcribe", str(recording), "-o", str(folder)]
    done = shell(command, "", env={**ENVIRONMENT, **encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert lines[2].endswith(rb"\u4f60\u597d \U0001f600")  # as Python writes them, so that nothing is lost
    is_western = any(name in encoding.get("PYTHONIOENCODING", "") for name in ("latin", "cp1252"))
    assert (b"caf\xe9" if is_western else rb"caf\xe9") in lines[1]
    check_files(folder)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "> /dev/null 2>&1"])
def test_closed_streams(recording: Path, tmp_path: Path, redirection: str) -> None:
    folder = tmp_path / "out"
    command = [*program(tmp_path, TEXTS), "transcribe", str(recording), str(tmp_path / "missing.wav")]
    done = shell([*command, "-o", str(folder)], redirection)
    assert done.returncode == 1  # of the missing one
    check_files(folder)
    done = shell([*program(tmp_path, TEXTS), "transcribe", str(recording), "-o", str(folder)], redirection)
    assert done.returncode == 0
    if "2>&-" in redirection:
        assert b"missing.wav" not in done.stdout  # an error never lands among the text


@FULL
def test_a_full_disk(recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    command = [*program(tmp_path, TEXTS), "transcribe", str(recording), "-o", str(folder)]
    done = shell(command, "> /dev/full")
    assert done.returncode == 1
    assert done.stderr == b"max-whisper: error: cannot write to standard output: No space left on device\n"
    check_files(folder)
    shutil.rmtree(folder)
    assert shell(command, "2> /dev/full").returncode == 0
    check_files(folder)
    shutil.rmtree(folder)
    assert shell(command, "> /dev/full 2> /dev/full").returncode == 1
    check_files(folder)


@pytest.mark.parametrize("reader", ["head -n 0", "head -n 1", "true"])
def test_a_reader_that_has_gone(recording: Path, tmp_path: Path, reader: str) -> None:
    second = recording.with_name("second.wav")
    second.write_bytes(recording.read_bytes())
    folder = tmp_path / "out"
    # More than a pipe holds, so that the reader's end is met.
    command = program(tmp_path, TEXTS, after="print('x' * 200000, flush=True)")
    done = shell([*command, "transcribe", str(recording), str(second), "-f", "txt", "-o", str(folder)], f"| {reader}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(path.name for path in folder.iterdir()) == ["second.txt", "talk.v2.txt"]


def test_a_reader_that_has_gone_ends_work_that_is_done_for_its_output(recording: Path, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    noting = (
        "import select\n"
        "def note():\n"
        f"    if os.path.exists({str(heard)!r}):\n"
        "        output = select.poll()\n"
        "        output.register(1, select.POLLERR)\n"
        "        output.poll()  # until the reader has gone\n"
        f"    open({str(heard)!r}, 'a').write('x')\n"
        "Model.detect_language = lambda *_, **__: (note(), {'en': 0.9, 'de': 0.1, 'fr': 0})\n"
    )
    files = []
    for number in range(8):
        files.append(str(recording.with_name(f"{number}.wav")))
        Path(files[-1]).write_bytes(recording.read_bytes())
    done = shell([*program(tmp_path, first=noting), "language", *files], "| head -n 1")
    assert (done.returncode, done.stderr) == (141, b"")
    assert heard.read_text() == "xx"
    command = program(tmp_path, TEXTS, after="note()", first=noting)
    heard.unlink()
    done = shell([*command, "transcribe", *files, "-f", "txt", "-o", "-"], "| head -n 1")
    assert (done.returncode, done.stderr) == (141, b"")
    assert heard.read_text() == "xx"


@pytest.mark.parametrize(
    "arguments",
    [
        ["models"],
        ["transcribe", "--help"],
        ["language", "NAME.wav"],
        ["compile", "é"],
        ["parity"],
        ["demo", "--help"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("redirection", "status"),
    [("", 0), (">&-", 0), ("2>&-", 0), pytest.param("> /dev/full", 1, marks=FULL)],
)
def test_every_command(recording: Path, tmp_path: Path, arguments: list[str], redirection: str, status: int) -> None:
    """In ASCII, with a letter that it does not have in what is printed."""
    named = tmp_path / "é.wav"
    named.write_bytes(recording.read_bytes())
    comparing = (
        "import types, rich.table\n"
        "from max_whisper.diagnostics.screen import output_console\n"
        "parity = types.ModuleType('max_whisper.diagnostics.parity')\n"
        "table = rich.table.Table('é', title='λ')\n"
        "parity.run = lambda *_, **__: (print('é'), output_console().print(table), 0)[-1]\n"
        "sys.modules[parity.__name__] = parity\n"
        f"max_whisper.transcriber.compile_model = lambda *_, **__: Path({str(named)!r})\n"
    )
    command = [*program(tmp_path, first=comparing), *(part.replace("NAME", str(named)[:-4]) for part in arguments)]
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1", "MAX_WHISPER_CACHE": str(tmp_path)}
    done = shell(command, redirection, env=environment)
    assert done.returncode == status
    if status:
        assert done.stderr == b"max-whisper: error: cannot write to standard output: No space left on device\n"
    elif ">&-" not in redirection:
        assert done.stdout
        assert done.stderr == b""


def test_a_file_name_that_is_no_text(recording: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    try:
        Path(os.fsdecode(path)).write_bytes(recording.read_bytes())
    except OSError:
        pytest.skip("this file system takes names of valid text only")
    name = os.fsdecode(path)
    done = shell([*program(tmp_path), "language", name], "")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"caf\\udce9.wav: English (en) 90.0%" in done.stdout
    done = shell([*program(tmp_path, TEXTS), "transcribe", name, "-o", str(tmp_path / "out")], "")
    assert (done.returncode, done.stderr) == (0, b"")
    check_files(tmp_path / "out", os.fsdecode(b"caf\xe9"))


def test_a_pipe_that_does_not_wait(recording: Path, tmp_path: Path) -> None:
    """Whoever started the program may have set its end of a pipe to not block."""
    waiting = "os.set_blocking(1, False)"
    many = tuple(f" {number:06d}" for number in range(20_000))
    command = [*program(tmp_path, many, first=waiting), "transcribe", str(recording), "-o", str(tmp_path / "out")]
    done = shell(command, "| (sleep 1; cat)")
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 1 + len(many)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("output", ["out", "-"])
def test_a_terminal(recording: Path, tmp_path: Path, encoding: str, output: str) -> None:
    """The bar is gone from a line before anything is printed there, and has letters that the terminal has."""
    terminal, other = pty.openpty()
    command = [
        *program(tmp_path, (" one", " two", " three é")),
        "transcribe",
        str(recording),
        "-f",
        "txt",
        "-o",
        output,
    ]
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": encoding, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment, cwd=tmp_path)
    os.close(other)
    shown = b""
    with contextlib.suppress(OSError):  # which is how a terminal tells that its other end is closed
        while chunk := os.read(terminal, 1 << 16):
            shown += chunk
    os.close(terminal)
    assert process.wait() == 0
    text = shown.decode(encoding)
    assert "transcribing talk.v2.wav" in text
    lines = [re.sub(r".*\x1b\[2K|\x1b\[\??[0-9;]*[a-zA-Z]", "", line).strip("\r") for line in text.splitlines()]
    last = "three é" if encoding == "utf-8" else r"three \xe9"
    before = "" if output == "-" else "[00:02.000 --> 00:03.000]  "
    assert f"{before}{last}" in lines
