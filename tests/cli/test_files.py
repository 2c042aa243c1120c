"""Which recordings are transcribed, and where their files go."""

import errno
import json
import os
import sys
from pathlib import Path

import av
import pytest

from max_whisper.cli import outputs, program
from max_whisper.cli.arguments import parse
from max_whisper.cli.console import ConsoleProgress
from max_whisper.cli.recordings import SUFFIXES, FileErrors, find
from tests.cli.fakes import SEGMENTS, FakeTranscriber, error_line

WORDS = "one two\nthree [bold]four[/bold]\n"


@pytest.fixture
def album(tmp_path: Path, recording: Path) -> Path:
    """A folder of recordings, with much else in it."""
    folder = tmp_path / "album"
    for name in ("b.wav", "a.MP3", "disc 2/c.flac", "disc 2/deep/d.opus", "disc 10/e.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(recording.read_bytes())
    for name in ("cover.jpg", "notes.txt", "b.srt", ".hidden.wav", "._b.wav", ".trash/f.wav", "no_suffix", "model.pt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(recording.read_bytes())
    (folder / "broken.wav").symlink_to("missing.wav")
    (folder / "disc 2" / "circle").symlink_to(folder, target_is_directory=True)
    return folder


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def transcribe(*arguments: str) -> int:
    return program.run(["transcribe", *arguments, "--model", "tiny"])


def test_a_folder(
    transcriber: FakeTranscriber, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert transcribe(str(album), "-f", "txt", "-o", str(out), "--verbose", "False") == 0
    assert written(out) == ["a.txt", "b.txt", "disc 10/e.txt", "disc 2/c.txt", "disc 2/deep/d.txt"]
    assert len(transcriber.heard) == 5
    assert capsys.readouterr().err == ""


def test_a_folder_is_read_in_order(
    transcriber: FakeTranscriber, album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run(["language", str(album)]) == 0
    named = [line.partition(": ")[0] for line in capsys.readouterr().out.splitlines()]
    inside = [str(Path(name).relative_to(album)) for name in named]
    assert inside == ["a.MP3", "b.wav", "disc 10/e.wav", "disc 2/c.flac", "disc 2/deep/d.opus"]


def test_a_link_to_a_folder_is_followed(
    transcriber: FakeTranscriber, album: Path, tmp_path: Path, recording: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "far.wav").write_bytes(recording.read_bytes())
    (album / "link").symlink_to(elsewhere, target_is_directory=True)
    (tmp_path / "album_link").symlink_to(album, target_is_directory=True)
    assert transcribe(str(tmp_path / "album_link"), "-f", "txt", "-o", str(tmp_path / "out")) == 0
    assert "link/far.txt" in written(tmp_path / "out")


def test_a_folder_that_cannot_be_read(
    transcriber: FakeTranscriber,
    album: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    look = os.scandir

    def refuse(path: str) -> object:  # as the system refuses it to all but root
        if str(path).endswith("disc 2"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert transcribe(str(album), "-f", "txt", "-o", str(tmp_path / "out")) == 1
    line = error_line(capsys)
    assert line == f"cannot read the folder '{album / 'disc 2'}': Permission denied; check its permissions"
    assert written(tmp_path / "out") == ["a.txt", "b.txt", "disc 10/e.txt"]


def test_a_folder_without_recordings(
    transcriber: FakeTranscriber, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert transcribe(str(tmp_path / "empty"), "-o", str(tmp_path)) == 1
    assert error_line(capsys).startswith(f"'{tmp_path / 'empty'}' has no recordings")
    assert transcriber.loaded == []


def test_names_of_recordings_are_names_that_ffmpeg_knows() -> None:
    known: set[str] = set()
    for name in av.formats_available:
        for mode in ("r", "w"):
            try:
                known |= av.ContainerFormat(name, mode).extensions
            except ValueError:
                continue
    # Read by their content, or under a name that only the makers of files give.
    assert SUFFIXES - known <= {
        "3ga",
        "aifc",
        "asf",
        "awb",
        "m4b",
        "m4p",
        "mts",
        "ra",
        "snd",
        "wma",
        "wmv",
        "spx",
        "ogm",
    }
    assert {"wav", "mp3", "m4a", "mp4", "mkv", "webm", "ogg", "opus", "flac", "aac", "mov", "wma"} <= SUFFIXES
    assert SUFFIXES.isdisjoint(
        {"txt", "srt", "vtt", "json", "tsv", "png", "jpg", "pt", "safetensors", "part", "partial"}
    )


def test_a_recording_that_is_named_twice_is_transcribed_once(
    transcriber: FakeTranscriber, album: Path, tmp_path: Path
) -> None:
    files = [str(album), str(album / "b.wav"), f"{album}/disc 2/../b.wav"]
    assert transcribe(*files, "-f", "txt", "-o", str(tmp_path / "out")) == 0
    assert len(transcriber.heard) == 5


@pytest.mark.parametrize(
    "names",
    [
        ("a/talk.mp3", "b/talk.mp3"),
        ("talk.mp4", "talk.m4a"),
        ("folder/talk.mp4", "folder/talk.m4a"),
        ("stdin.wav", "-"),
        ("https://example.org/a/talk.mp3?token=1", "talk.wav"),
        ("talk.wav", "folder/talk.wav"),
    ],
    ids=" ".join,
)
def test_two_recordings_for_the_same_file_are_an_error_before_any_work(
    transcriber: FakeTranscriber,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    names: tuple[str, str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    monkeypatch.setattr(sys, "stdin", recording.open())
    for name in names:
        if name != "-" and not name.startswith("http"):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_bytes(recording.read_bytes())
    files = ["folder"] if names[0].startswith("folder") else names
    assert transcribe(*files, "-o", str(tmp_path / "out")) == 2
    line = error_line(capsys)
    assert "would both be written to" in line
    assert "--output-dir of its own" in line
    assert transcriber.loaded == []
    assert written(tmp_path / "out") == []


def test_a_file_system_that_takes_both_cases_for_the_same(
    transcriber: FakeTranscriber,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [("Talk.wav", "talk.wav"), ("caf\u00e9.wav", "cafe\u0301.wav"), ("Straße.wav", "STRASSE.wav")]
    for first, second in names:
        files = []
        for number, name in enumerate((first, second)):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            files.append(str(tmp_path / str(number) / name))
            Path(files[-1]).write_bytes(recording.read_bytes())
        with monkeypatch.context() as context:
            context.setattr(outputs.Outputs, "_make_folder", lambda self: True)
            assert transcribe(*files, "-o", str(tmp_path / "out")) == 2
        assert "would both be written to" in error_line(capsys)
        if not (tmp_path / "0" / "TALK.WAV").exists():
            assert transcribe(*files, "-o", str(tmp_path / "out"), "-f", "txt") == 0


def test_skip_existing(
    transcriber: FakeTranscriber, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--skip-existing", "-f", "txt,srt", "-o", str(out), "--verbose", "False"]
    (out / "disc 2").mkdir(parents=True)
    (out / "a.txt").write_text("earlier")
    (out / "a.srt").write_text("earlier")
    (out / "b.txt").write_text("its srt is missing")
    (out / "disc 2" / "c.txt.partial").write_text("unfinished")
    assert transcribe(str(album), *options) == 0
    assert capsys.readouterr().err == f"max-whisper: skipped: '{album / 'a.MP3'}', whose files are there\n"
    assert len(transcriber.heard) == 4
    assert (out / "a.txt").read_text() == "earlier"
    assert (out / "b.txt").read_text() == WORDS
    assert not (out / "disc 2" / "c.txt.partial").exists()
    # The name alone, or a value, as for other options.
    for value in (["--skip-existing", "True"], ["--skip-existing=True"], ["--skip-existing"]):
        assert parse(["transcribe", *value, "talk.mp3"], {})["skip_existing"] is True
        assert parse(["transcribe", "talk.mp3", *value], {})["files"] == ["talk.mp3"]
    assert parse(["transcribe", "--skip-existing", "False", "talk.mp3"], {})["skip_existing"] is False
    # All are there now: nothing is loaded.
    transcriber.loaded.clear()
    assert transcribe(str(album), *options) == 0
    assert len(capsys.readouterr().err.splitlines()) == 5
    assert transcriber.loaded == []
    # An error of a file is one with this option too.
    assert transcribe(str(album), str(tmp_path / "missing.wav"), *options) == 1


@pytest.mark.parametrize(
    ("options", "formats"),
    [
        (["-f", "srt,txt"], ["srt", "txt"]),
        (["-f", "srt", "-f", "txt"], ["srt", "txt"]),
        (["--output_format=srt, TXT", "-f", "json"], ["json", "srt", "txt"]),
        (["-f", "srt,srt,"], ["srt"]),
        (["-f", "all"], ["json", "srt", "tsv", "txt", "vtt"]),
        (["-f", "txt,all"], ["json", "srt", "tsv", "txt", "vtt"]),
        ([], ["json", "srt", "tsv", "txt", "vtt"]),
    ],
    ids=str,
)
def test_formats(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, options: list[str], formats: list[str]
) -> None:
    assert transcribe(str(recording), *options, "-o", str(tmp_path / "out")) == 0
    assert written(tmp_path / "out") == [f"talk.v2.{format}" for format in formats]


@pytest.mark.parametrize("text", ["doc", "txt,doc", "", ",", "txt;srt"])
def test_formats_that_there_are_not(
    transcriber: FakeTranscriber, recording: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert transcribe(str(recording), "-f", text) == 2
    line = error_line(capsys)
    assert line.startswith("--output-format: ")
    assert "txt" in line
    assert transcriber.loaded == []


@pytest.mark.parametrize("format", ["txt", "vtt", "srt", "tsv", "json"])
def test_printing_in_the_place_of_files(
    transcriber: FakeTranscriber,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    format: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert transcribe(str(recording), "-f", format, "-o", "out") == 0
    capsys.readouterr()
    assert transcribe(str(recording), "-f", format, "-o", "-") == 0
    end = "\n" if format == "json" else ""
    assert capsys.readouterr().out == (tmp_path / "out" / f"talk.v2.{format}").read_text() + end
    assert not (tmp_path / "-").exists()


def test_printing_several_recordings(
    transcriber: FakeTranscriber, album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transcribe(str(album), "-f", "txt", "-o", "-") == 0
    assert capsys.readouterr().out == WORDS * 5
    for options in ([], ["--batch-size", "2"]):
        assert transcribe(str(album), "-f", "json", "-o", "-", *options) == 0
        documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [len(document["segments"]) for document in documents] == [len(SEGMENTS)] * 5


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        ([], "--output-dir: - prints one format; choose it, such as -f txt"),
        (["-f", "txt,srt"], "--output-dir: - prints one format; choose it, such as -f txt"),
        (["-f", "srt"], "--output-dir: - prints one document, and several in srt are not one; choose txt or json"),
        (["-f", "txt", "--skip-existing"], "--skip-existing: - writes no files; give a folder as --output-dir"),
    ],
)
def test_what_cannot_be_printed(
    transcriber: FakeTranscriber,
    album: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    mistake: str,
) -> None:
    assert transcribe(str(album), "-o", "-", *options) == 2
    assert error_line(capsys).startswith(mistake)
    assert transcriber.loaded == []


def test_the_home_folder(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for number, option in enumerate(["--output-dir=~/{}", "--output_dir=~/{}", "-o~/{}", "-o=~/{}"][:3]):
        arguments = ["transcribe", str(recording), "-f", "txt", option.format(number), "--model=~/my.pt"]
        assert program.run(arguments) == 0
        assert written(tmp_path / "home" / str(number)) == ["talk.v2.txt"]
    assert {model for model, _ in transcriber.loaded} == {str(tmp_path / "home" / "my.pt")}
    assert not (tmp_path / "~").exists()
    # A text stays as it is, and so does a path that is really called so.
    Path("~").mkdir()
    assert transcribe(str(recording), "-f", "txt", "--output-dir=~", "--initial-prompt=~/so") == 0
    assert written(tmp_path / "~") == ["talk.v2.txt"]
    assert transcriber.heard[-1][1]["initial_prompt"] == "~/so"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://example.org/talks/talk.v2.mp3", "talk.v2"),
        ("https://example.org/a%20b.mp3?token=x/y.wav#t=5", "a b"),
        ("HTTPS://example.org/feed/..%2F..%2Fetc%2Fpasswd.mp3", "passwd"),
        ("https://example.org/", "example.org"),
        ("https://example.org:8000/live", "live"),
    ],
)
def test_addresses(
    transcriber: FakeTranscriber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, name: str
) -> None:
    heard: list[object] = []

    def load(audio: object, **_: object) -> list[float]:
        heard.append(audio)
        return []

    monkeypatch.setattr("tests.cli.fakes.load_audio", load)
    assert transcribe(url, "-f", "txt", "-o", str(tmp_path / "out")) == 0
    assert heard == [url]
    assert written(tmp_path / "out") == [f"{name}.txt"]


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (("https://anna:1@example.org/talk.mp3", "https://bert:2@example.org/talk.mp3"), 2),
        (("https://anna:1@example.org/talk.mp3", "https://anna:2@example.org/talk.mp3"), 2),
        (("https://anna:1@example.org/talk.mp3", "https://anna:1@example.org/talk.mp3"), 1),
        (("https://example.org/a/../talk.mp3", "https://example.org/talk.mp3"), 2),
        (("stdin", "-"), 2),
        (("-", "stdin"), 2),
        (("stdin", "./stdin"), 1),
        (("-", "./-"), 2),
    ],
    ids=str,
)
def test_which_are_the_same(
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    names: tuple[str, str],
    count: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", recording.open())
    for name in ("stdin", "-"):
        Path(name).write_bytes(recording.read_bytes())
    found = find(names, FileErrors(ConsoleProgress(), debug=False))
    assert len(found) == count
    assert [each.audio for each in found if isinstance(each.audio, str)] == [
        name for name in names[:count] if name != "-"
    ]
    printed = capsys.readouterr()
    assert printed.err == ""


def test_recordings_are_opened_before_a_model_is_loaded(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.wav"
    text.write_text("no sound\n" * 100)
    half = tmp_path / "half.flac"
    half.write_bytes((Path(__file__).parents[2] / "audio_samples" / "digits.flac").read_bytes()[:40])
    for path in (text, half, tmp_path / "missing.wav"):
        for command in ("transcribe", "language"):
            assert program.run([command, str(path)]) == 1
            assert str(path) in error_line(capsys)
    assert transcriber.loaded == []


@pytest.mark.parametrize("kind", ["device", "pipe", "file"])
def test_empty_standard_input(
    transcriber: FakeTranscriber,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    if kind == "pipe":
        reading, writing = os.pipe()
        os.close(writing)
        monkeypatch.setattr(sys, "stdin", os.fdopen(reading))
    else:
        path = Path(os.devnull) if kind == "device" else tmp_path / "empty"
        path.touch()
        monkeypatch.setattr(sys, "stdin", path.open())
    assert transcribe("-", "-o", str(tmp_path)) == 1
    assert " is empty" in error_line(capsys)
