"""Each mistake on the command line is one line, in the command line's own words, with its remedy."""

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest

import max_whisper
from max_whisper.cli import program
from max_whisper.cli.arguments import decoding_options, parse
from max_whisper.cli.wording import command_line_words
from max_whisper.errors import DeviceError, OptionError
from max_whisper.options import TranscribeOptions
from max_whisper.options.loading import default_model
from max_whisper.results.formats import SubtitleOptions
from tests.cli.fakes import FakeTranscriber, error_line
from tests.cli.test_arguments import AROUND, ours


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("talk.mp3", "no command before 'talk.mp3'; to write down what it says: max-whisper transcribe talk.mp3;"),
        ("-", "no command before '-'; to write down what it says: max-whisper transcribe -;"),
        ("https://example.org/live", "no command before 'https://example.org/live'; to write down what it says: "),
        (
            "--model tiny talk.mp3",
            "no command before --model; options follow a command: max-whisper transcribe --model",
        ),
        ("transcrib talk.mp3", "no command is called 'transcrib'; did you mean transcribe?;"),
        ("list", "no command is called 'list'; there are transcribe, language, compile, models, cache, demo, "),
        ("benchmark", "no command is called 'benchmark'; there are transcribe, "),  # it needs a clone
        ("transcribe a.mp3 --bean-size 5", "no such option --bean-size; did you mean --beam-size?;"),
        ("transcribe a.mp3 --bean_size=5", "no such option --bean-size; did you mean --beam-size?;"),
        ("transcribe a.mp3 --vad-treshold 1", "no such option --vad-treshold; did you mean --vad-threshold?;"),
        ("language a.mp3 --segmnets 5", "no such option --segmnets; did you mean --segments?;"),
        ("compile --devise cpu", "no such option --devise; did you mean --device?;"),
        ("compile --qqq", "no such option --qqq;"),
        ("models tiny", "argument list: invalid choice: 'tiny'"),
        ("demo --modle tiny", "no such option --modle; did you mean --model?;"),
        ("transcribe a.mp3 --device cuda", "argument --device: unknown device 'cuda': a GPU is called gpu here;"),
        ("transcribe a.mp3 --device CUDA:0", "argument --device: unknown device 'CUDA:0': a GPU is called gpu here;"),
        ("transcribe a.mp3 --device tpu", "argument --device: unknown device 'tpu': choose one of auto, cpu, gpu;"),
        ("transcribe a.mp3 --task transcript", "argument --task: 'transcribe' or 'translate', got 'transcript'; did"),
        ("transcribe a.mp3 --backend tourch", "argument --backend: one of max, hybrid, torch, got 'tourch'; did you"),
        (
            "transcribe a.mp3 --initial-prompt -x",
            "argument --initial-prompt/--prompt: expected one argument; a value that",
        ),
        (
            "transcribe a.mp3 --hotwords -x",
            "argument --hotwords: expected one argument; a value that begins with a hyphen",
        ),
        ("transcribe a.mp3 --temp 1", "ambiguous option: --temp could match --temperature, --temperature-increment"),
    ],
)
def test_mistakes(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command.split()
    assert program.run(arguments) == 2
    line = error_line(capsys)
    assert line.startswith(message)
    page = "max-whisper"
    if arguments[0] in ("transcribe", "language", "compile", "models", "demo"):
        page += f" {arguments[0]}"
    assert line.endswith(f"; see {page} --help")


def test_a_prefix_means_the_option_that_it_means_in_openai_whisper() -> None:
    assert ours(["--lang", "de"])["language"] == "de"
    assert ours(["--word", "True"])["word_timestamps"] is True
    assert ours(["--max-init", "0.5"])["max_initial_timestamp"] == 0.5
    assert ours(["--language-d", "3"])["language_detection_segments"] == 3  # of ours alone, not of another program's


def test_more_workers_than_cores(
    transcriber: FakeTranscriber, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run(["transcribe", str(recording), "--workers", "1000"]) == 2
    line = error_line(capsys)
    assert line.startswith("--workers: ")
    assert "on Linux only" in line or line.endswith("got 1000")
    assert transcriber.loaded == []


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("clip_timestamps: or speech; leave vad_filter away", "--clip-timestamps: or speech; leave --vad-filter away"),
        ('batch_size: add chunking="vad" to decode', "--batch-size: add --chunking vad to decode"),
        ("vad_parameters: threshold is from 0 to 1, got 2.0", "--vad-threshold: is from 0 to 1, got 2.0"),
        ("highlight_words requires word_timestamps=True", "--highlight-words requires --word-timestamps True"),
        ("language: a model of another language", "--language: a model of another language"),
        ("top_p: take the backend max", "--top-p: take the backend max"),
        ("seed: a whole number, got 'beam_size'", "--seed: a whole number, got 'beam_size'"),
        ("'my seed: beam_size=5.mp3' and '/a/best_of/b'", "'my seed: beam_size=5.mp3' and '/a/best_of/b'"),
    ],
)
def test_the_words_of_the_command_line(message: str, words: str) -> None:
    assert command_line_words(message) == words


def test_every_conflict_names_options_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """No name with an underscore is left in what is said of wrong combinations."""
    for options in (
        ["--vad-threshold", "0.5"],
        ["--hotwords", "a", "--prefix", "b"],
        ["--carry-initial-prompt", "True"],
        ["--hallucination-silence-threshold", "2"],
        ["--sample-len", "5", "--max-new-tokens", "6"],
        ["--multilingual", "True", "--language", "de"],
        ["--batch-size", "8"],
        ["--highlight-words", "True"],
        ["--backend", "torch", "--no-repeat-ngram-size", "3"],
        ["--compute-type", "int8", "--backend", "torch"],
        ["--temperature", "0.5", "--beam-size", "5"],
    ):
        assert program.run(["transcribe", "talk.mp3", *options]) == 2
        line = error_line(capsys)
        assert "_" not in line, line
        assert "--" in line


@pytest.mark.parametrize("name", ["language", "suppress_tokens", "prefix", "initial_prompt", "hotwords", "beam_size"])
def test_none_is_written_so(name: str) -> None:
    option = f"--{name.replace('_', '-')}"
    given = TranscribeOptions.from_keywords(ours([option, "None"]))
    assert getattr(given, name) == getattr(TranscribeOptions.from_keywords({name: None}), name)


def test_none_for_the_model_is_the_default() -> None:
    assert parse(["transcribe", "a.mp3", "--model", "None"], {})["model"] == default_model()


def test_none_where_it_is_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--seed", "--task", "--repetition-penalty", "--device"):
        assert program.run(["transcribe", "talk.mp3", option, "None"]) == 2
        assert "None" in error_line(capsys)


LANGUAGES = {
    "auto": None,
    "AUTO": None,
    "EN": "en",
    "en-US": "en",
    "en_GB": "en",
    "zh-CN": "zh",
    "zh-Hant-TW": "zh",
    "zh-yue": "yue",
    "yue-HK": "yue",
    "pt_BR": "pt",
    "pt_BR.UTF-8": "pt",
    "de_DE@euro": "de",
    "es-419": "es",
    "sr-Latn-RS": "sr",
    "nb-NO": "no",
    "nb": "no",
    "iw": "he",
    "fil-PH": "tl",
    "cmn-Hans-CN": "zh",
    "jv-ID": "jw",
    " German ": "de",
    "Haitian Creole": "ht",
}


@pytest.mark.parametrize("given", LANGUAGES)
def test_languages(given: str) -> None:
    assert TranscribeOptions(language=given).language == LANGUAGES[given]
    assert TranscribeOptions.from_keywords(ours(["--language", given])).language == LANGUAGES[given]


@pytest.mark.parametrize("given", ["no-such-language", "xx-US", "en-", "en-USA", "C", "POSIX", "en US", "klingon", ""])
def test_no_languages(given: str) -> None:
    with pytest.raises(OptionError, match=r"^language: Whisper has no language "):
        TranscribeOptions(language=given)


@pytest.mark.parametrize(
    ("function", "keywords", "message"),
    [
        (max_whisper.TranscribeOptions, {"bean_size": 5}, "bean_size: no such option; did you mean beam_size?"),
        (max_whisper.TranscribeOptions, {"num_beams": 5}, "num_beams: no such option; give beam_size"),
        (max_whisper.VadParameters, {"treshold": 0.5}, "vad_parameters: no field 'treshold'; did you mean threshold?"),
        (SubtitleOptions, {"max_line_widht": 40}, "max_line_widht: no such option; did you mean max_line_width?"),
        (max_whisper.load_model, {"divice": "cpu"}, "divice: no such option; did you mean device?"),
        (max_whisper.load_model, {"download_root": "x"}, "download_root: no such option; set MAX_WHISPER_CACHE"),
        (max_whisper.load_model, {"cpu_threads": 2}, "cpu_threads: no such option; give threads"),
        (max_whisper.compile_model, {"compute": "int8"}, "compute: no such option; did you mean compute_type?"),
    ],
)
def test_misspelt_keywords_of_the_library(function: Any, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as raised:
        function(**keywords)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    "options", [max_whisper.TranscribeOptions(beam_size=2), max_whisper.VadParameters(threshold=0.4)]
)
def test_options_can_be_copied_and_sent_to_another_process(options: Any) -> None:
    assert pickle.loads(pickle.dumps(options)) == copy.deepcopy(options) == dataclasses.replace(options) == options


def test_a_gpu_by_another_name() -> None:
    for name in ("cuda", "cuda:1", "mps", "rocm"):
        with pytest.raises(DeviceError, match="a GPU is called gpu here"):
            max_whisper.load_model("nano", device=name)


@pytest.mark.parametrize("options", [["--language", "de"], []])
def test_nano_with_another_language_is_warned_of(
    transcriber: FakeTranscriber,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    monkeypatch.setattr("tests.cli.fakes.Stream.language", "de")
    for model, lines in (("nano", 1), ("tiny", 0)):
        arguments = ["transcribe", str(recording), "--model", model, "-o", str(tmp_path), *options]
        assert program.run(arguments) == 0
        warned = capsys.readouterr().err.splitlines()
        assert len(warned) == lines
        assert all(
            line.startswith("max-whisper: warning: nano knows English only, and this is German") for line in warned
        )


def test_options_are_made_once(
    transcriber: FakeTranscriber, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every value of the command line reaches the model as it was checked."""
    assert program.run(["transcribe", str(recording), "--hotwords", "MAX", "--seed", "3", "-o", str(tmp_path)]) == 0
    values = {name: value for name, value in parse(["transcribe", "a.mp3"], {}).items() if name not in AROUND}
    expected = TranscribeOptions(**{**decoding_options(values), "hotwords": "MAX", "seed": 3})
    assert transcriber.heard[0][1] == vars(expected)
