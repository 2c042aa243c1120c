"""The command line: what it prints and writes, and how it ends when something is wrong."""

import io
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import max_whisper.transcriber
import max_whisper.transcription.workers
from max_whisper.audio import SAMPLE_RATE
from max_whisper.cli import program
from max_whisper.cli.console import ConsoleProgress
from max_whisper.errors import AudioError, CheckpointError
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS
from max_whisper.progress import Step
from max_whisper.results import RecordingEvent, Segment, Transcription, Word
from max_whisper.version import __version__
from tests.cli.fakes import READING, SEGMENTS, TEXT, TRANSCRIPTION, FakeTranscriber, Stream, error_line


def python(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, **options)


def test_transcribe_prints_segments_and_writes_every_format(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "results"
    assert program.run(["transcribe", str(recording), "--output-dir", str(folder)]) == 0
    assert capsys.readouterr().out == TEXT
    assert {path.name for path in folder.iterdir()} == {
        f"talk.v2.{suffix}" for suffix in ("txt", "vtt", "srt", "tsv", "json")
    }
    assert (folder / "talk.v2.txt").read_text() == "one two\nthree [bold]four[/bold]\n"
    assert transcriber.heard[0][0] == 2 * SAMPLE_RATE


def test_the_model_is_loaded_as_asked(transcriber: FakeTranscriber, recording: Path, tmp_path: Path) -> None:
    arguments = ["transcribe", str(recording), "-o", str(tmp_path)]
    assert program.run(arguments) == 0
    chosen = ["--model", "tiny", "--backend", "hybrid", "--device", "cpu", "--compute_type", "float32"]
    assert program.run([*arguments, *chosen, "--threads", "2"]) == 0
    assert transcriber.loaded == [
        (None, {"backend": "max", "device": "auto", "compute_type": "auto", "threads": 0}),
        ("tiny", {"backend": "hybrid", "device": "cpu", "compute_type": "float32", "threads": 2}),
    ]


def test_options_in_both_spellings(transcriber: FakeTranscriber, recording: Path, tmp_path: Path) -> None:
    options = ["--output_dir", str(tmp_path / "a_b"), "--output_format=srt", "--no_speech_threshold", "None"]
    options += ["--condition-on-previous-text", "False", "--language", "German", "--task", "translate"]
    assert program.run(["transcribe", *options, "--verbose", "False", str(recording)]) == 0
    assert [path.name for path in (tmp_path / "a_b").iterdir()] == ["talk.v2.srt"]
    heard = transcriber.heard[0][1]
    assert heard["no_speech_threshold"] is None
    assert heard["condition_on_previous_text"] is False
    assert heard["task"] == "translate"


def test_the_bar_moves_as_the_transcriber_reports(
    monkeypatch: pytest.MonkeyPatch, transcriber: FakeTranscriber, recording: Path, tmp_path: Path
) -> None:
    shown: list[Step] = []
    monkeypatch.setattr(ConsoleProgress, "__call__", lambda self, step: shown.append(step))
    assert program.run(["transcribe", str(recording), "-o", str(tmp_path)]) == 0
    name = "transcribing talk.v2.wav"
    assert shown == [Step(name, 0, None, "s"), Step(name, 1, 2, "s")]


def test_verbose_false_prints_no_segments(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run(["transcribe", str(recording), "-o", str(tmp_path), "--verbose", "False"]) == 0
    assert capsys.readouterr().out == ""


def test_one_bad_file_does_not_stop_the_others(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, folder = tmp_path / "missing.mp3", tmp_path / "folder"
    folder.mkdir()
    files = [str(missing), str(recording), str(folder)]
    assert program.run(["transcribe", *files, "--model", "nano", "-o", str(tmp_path / "results"), "-f", "txt"]) == 1
    captured = capsys.readouterr()
    assert captured.out == TEXT
    first, second = captured.err.splitlines()
    assert first.startswith("max-whisper: error: ")
    assert str(missing) in first
    assert f"'{folder}' has no recordings" in second
    assert (tmp_path / "results" / "talk.v2.txt").is_file()
    assert len(transcriber.loaded) == 1


@pytest.mark.parametrize("error", [AudioError("talk.v2.wav: too long"), ZeroDivisionError("division by zero")])
def test_a_failed_transcription_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch,
    transcriber: FakeTranscriber,
    recording: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    second = recording.with_name("second.wav")
    second.write_bytes(recording.read_bytes())
    hear = transcriber.stream

    def stream(audio: str, **options: Any) -> Stream:
        if audio == str(recording):
            raise error
        return hear(audio, **options)

    monkeypatch.setattr(transcriber, "stream", stream)
    arguments = ["transcribe", str(recording), str(second), "--model", "nano", "-o", str(tmp_path / "results")]
    assert program.run(arguments) == 1
    assert str(error) in error_line(capsys)
    assert (tmp_path / "results" / "second.txt").is_file()
    assert not (tmp_path / "results" / "talk.v2.txt").exists()


def test_a_result_that_cannot_be_written_does_not_stop_the_others(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = recording.with_name("second.wav")
    second.write_bytes(recording.read_bytes())
    (tmp_path / "results" / "talk.v2.txt").mkdir(parents=True)
    arguments = ["transcribe", str(recording), str(second), "--model", "nano", "-f", "txt"]
    assert program.run([*arguments, "-o", str(tmp_path / "results")]) == 1
    assert "talk.v2.txt" in error_line(capsys)
    assert (tmp_path / "results" / "second.txt").is_file()


def test_what_the_model_cannot_do_is_said_once(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transcriber.dims = OFFICIAL_MODELS["tiny.en"].dims
    arguments = ["transcribe", str(recording), str(recording), "--model", "tiny.en", "--language", "de"]
    assert program.run([*arguments, "-o", str(tmp_path)]) == 1
    assert "knows English only" in error_line(capsys)


def test_an_english_only_model_detects_no_language(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transcriber.dims = OFFICIAL_MODELS["tiny.en"].dims
    assert program.run(["transcribe", str(recording), "--model", "tiny.en", "-o", str(tmp_path)]) == 0
    assert capsys.readouterr().out == TEXT.removeprefix("Detected language: English\n")


@pytest.mark.parametrize("command", ["transcribe", "language"])
def test_a_model_that_cannot_be_downloaded(
    monkeypatch: pytest.MonkeyPatch,
    recording: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """Without a network: the default is asked for, the advice is in the words of the command line."""
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path / "empty"))
    monkeypatch.delenv("MAX_WHISPER_MODEL", raising=False)

    def no_network(url: str, timeout: float) -> None:
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.chdir(tmp_path)
    assert program.run([command, str(recording)]) == 1
    line = error_line(capsys)
    assert "/large-v3-turbo.pt: cannot be reached (Temporary failure in name resolution)" in line
    assert line.endswith("; --model nano is a small demonstration model that comes with the package")
    assert "load_model" not in line
    monkeypatch.setenv("MAX_WHISPER_MODEL", "base")
    assert program.run([command, str(recording)]) == 1
    assert "/base.pt: cannot be reached" in error_line(capsys)


def test_models_are_compiled_for_the_default_where_none_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def compile_model(model: str, **_: Any) -> Path:
        asked.append(model)
        return tmp_path

    monkeypatch.setattr(max_whisper.transcriber, "compile_model", compile_model)
    monkeypatch.delenv("MAX_WHISPER_MODEL", raising=False)
    assert program.run(["compile"]) == 0
    monkeypatch.setenv("MAX_WHISPER_MODEL", "tiny")
    assert program.run(["compile"]) == 0
    assert asked == ["turbo", "tiny"]


def test_no_model_is_loaded_where_no_file_can_be_read(transcriber: FakeTranscriber, tmp_path: Path) -> None:
    assert program.run(["transcribe", str(tmp_path / "missing.mp3"), "-o", str(tmp_path)]) == 1
    assert transcriber.loaded == []


def bad_files(folder: Path) -> dict[str, Path]:
    import av

    empty, text, video = folder / "empty.wav", folder / "text.wav", folder / "silent_film.mp4"
    inner = folder / "folder"
    inner.mkdir()
    empty.touch()
    text.write_text("these are words, not sounds\n" * 50)
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return {"missing": folder / "missing.wav", "folder": inner, "empty": empty, "text": text, "video": video}


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "video"])
def test_a_file_that_is_no_recording_is_one_line(
    transcriber: FakeTranscriber, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    path = bad_files(tmp_path)[kind]
    assert program.run(["transcribe", str(path), "--model", "nano", "-o", str(tmp_path)]) == 1
    assert str(path) in error_line(capfd)


def test_unknown_model(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["transcribe", str(recording), "--model", "tinny", "-o", str(tmp_path)]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("max-whisper: error: no model is called 'tinny'; did you mean tiny")


def test_unknown_language_is_reported_before_anything_is_loaded(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run(["transcribe", str(recording), "--language", "klingon", "-o", str(tmp_path)]) == 2
    assert "'klingon'" in error_line(capsys)
    assert transcriber.loaded == []


def test_unwritable_output_folder_is_reported_before_anything_is_loaded(
    transcriber: FakeTranscriber, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recording / "results"  # below a file there can be no folder, not even for root
    assert program.run(["transcribe", str(recording), "--output-dir", str(folder)]) == 1
    line = error_line(capsys)
    assert str(folder) in line
    assert "--output-dir" in line
    assert transcriber.loaded == []


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        ([], "COMMAND"),
        (["transcribe"], "FILE"),
        (["transcribe", "a.wav", "--beams", "5"], "--beams"),
        (["transcribe", "a.wav", "--backend", "jax"], "'jax'"),
        (["transcribe", "a.wav", "--device", "tpu"], "'tpu'"),
        (["transcribe", "a.wav", "--compute-type", "float8"], "'float8'"),
        (["transcribe", "a.wav", "--threads", "-1"], "--threads: a number of at least 1"),
        (["transcribe", "a.wav", "--verbose", "yes"], "True or False"),
        (["transcribe", "a.wav", "--no-speech-threshold", "high"], "invalid number value: 'high'"),
        (["transcripe", "a.wav"], "'transcripe'; did you mean transcribe?"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(
    arguments: list[str], mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run(arguments) == 2
    line = error_line(capsys)
    assert mistake in line
    assert "--help" in line


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        (["--temperature", "-1"], "--temperature: a number of at least 0"),
        (["--temperature", "nan"], "--temperature: a number of at least 0"),
        (["--output-format", "doc"], "--output_format: no format is called 'doc'; there are txt, "),
        (["--workers", "0"], "--workers: a number of at least 1"),
        (
            ["--temperature-increment-on-fallback", "0"],
            "--temperature_increment_on_fallback: a number of at least 0.01",
        ),
        (["--temperature-increment-on-fallback", "nan"], "--temperature_increment_on_fallback: a number of at least"),
        (["--temperature", "0.5", "--beam-size", "5"], "--beam_size: beams are searched at temperature 0"),
        (["--temperature-increment-on-fallback", "None", "--best-of", "5"], "--best_of: tokens are drawn at"),
        (["--batch-size", "0"], "--batch_size: a number of windows of at least 1"),
        (
            ["--batch-size", "8"],
            "--batch_size: the windows of one recording follow each other; add --chunking vad to decode",
        ),
        (["--clip-timestamps", "5,3"], "--clip_timestamps: times in seconds must ascend"),
        (["--vad-threshold", "0.5"], "--vad_parameters: speech is not looked for"),
        (["--backend", "torch", "--hotwords", "MAX"], "--hotwords: is not in openai-whisper"),
        (["--highlight-words", "True"], "--highlight_words requires --word_timestamps True"),
        (["--max_line_width", "40"], "--max_line_width requires --word_timestamps True"),
        (["--max-line-count", "2"], "--max_line_count requires --word_timestamps True"),
        (["--max-words-per-line", "3"], "--max_words_per_line requires --word_timestamps True"),
        (["--word-timestamps", "True", "--max-line-width", "-1"], "--max_line_width: a number of at least 1"),
    ],
)
def test_an_option_that_cannot_be_is_reported_before_anything_is_loaded(
    transcriber: FakeTranscriber, recording: Path, capsys: pytest.CaptureFixture[str], options: list[str], mistake: str
) -> None:
    assert program.run(["transcribe", str(recording), *options]) == 2
    assert error_line(capsys).startswith(mistake.replace("_", "-").replace("vad-parameters", "vad-..."))
    assert transcriber.loaded == []


def test_standard_input(
    monkeypatch: pytest.MonkeyPatch, transcriber: FakeTranscriber, recording: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(recording.read_bytes())))
    assert program.run(["transcribe", "-", str(recording), "-o", str(tmp_path), "-f", "txt"]) == 0
    assert [n_samples for n_samples, _ in transcriber.heard] == [2 * SAMPLE_RATE] * 2
    assert (tmp_path / "stdin.txt").is_file()
    assert (tmp_path / "talk.v2.txt").is_file()


def test_standard_input_is_given_once(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["transcribe", "-", str(recording), "-"]) == 2
    assert error_line(capsys).startswith("-: standard input can be read only once")


def test_standard_input_is_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert program.run(["transcribe", "-"]) == 2
    assert error_line(capsys).startswith("-: nothing is piped into standard input")


def test_a_batch_of_files(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second, bad = recording.with_name("second.wav"), recording.with_name("bad.wav")
    second.write_bytes(recording.read_bytes())
    bad.write_text("these are words, not sounds\n" * 50)
    files = [str(recording), str(tmp_path / "missing.wav"), str(bad), str(second)]
    options = ["--batch-size", "4", "--clip-timestamps", "0,1", "--model", "tiny", "-f", "txt"]
    assert program.run(["transcribe", *files, *options, "-o", str(tmp_path / "results")]) == 1
    captured = capsys.readouterr()
    assert captured.out == TEXT * 2
    first_line, second_line = captured.err.splitlines()
    assert "missing.wav" in first_line
    assert "bad.wav" in second_line
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"talk.v2.txt", "second.txt"}
    assert [(options["together"], options["batch_size"]) for _, options in transcriber.heard] == [(True, 4)] * 2


def test_chunks_of_several_files(transcriber: FakeTranscriber, recording: Path, tmp_path: Path) -> None:
    second = recording.with_name("second.wav")
    second.write_bytes(recording.read_bytes())
    arguments = ["transcribe", str(recording), str(second), "--chunking", "vad", "--batch-size", "4"]
    assert program.run([*arguments, "-o", str(tmp_path)]) == 0
    assert len(transcriber.heard) == 2
    for _, heard in transcriber.heard:
        assert (heard["chunking"], heard["batch_size"]) == ("vad", 4)
        assert "together" not in heard


def test_worker_processes(
    monkeypatch: pytest.MonkeyPatch, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    class FakeWorkers:
        def __init__(self, files: Any, groups: Any, load: Any, loading: Any, options: Any, *hearers: Any) -> None:
            asked.extend([files, groups, loading["compute_type"], options["options"].temperature])
            hearers[0](OFFICIAL_MODELS["tiny"].dims)

        def events(self) -> Iterator[RecordingEvent]:
            for segment in SEGMENTS:  # the second recording is done before the first has begun
                yield RecordingEvent(1, segment, "en")
            yield RecordingEvent(1, TRANSCRIPTION)
            assert written.exists()
            yield RecordingEvent(0, AudioError("no audio"))

    monkeypatch.setattr(max_whisper.transcription.workers, "Workers", FakeWorkers)
    monkeypatch.setattr(
        max_whisper.transcription.workers, "core_groups", lambda count: [[number] for number in range(count)]
    )
    bad = tmp_path / "bad.wav"
    bad.write_bytes(recording.read_bytes())
    written = tmp_path / f"{recording.stem}.txt"
    arguments = ["transcribe", str(bad), str(recording), "-o", str(tmp_path), "-f", "txt"]
    options = ["--model", "tiny", "--compute-type", "int8", "--temperature-increment-on-fallback", "None"]
    assert program.run([*arguments, *options, "--workers", "8"]) == 1
    assert asked == [[str(bad), str(recording)], [[0], [1]], "int8", (0.0,)]  # no more processes than files
    printed = capsys.readouterr()
    assert printed.out == TEXT
    assert printed.err == "max-whisper: error: no audio\n"


def test_a_batch_of_one_file_is_its_speech(transcriber: FakeTranscriber, recording: Path, tmp_path: Path) -> None:
    options = ["--chunking", "vad", "--batch-size", "4", "--vad-threshold", "0.4", "--vad-speech-pad-ms", "200"]
    assert program.run(["transcribe", str(recording), *options, "-o", str(tmp_path)]) == 0
    ((_, heard),) = transcriber.heard
    assert (heard["chunking"], heard["batch_size"]) == ("vad", 4)
    assert heard["vad_parameters"] == {"threshold": 0.4, "speech_pad_ms": 200}


def test_subtitles_of_words(
    monkeypatch: pytest.MonkeyPatch,
    transcriber: FakeTranscriber,
    recording: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (Word(" one", 0.0, 0.5, 0.9), Word(" two", 0.5, 1.5, 0.9))
    segment = Segment(0, 0, 0.0, 1.5, " one two", (1, 2), 0.0, -0.1, 1.0, 0.01, words)
    monkeypatch.setattr(Stream, "transcription", lambda self: Transcription(" one two", (segment,), "en"))
    options = ["--word_timestamps", "True", "--max_words_per_line", "1", "-f", "srt", "--model", "tiny"]
    arguments = ["transcribe", str(recording), *options, "-o", str(tmp_path)]
    assert program.run(arguments) == 0
    lines = ["1", "00:00:00,000 --> 00:00:00,500", "one", "", "2", "00:00:00,500 --> 00:00:01,500", "two", "", ""]
    assert (tmp_path / "talk.v2.srt").read_text() == "\n".join(lines)
    assert capsys.readouterr().err == ""
    assert program.run([*arguments, "--max_line_width", "9"]) == 0
    assert capsys.readouterr().err == "max-whisper: warning: --max-words-per-line has no effect with --max-line-width\n"


def test_language(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "missing.wav")
    assert program.run(["language", missing, str(recording), "--model", "tiny", "--segments", "3"]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"{recording}: German (de) 94.0%, Dutch (nl) 4.0%, English (en) 1.8%\n"
    assert missing in captured.err
    ((n_samples, heard),) = transcriber.heard
    assert (n_samples, heard["segments"]) == (2 * SAMPLE_RATE, 3)
    transcriber.dims = OFFICIAL_MODELS["tiny.en"].dims
    assert program.run(["language", str(recording), "--model", "tiny.en"]) == 1
    assert "knows English only" in error_line(capsys)


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        (["--threads", "-1"], "--threads: a number of at least 1"),
        (["--model", "tiny", "--segments", "0"], "--segments: a number of windows of at least 1"),
    ],
)
def test_a_language_that_cannot_be_told(
    transcriber: FakeTranscriber, capsys: pytest.CaptureFixture[str], options: list[str], mistake: str
) -> None:
    assert program.run(["language", "talk.wav", *options]) == 2
    assert mistake in error_line(capsys)
    assert transcriber.loaded == []


def test_tracebacks_only_with_debug(
    monkeypatch: pytest.MonkeyPatch, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise CheckpointError("m.pt: is not\na Whisper checkpoint")

    monkeypatch.setattr(max_whisper.transcriber, "load_model", fail)
    arguments = ["transcribe", str(recording), "--model", "m.pt", "-o", str(tmp_path)]
    assert program.run(arguments) == 1
    assert error_line(capsys) == "m.pt: is not a Whisper checkpoint"
    assert program.run([*arguments, "--debug"]) == 1
    captured = capsys.readouterr().err
    assert "Traceback" in captured
    assert captured.splitlines()[-1] == "max-whisper: error: m.pt: is not a Whisper checkpoint"


@pytest.mark.parametrize(
    ("text", "shown"), [("division by zero", "division by zero"), ("a page\n" * 1000, "a page " * 42 + "a page...")]
)
def test_an_unexpected_exception_is_named(
    monkeypatch: pytest.MonkeyPatch,
    recording: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    shown: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError(text)

    monkeypatch.setattr(max_whisper.transcriber, "load_model", fail)
    assert program.run(["transcribe", str(recording), "--model", "nano", "-o", str(tmp_path)]) == 1
    assert error_line(capsys) == f"unexpected ZeroDivisionError: {shown} (--debug shows where)"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["--version"]) == 0
    assert capsys.readouterr().out == f"max-whisper {__version__}\n"


def test_help_imports_neither_torch_nor_max() -> None:
    result = python("-X", "importtime", "-m", "max_whisper", "transcribe", "--help")
    assert result.returncode == 0
    assert "--output-format" in result.stdout
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "max_whisper.cli" in imported
    assert imported.isdisjoint({"torch", "max", "whisper", "rich", "av", "numpy", "tiktoken", "safetensors"})


def test_compile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiled = tmp_path / "compiled.mef"
    compiled.write_bytes(bytes(2_000_000))
    asked: list[tuple[str, str, str]] = []

    def compile_model(model: str, *, device: str, compute_type: str, progress: Any) -> Path:
        if model == "tinny":
            raise CheckpointError("no model is called 'tinny'")
        asked.append((model, device, compute_type))
        return compiled

    monkeypatch.setattr(max_whisper.transcriber, "compile_model", compile_model)
    assert program.run(["compile", "tinny", "tiny", "nano", "--device", "cpu", "--compute-type", "int8,float32"]) == 1
    printed = capsys.readouterr()
    assert asked == [(model, "cpu", name) for model in ("tiny", "nano") for name in ("int8", "float32")]
    assert printed.out.splitlines()[0] == f"tiny, int8: 2 MB in 0 s, {compiled}"
    assert "no model is called 'tinny'" in printed.err
    assert program.run(["compile", "tiny", "--compute-type", "int8,float8"]) == 2
    assert "'float8'" in error_line(capsys)


@pytest.mark.parametrize("arguments", [["models"], ["models", "list"]])
def test_models(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "tiny.pt").write_bytes(bytes(3_000_000))
    assert program.run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    (nano,) = [line for line in lines if line.startswith("nano")]
    (tiny,) = [line for line in lines if line.startswith("tiny ")]
    (turbo,) = [line for line in lines if line.startswith("turbo ")]
    assert "bundled" in nano
    assert "yes, 3 MB" in tiny
    assert "no" in turbo.split()[4]
    assert any(str(tmp_path) in line for line in lines)
    assert any(line.split() == ["checkpoints", "3", "MB", "in", "1", "file"] for line in lines)


def test_comparisons_are_found_and_explain_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["demo", "--help"]) == 0
    assert "usage: max-whisper demo" in capsys.readouterr().out


def test_an_error_in_a_comparison_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["demo", "no_such_file.wav"]) == 1
    assert "no_such_file.wav" in error_line(capsys)
    assert program.run(["demo", "--backends", "jax"]) == 2
    assert "'jax'" in error_line(capsys)
    assert program.run(["demo", "--no-such-option"]) == 2
    assert "--no-such-option" in error_line(capsys)


def write_raw(path: Path, seconds: int = 2) -> Path:
    path.write_bytes(np.zeros((seconds * 8_000, 2), dtype="<i2").tobytes())
    return path


def test_raw_samples_a_track_and_a_channel(transcriber: FakeTranscriber, recording: Path, tmp_path: Path) -> None:
    raw = ["--input-format", "s16le", "--sample_rate", "8000", "--input-channels", "2"]
    path = write_raw(tmp_path / "talk.raw")
    assert program.run(["transcribe", str(path), *raw, "--channel", "right", "-o", str(tmp_path)]) == 0
    assert program.run(["language", str(path), *raw, "--channel", "2", "--model", "tiny"]) == 0
    options = ["--audio-track", "1", "--channel", "FC", "--container-times", "False"]
    assert program.run(["transcribe", str(recording), *options, "-o", str(tmp_path)]) == 0
    assert [n_samples for n_samples, _ in transcriber.heard] == [2 * SAMPLE_RATE] * 3
    heard = [[options[name] for name in READING] for _, options in transcriber.heard]
    given = dict(zip(READING, heard[0], strict=True))
    assert given == {
        "audio_track": None,
        "channel": "right",
        "container_times": True,
        "input_format": "s16le",
        "sample_rate": 8_000,
        "input_channels": 2,
    }
    assert heard[1] == list({**given, "channel": "2"}.values())
    assert heard[2] == [1, "FC", False, None, None, 1]


def test_raw_samples_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, transcriber: FakeTranscriber, tmp_path: Path
) -> None:
    content = write_raw(tmp_path / "talk.raw", 3).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    raw = ["--input-format", "s16le", "--sample-rate", "8000", "--input-channels", "2"]
    assert program.run(["transcribe", "-", *raw, "-o", str(tmp_path)]) == 0
    assert transcriber.heard[0][0] == 3 * SAMPLE_RATE


@pytest.mark.parametrize("command", ["transcribe", "language"])
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--input-format", "s16le"], "--input-format: raw s16le does not state its rate; give --sample-rate too"),
        (["--input-format", "s17le", "--sample-rate", "8000"], "--input-format: one of u8, s8, mulaw, alaw, "),
        (
            ["--sample-rate", "8000"],
            "--sample-rate: files state their own; it is for raw samples",
        ),
        (["--sample-rate", "8", "--input-format", "u8"], "--sample-rate: whole Hz from 1000 to 768000, got 8"),
        (["--input-channels", "2"], "--input-channels: files state their own; it is for raw samples"),
        (["--audio-track", "0"], "--audio-track: a number from 1 on, or a language such as 'eng', got '0'"),
        (["--channel", "-1"], "--channel: a number from 1 on, or a name such as 'left' or 'FC', got '-1'"),
    ],
)
def test_options_of_reading_that_cannot_be(
    transcriber: FakeTranscriber,
    recording: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    options: list[str],
    line: str,
) -> None:
    assert program.run([command, str(recording), *options]) == 2
    assert error_line(capsys).startswith(line)
    assert transcriber.loaded == []


def test_a_track_that_is_not_there(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run(["transcribe", str(recording), "--audio-track", "2", "-o", str(tmp_path)]) == 1
    assert error_line(capsys) == (
        f"'{recording}' has no audio track 2; give one of those it has as audio_track: 1, pcm_s16le, mono"
    )
