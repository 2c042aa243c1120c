"""The command line's options against those of openai-whisper's command line."""

import argparse
import importlib
import sys
from dataclasses import fields
from typing import Any

import pytest
import whisper

from max_whisper.audio.vad import VadParameters
from max_whisper.cli.arguments import LOADING, OUTPUT, SUBTITLES, decoding_options, parse, subtitle_options
from max_whisper.options import LoadOptions, TranscribeOptions
from max_whisper.options.foreign_names import FOREIGN_NAMES

# What the command line has that does not reach TranscribeOptions.
AROUND = {"command", "files", *OUTPUT, "workers", "debug", *LOADING, *SUBTITLES}

openai = importlib.import_module("whisper.transcribe")


def ours(arguments: list[str]) -> dict[str, Any]:
    """The options that our command line makes of arguments."""
    values = parse(["transcribe", "talk.mp3", *arguments], {})
    return decoding_options({name: value for name, value in values.items() if name not in AROUND})


def theirs(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options with which openai-whisper's command line calls `transcribe`."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(openai, "transcribe", lambda model, audio, **options: calls.append(options))
    monkeypatch.setattr(openai, "get_writer", lambda *_: lambda *_, **__: None)
    monkeypatch.setattr(whisper, "load_model", lambda *_, **__: None)
    monkeypatch.setattr(sys, "argv", ["whisper", "talk.mp3", *arguments])
    openai.cli()
    (options,) = calls
    return {name: value for name, value in options.items() if name not in ("verbose", "fp16")}


def their_actions(monkeypatch: pytest.MonkeyPatch) -> dict[str, argparse.Action]:
    """The options of openai-whisper's parser by name."""
    parsers: list[argparse.ArgumentParser] = []

    def parse_args(parser: argparse.ArgumentParser) -> None:
        parsers.append(parser)
        raise SystemExit

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    with pytest.raises(SystemExit):
        openai.cli()
    return {action.dest: action for action in parsers[0]._actions}


def test_names_and_defaults_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    values = parse(["transcribe", "talk.mp3"], {})
    with monkeypatch.context() as context:
        actions = their_actions(context)
    assert actions.keys() - values.keys() == {
        *("help", "audio", "beam_size", "best_of"),  # compared below, or never a value
        *("fp16", "model_dir"),  # refused, with what takes their place
    }
    assert {"fp16", "model_dir"} <= FOREIGN_NAMES.keys()
    for name in (actions.keys() & values.keys()) - {"device", "model"}:
        assert values[name] == actions[name].default, name
    monkeypatch.delenv("MAX_WHISPER_MODEL", raising=False)
    assert LoadOptions(values["model"]).model == actions["model"].default
    both = {name: getattr(decoding_options_of([]), name) for name in ("beam_size", "best_of")}
    assert both == {name: actions[name].default for name in both}


def decoding_options_of(arguments: list[str]) -> TranscribeOptions:
    return TranscribeOptions.from_keywords(ours(arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--temperature", "0.4"],
        ["--temperature", "0.1", "--temperature_increment_on_fallback", "0.3"],
        ["--temperature_increment_on_fallback", "0.1", "--beam_size", "None", "--best_of", "3"],
        ["--temperature", "0.5", "--temperature_increment_on_fallback", "None"],
        ["--beam_size", "2", "--patience", "1.5", "--length_penalty", "0.6"],
        ["--initial_prompt", "Names: Ada", "--carry_initial_prompt", "True", "--condition_on_previous_text", "False"],
        ["--suppress_tokens", "", "--language", "German", "--task", "translate"],
        ["--clip_timestamps", "1,2.5,7", "--no_speech_threshold", "None", "--logprob_threshold=-0.5"],
        ["--word_timestamps", "True", "--hallucination_silence_threshold", "2", "--append_punctuations", ".,"],
        ["--compression_ratio_threshold", "1.5", "--prepend_punctuations", "("],
    ],
)
def test_the_same_arguments_are_the_same_options(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = theirs(arguments, monkeypatch)
    # Where one temperature has no use for beams or samples, openai-whisper drops them later.
    temperatures = [*expected["temperature"]]
    if 0 not in temperatures:
        expected["beam_size"] = None
    if max(temperatures) == 0:
        expected["best_of"] = None
    hyphens = [argument.replace("_", "-") if argument.startswith("--") else argument for argument in arguments]
    assert decoding_options_of(hyphens) == TranscribeOptions.from_keywords(expected)


def test_greedy_alone_takes_no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    options = decoding_options_of(["--temperature-increment-on-fallback", "None"])
    assert (options.temperatures, options.beam_size, options.best_of) == ((0.0,), 5, None)
    options = decoding_options_of(["--temperature", "1.5"])
    assert (options.temperatures, options.beam_size, options.best_of) == ((1.5,), None, 5)


def test_every_option_is_offered() -> None:
    options = ours([])
    assert options.keys() == {option.name for option in fields(TranscribeOptions)}
    # The command line searches beams and draws several samples by default, as openai-whisper's does.
    library = TranscribeOptions(beam_size=5, best_of=5)
    assert TranscribeOptions.from_keywords({**options, "temperature": library.temperature}) == library


def test_every_parameter_of_voice_activity_is_offered() -> None:
    values = parse(["transcribe", "talk.mp3", "--vad-neg-threshold", "0.2"], {})
    assert {f"vad_{parameter.name}" for parameter in fields(VadParameters)} <= values.keys()
    given = decoding_options({name: value for name, value in values.items() if name not in AROUND})
    assert given["vad_parameters"] == {"neg_threshold": 0.2}


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--fp16", "--compute-type says how numbers are kept"),
        ("--cpu-threads", "give --threads"),
        ("--num-workers", "give --workers"),
        ("--model-dir", "set MAX_WHISPER_CACHE in the environment"),
        ("--log-prob-threshold", "give --logprob-threshold"),
        ("--no-timestamps", "give --without-timestamps"),
        ("--vad", "give --vad-filter"),
    ],
)
def test_names_of_other_programs_are_refused_with_a_hint(
    option: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        parse(["transcribe", "talk.mp3", option, "x"], {})
    assert raised.value.code == 2
    assert f"no such option {option}: {hint}; see max-whisper transcribe --help" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "notes"),
    [
        ({"highlight_words": True}, []),
        ({"max_line_width": 40, "max_line_count": 2}, []),
        ({"max_line_count": 2}, ["max_line_count has no effect without max_line_width"]),
        ({"max_line_width": 4, "max_words_per_line": 2}, ["max_words_per_line has no effect with max_line_width"]),
    ],
)
def test_options_of_subtitles(given: dict[str, Any], notes: list[str]) -> None:
    values = {**dict.fromkeys(SUBTITLES), "word_timestamps": True, **given}
    assert subtitle_options(values) == (given, notes)


def test_compatible_files_need_no_words() -> None:
    values = parse(["transcribe", "talk.mp3", "--compatible", "True"], {})
    assert subtitle_options(values) == ({"compatible": True}, [])
    assert subtitle_options(parse(["transcribe", "talk.mp3"], {})) == ({}, [])
