"""Options are checked at the door, each with its one line."""

import inspect
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest
import whisper

from max_whisper.audio.reading import RAW_FORMATS, ReadingOptions
from max_whisper.checks import one_line
from max_whisper.definitions import FASTER, OPENAI, options_of
from max_whisper.errors import OptionError
from max_whisper.models.whisper.tokenizer import get_tokenizer
from max_whisper.options import NOT_IN_REFERENCE, TranscribeOptions
from max_whisper.options.foreign_names import FOREIGN_NAMES
from tests.decoding.scripted import dimensions

NAN = float("nan")
INFINITY = float("inf")

_TRACK = "a number from 1 on, or a language such as 'eng'"
_CHANNEL = "a number from 1 on, or a name such as 'left' or 'FC'"
_RAW = f"one of {', '.join(RAW_FORMATS)}"

WRONG_VALUES: list[tuple[str, Any, str]] = [
    ("audio_track", 0, f"{_TRACK}, got 0"),
    ("audio_track", "-1", f"{_TRACK}, got '-1'"),
    ("audio_track", 1.0, f"{_TRACK}, got 1.0"),
    ("audio_track", " ", f"{_TRACK}, got ' '"),
    ("channel", 0, f"{_CHANNEL}, got 0"),
    ("channel", True, f"{_CHANNEL}, got True"),
    ("channel", ["left"], f"{_CHANNEL}, got ['left']"),
    ("container_times", None, "True or False, got None"),
    ("clamp_timestamps", None, "True or False, got None"),
    ("input_format", "s16", f"{_RAW}, got 's16'"),
    ("input_format", "wav", f"{_RAW}, got 'wav'"),
    ("input_format", 16, f"{_RAW}, got 16"),
    ("sample_rate", 999, "whole Hz from 1000 to 768000, got 999"),
    ("sample_rate", 44_100.0, "whole Hz from 1000 to 768000, got 44100.0"),
    ("input_channels", 0, "a number of channels from 1 to 64, got 0"),
    ("input_channels", None, "a number of channels from 1 to 64, got None"),
    ("language", "Germn", "Whisper has no language 'Germn'; did you mean german"),
    ("language", 7, "a code, a name, or auto, got 7"),
    ("task", "summarize", "'transcribe' or 'translate', got 'summarize'"),
    ("task", None, "'transcribe' or 'translate', got None"),
    ("task", ["translate"], "'transcribe' or 'translate', got ['translate']"),
    ("multilingual", "yes", "True or False, got 'yes'"),
    ("language_detection_segments", 0, "a number of windows of at least 1, got 0"),
    ("language_detection_segments", None, "a number of windows of at least 1, got None"),
    ("temperature", -0.1, "a number of at least 0, or a list of them, got -0.1"),
    ("temperature", (0.0, -0.2), "a number of at least 0, or a list of them, got (0.0, -0.2)"),
    ("temperature", (), "a number of at least 0, or a list of them, got ()"),
    ("temperature", None, "a number of at least 0, or a list of them, got None"),
    ("temperature", NAN, "a number of at least 0, or a list of them, got nan"),
    ("temperature", [INFINITY], "a number of at least 0, or a list of them, got [inf]"),
    ("temperature", False, "a number of at least 0, or a list of them, got False"),
    ("temperature", "0.2", "a number of at least 0, or a list of them, got '0.2'"),
    ("temperature", [[0.0]], "a number of at least 0, or a list of them, got [[0.0]]"),
    ("best_of", 0, "a number of samples of at least 1, or None, got 0"),
    ("best_of", True, "a number of samples of at least 1, or None, got True"),
    ("beam_size", 0, "a number of beams of at least 1, or None, got 0"),
    ("beam_size", 2.0, "a number of beams of at least 1, or None, got 2.0"),
    ("patience", 0, "a number above 0, or None, got 0"),
    ("patience", INFINITY, "a number above 0, or None, got inf"),
    ("length_penalty", 1.1, "a number from 0 to 1, or None, got 1.1"),
    ("length_penalty", -0.1, "a number from 0 to 1, or None, got -0.1"),
    ("top_p", 0, "a probability above 0 and at most 1, or None, got 0"),
    ("top_p", 1.5, "a probability above 0 and at most 1, or None, got 1.5"),
    ("repetition_penalty", 0, "a number above 0; 1 changes nothing, got 0"),
    ("repetition_penalty", None, "a number above 0; 1 changes nothing, got None"),
    ("no_repeat_ngram_size", -1, "a number of tokens; 0 forbids nothing, got -1"),
    ("no_repeat_ngram_size", None, "a number of tokens; 0 forbids nothing, got None"),
    ("seed", -1, "a whole number of at least 0, got -1"),
    ("seed", None, "a whole number of at least 0, got None"),
    ("sample_len", 0, "a number of tokens of at least 1, or None, got 0"),
    ("sample_len", 2.5, "a number of tokens of at least 1, or None, got 2.5"),
    ("max_new_tokens", 0, "a number of tokens of at least 1, or None, got 0"),
    ("compression_ratio_threshold", True, "a number or None, got True"),
    ("logprob_threshold", NAN, "a number or None, got nan"),
    ("no_speech_threshold", "0.6", "a number or None, got '0.6'"),
    ("initial_prompt", 5, "a string or token numbers, got 5"),
    ("initial_prompt", [-1], "a string or token numbers, got [-1]"),
    ("initial_prompt", ["Hello"], "a string or token numbers, got ['Hello']"),
    ("initial_prompt", "so <|en|> he", "a text cannot contain the special token <|en|>; leave it away"),
    ("carry_initial_prompt", 1, "True or False, got 1"),
    ("condition_on_previous_text", None, "True or False, got None"),
    ("prompt_reset_on_temperature", -0.5, "a temperature of at least 0, got -0.5"),
    ("prompt_reset_on_temperature", None, "a temperature of at least 0, got None"),
    ("prefix", 5, "a string or token numbers, got 5"),
    ("prefix", "<|0.00|>", "a text cannot contain the special token <|0.00|>; leave it away"),
    ("hotwords", ["MAX"], "a string, got ['MAX']"),
    ("hotwords", "a <|endoftext|>", "a text cannot contain the special token <|endoftext|>; leave it away"),
    ("suppress_tokens", "1,b", "token numbers, -1 for the usual ones, or None, got '1,b'"),
    ("suppress_tokens", 5, "token numbers, -1 for the usual ones, or None, got 5"),
    ("suppress_tokens", [-2], "token numbers, -1 for the usual ones, or None, got [-2]"),
    ("suppress_tokens", [1.5], "token numbers, -1 for the usual ones, or None, got [1.5]"),
    ("suppress_blank", 1, "True or False, got 1"),
    ("without_timestamps", "yes", "True or False, got 'yes'"),
    ("max_initial_timestamp", -1, "seconds from 0 to 30, or None, got -1"),
    ("max_initial_timestamp", 31.0, "seconds from 0 to 30, or None, got 31.0"),
    ("word_timestamps", None, "True or False, got None"),
    ("clamp_timestamps", "no", "True or False, got 'no'"),
    ("prepend_punctuations", None, "a string of characters, got None"),
    ("append_punctuations", [".", ","], "a string of characters, got ['.', ',']"),
    ("hallucination_silence_threshold", -2, "seconds of at least 0, or None, got -2"),
    ("clip_timestamps", "0,a", "seconds as 'start,end,start,end' or a list of them, got '0,a'"),
    ("clip_timestamps", 30, "seconds as 'start,end,start,end' or a list of them, got 30"),
    ("clip_timestamps", [-1, 2], "seconds as 'start,end,start,end' or a list of them, got [-1, 2]"),
    ("clip_timestamps", [0, INFINITY], "seconds as 'start,end,start,end' or a list of them, got [0, inf]"),
    ("clip_timestamps", [0, NAN], "seconds as 'start,end,start,end' or a list of them, got [0, nan]"),
    ("clip_timestamps", "5,3", "times in seconds must ascend, but the clip from 5 ends at 3"),
    ("clip_timestamps", [5, 5], "times in seconds must ascend, but the clip from 5 ends at 5"),
    ("clip_timestamps", [0, 4.5, 2, 6], "times in seconds must ascend, but 2 comes after 4.5"),
    ("vad_filter", None, "True or False, got None"),
    ("chunking", "silence", "'sequential' or 'vad', got 'silence'"),
    ("chunking", None, "'sequential' or 'vad', got None"),
    ("batch_size", 0, "a number of windows of at least 1, or None, got 0"),
    ("batch_size", "8", "a number of windows of at least 1, or None, got '8'"),
]

CONFLICTS: list[tuple[dict[str, Any], str]] = [
    ({"input_format": "s16le"}, "input_format: raw s16le does not state its rate; give sample_rate too"),
    ({"input_channels": 2, "sample_rate": 8_000}, "input_channels: files state their own; it is for raw samples"),
    ({"input_format": "u8", "sample_rate": 8_000, "audio_track": 1}, "audio_track: raw samples are a single track"),
    ({"input_format": "u8", "sample_rate": 8_000, "channel": 2}, "channel: it is 2, but input_channels 1; give both"),
    ({"beam_size": 5, "temperature": 0.4}, "beam_size: beams are searched at temperature 0"),
    ({"beam_size": 5, "temperature": (0.2, 0.4), "best_of": 5}, "beam_size: beams are searched at temperature 0"),
    ({"best_of": 5, "temperature": 0}, "best_of: tokens are drawn at temperatures above 0"),
    ({"best_of": 5, "temperature": [0.0, 0.0]}, "best_of: tokens are drawn at temperatures above 0"),
    ({"top_p": 0.9, "temperature": 0}, "top_p: tokens are drawn at temperatures above 0"),
    ({"patience": 2.0}, "patience: it is beam search's; give beam_size too"),
    ({"patience": 0.1, "beam_size": 5}, "patience: 5 beams times 0.1 are less than one"),
    ({"max_new_tokens": 5, "sample_len": 6}, "max_new_tokens: it is 5, but sample_len 6"),
    ({"carry_initial_prompt": True}, "carry_initial_prompt: there is none; give initial_prompt too"),
    ({"hotwords": "MAX Graph", "prefix": "And"}, "hotwords: they do nothing where every text begins with a prefix"),
    ({"multilingual": True, "language": "de"}, "multilingual: the language is detected in each window"),
    ({"hallucination_silence_threshold": 2.0}, "hallucination_silence_threshold: it judges by the words; set word_t"),
    ({"vad_parameters": {}}, "vad_parameters: speech is not looked for; set vad_filter"),
    ({"clip_timestamps": "0,5", "vad_filter": True}, "clip_timestamps: the clips or speech that is found, not both"),
    ({"clip_timestamps": [3], "chunking": "vad"}, "clip_timestamps: the clips or speech that is found, not both"),
]

ALLOWED: list[dict[str, Any]] = [
    {"audio_track": "eng", "channel": "left", "container_times": False},
    {"input_format": "s16le", "sample_rate": 48_000, "input_channels": 2, "channel": 2},
    {"sample_rate": 8_000},  # of an array
    {"beam_size": 5, "best_of": 5},
    {"beam_size": 5, "temperature": (0.4, 0.0)},
    {"beam_size": 1, "patience": 2.5, "temperature": 0},
    {"best_of": 3, "temperature": 0.7, "top_p": 1.0},
    {"length_penalty": 0, "temperature": 2.0},
    {"sample_len": 5, "max_new_tokens": 5},
    {"initial_prompt": "Names: MAX", "carry_initial_prompt": True, "condition_on_previous_text": False},
    {"hotwords": "MAX", "initial_prompt": "Hello."},
    {"prefix": "And", "without_timestamps": True},
    {"hallucination_silence_threshold": 0, "word_timestamps": True},
    {"vad_filter": True, "chunking": "vad", "batch_size": 4, "clip_timestamps": "0"},
    {"batch_size": 4, "clip_timestamps": [3]},  # of several recordings
    {"clip_timestamps": "0,5,5,9"},
    {"multilingual": True, "language_detection_segments": 3},
    {"prompt_reset_on_temperature": INFINITY},
]


def message_of(keywords: dict[str, Any]) -> str:
    with pytest.raises(OptionError) as raised:
        TranscribeOptions.from_keywords(keywords)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(("name", "value", "message"), WRONG_VALUES)
def test_wrong_values(name: str, value: Any, message: str) -> None:
    assert message_of({name: value}).startswith(f"{name}: {message}")


@pytest.mark.parametrize(("options", "message"), CONFLICTS)
def test_wrong_combinations(options: dict[str, Any], message: str) -> None:
    assert message_of(options).startswith(message)


@pytest.mark.parametrize("options", ALLOWED)
def test_combinations_that_go_together(options: dict[str, Any]) -> None:
    TranscribeOptions.from_keywords(options)


def test_every_option_has_a_form_and_a_wrong_value() -> None:
    names = [option.name for option in fields(TranscribeOptions)]
    assert [definition.name for definition in options_of(TranscribeOptions)] == names
    assert {name for name, _, _ in WRONG_VALUES} == {*names} - {"vad_parameters"}  # which tests/test_vad.py checks


def test_vad_parameters_are_kept_as_given() -> None:
    given = {"threshold": 0.25}
    options = TranscribeOptions(vad_filter=True, vad_parameters=given)
    given["threshold"] = 7  # the caller's dictionary is the caller's
    assert options.vad_parameters == {"threshold": 0.25}
    assert message_of({"vad_filter": True, "vad_parameters": {"treshold": 0.25}}).startswith("vad_parameters: ")
    assert message_of({"vad_filter": True, "vad_parameters": 0.25}).startswith("vad_parameters: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temprature": 0}, "temprature: no such option; did you mean temperature?"),
        ({"zzz": 0}, "zzz: no such option; available are audio_track, channel, "),
        ({"verbose": None}, "verbose: no such option; the command line prints; in a program, stream() gives"),
        ({"fp16": False}, "fp16: no such option; compute_type of load_model says how numbers are kept"),
        ({"prompt": "Hello"}, "prompt: no such option; give initial_prompt"),
        ({"log_prob_threshold": -1.0}, "log_prob_threshold: no such option; give logprob_threshold"),
        ({"chunk_length": 20}, "chunk_length: no such option; windows have 30 s"),
    ],
)
def test_options_that_do_not_exist(options: dict[str, Any], message: str) -> None:
    assert message_of(options).startswith(message)


def test_hints_name_options_that_exist() -> None:
    names = {option.name for option in fields(TranscribeOptions)}
    assert names.isdisjoint(FOREIGN_NAMES)
    for hint in FOREIGN_NAMES.values():
        if hint.startswith("give ") and "_" in hint:
            assert names & {*hint.replace(",", " ").split()}, hint


def test_names_and_defaults_are_the_references() -> None:
    theirs: dict[str, Any] = {}
    for function in (whisper.transcribe, whisper.DecodingOptions):
        for name, parameter in inspect.signature(function).parameters.items():
            theirs.setdefault(name, parameter.default)
    for argument in ("model", "audio", "decode_options"):
        del theirs[argument]
    ours = {option.name: option.default for option in fields(TranscribeOptions)}
    # The last is set by `transcribe` itself from the text so far.
    assert theirs.keys() - ours.keys() == {"verbose", "fp16", "prompt"}
    reading = {option.name for option in fields(ReadingOptions)}
    own = {"seed", "max_new_tokens", "clamp_timestamps"}
    assert ours.keys() - theirs.keys() == {*NOT_IN_REFERENCE, *own, *reading}
    for name in ours.keys() & theirs.keys():
        assert ours[name] == theirs[name], name


def test_values_are_kept_in_one_form() -> None:
    options = TranscribeOptions(language=" Mandarin", temperature=0, suppress_tokens="-1, 50")
    assert (options.language, options.temperatures, options.suppressed) == ("zh", (0.0,), (-1, 50))
    nothings: list[Any] = [None, "", " ", [], ()]
    assert [TranscribeOptions(suppress_tokens=nothing).suppressed for nothing in nothings] == [()] * 5
    assert TranscribeOptions(suppress_tokens=iter(np.array([3, 4]))).suppressed == (3, 4)
    for infinite in ("no_speech_threshold", "logprob_threshold", "compression_ratio_threshold"):
        assert getattr(TranscribeOptions.from_keywords({infinite: INFINITY}), infinite) == INFINITY


def test_numbers_and_names_of_tracks_and_channels() -> None:
    for given, kept in (("2", 2), (np.int64(2), 2), (" eng ", "eng"), ("FL", "FL"), ("front left", "front left")):
        assert (TranscribeOptions(audio_track=given).audio_track, TranscribeOptions(channel=given).channel) == (
            kept,
        ) * 2
    for given in ("s16le", "pcm_s16le", "PCM_S16LE"):
        assert TranscribeOptions(input_format=given, sample_rate=16_000).input_format == "s16le"


def test_the_backend_torch_takes_the_options_of_reading() -> None:
    options = TranscribeOptions(audio_track=2, channel="left", container_times=False)
    assert options.for_reference() == TranscribeOptions().for_reference()
    raw = TranscribeOptions(input_format="s16le", sample_rate=16_000, input_channels=2)
    assert raw.for_reference() == TranscribeOptions().for_reference()


def test_temperatures_in_every_form_that_scripts_give() -> None:
    grid: list[Any] = [np.arange(0, 1.0 + 1e-6, 0.2), tuple(np.arange(0, 1.0 + 1e-6, 0.2)), list(np.arange(6) * 0.2)]
    for temperature in grid:
        options = TranscribeOptions(temperature=temperature)
        assert options.temperatures == pytest.approx((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
        assert {type(number) for number in options.temperatures} == {float}
    for zero in (0, 0.0, np.float32(0), [0]):
        assert TranscribeOptions.from_keywords({"temperature": zero}).temperature == (0.0,)


def test_clips_in_every_form_that_scripts_give() -> None:
    nothings: list[Any] = ["0", "", " ", [], (0,), np.array([0.0])]
    for nothing in nothings:
        assert TranscribeOptions.from_keywords({"clip_timestamps": nothing}).clips == (0.0,)
    for clips in ("1, 2.5,4", [1, 2.5, 4], np.array([1, 2.5, 4])):
        assert TranscribeOptions.from_keywords({"clip_timestamps": clips}).clips == (1.0, 2.5, 4.0)


def test_prompts_are_text_or_tokens() -> None:
    options = TranscribeOptions(initial_prompt=[1, 2], prefix=(3, 4))
    assert (options.initial_prompt, options.prefix) == ((1, 2), (3, 4))
    assert TranscribeOptions.from_keywords({"prefix": np.array([5])}).prefix == (5,)
    # openai-whisper ignores an empty prefix, but makes a space of an empty initial prompt.
    assert TranscribeOptions(prefix="", hotwords=" ") == TranscribeOptions(prefix=(), initial_prompt=[])
    assert TranscribeOptions(initial_prompt="").initial_prompt == ""
    assert TranscribeOptions(hotwords=" MAX Graph ").hotwords == "MAX Graph"


def test_no_text_with_a_special_token_gets_to_the_tokenizer() -> None:
    for token in get_tokenizer(True, num_languages=100).special_tokens:
        assert message_of({"initial_prompt": f"so{token}he"}).startswith("initial_prompt: a text cannot contain the")
    assert TranscribeOptions(initial_prompt="<|so he|>").initial_prompt == "<|so he|>"


def test_options_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        TranscribeOptions().language = "de"  # type: ignore[misc]


def test_resolve_for_an_english_only_model() -> None:
    dims = dimensions("english")
    assert TranscribeOptions().resolve(dims).language == "en"
    assert TranscribeOptions(language="English").resolve(dims).language == "en"
    everything = TranscribeOptions(
        temperature=(0.0, 0.5), beam_size=2, initial_prompt=[1], prefix="x", clip_timestamps="1,2", suppress_tokens=""
    ).resolve(dims)
    assert everything.resolve(dims) == everything
    with pytest.raises(OptionError, match=r"language: this model knows English only, got 'de' \(german\)"):
        TranscribeOptions(language="german").resolve(dims)
    with pytest.raises(OptionError, match="task: an English-only model cannot translate"):
        TranscribeOptions(task="translate").resolve(dims)
    with pytest.raises(OptionError, match="multilingual: this model knows English only"):
        TranscribeOptions(multilingual=True).resolve(dims)


def test_resolve_for_a_multilingual_model() -> None:
    options = TranscribeOptions(task="translate")
    assert options.resolve(dimensions("multilingual")) == options
    cantonese = TranscribeOptions(language="yue")
    assert cantonese.resolve(dimensions("large-v3")) == cantonese
    with pytest.raises(OptionError, match=r"language: this model has no cantonese \(yue\)"):
        cantonese.resolve(dimensions("multilingual"))


@pytest.mark.parametrize("name", ["suppress_tokens", "initial_prompt", "prefix"])
def test_resolve_refuses_tokens_beyond_the_vocabulary(name: str) -> None:
    options = TranscribeOptions.from_keywords({name: [1, 51865]})
    with pytest.raises(OptionError, match=f"{name}: this model's tokens end at 51864, got 51865"):
        options.resolve(dimensions("multilingual"))
    assert options.resolve(dimensions("large-v3")) == options


def test_what_openai_whisper_is_asked() -> None:
    accepted = {
        name
        for function in (whisper.transcribe, whisper.DecodingOptions)
        for name in inspect.signature(function).parameters
    }
    options = TranscribeOptions(
        clip_timestamps="1,2", prefix=[5], initial_prompt="So", suppress_tokens=[7], sample_len=9, seed=3
    )
    keywords = options.for_reference()
    assert keywords.keys() <= accepted
    assert keywords["clip_timestamps"] == [1.0, 2.0]
    assert (keywords["prefix"], keywords["initial_prompt"], keywords["suppress_tokens"]) == ([5], "So", [7])
    assert keywords["sample_len"] == 9
    assert TranscribeOptions(max_new_tokens=4).for_reference()["sample_len"] == 4


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"top_p": 0.5}, "top_p: is"),
        ({"multilingual": True, "language_detection_segments": 2}, "multilingual, language_detection_segments: are"),
        ({"repetition_penalty": 1.1, "no_repeat_ngram_size": 3}, "repetition_penalty, no_repeat_ngram_size: are"),
        ({"prompt_reset_on_temperature": 0.4}, "prompt_reset_on_temperature: is"),
        ({"hotwords": "MAX"}, "hotwords: is"),
        ({"chunking": "vad", "batch_size": 2}, "chunking, batch_size: are"),
        ({"vad_filter": True, "batch_size": 2}, "vad_filter, batch_size: are"),
        ({"max_new_tokens": 5, "prefix": "And"}, "max_new_tokens: is"),
        ({"initial_prompt": [1, 2]}, "initial_prompt as tokens: is"),
    ],
)
def test_what_openai_whisper_cannot_be_asked(options: dict[str, Any], names: str) -> None:
    with pytest.raises(OptionError) as raised:
        TranscribeOptions.from_keywords(options).for_reference()
    assert str(raised.value).startswith(f"{names} not in openai-whisper, which is the backend torch; ")


def test_origins_are_the_programs_that_have_the_option() -> None:
    theirs = {"transcribe": whisper.transcribe, "decoding": whisper.DecodingOptions}
    names = {name for function in theirs.values() for name in inspect.signature(function).parameters}
    for definition in options_of(TranscribeOptions):
        assert (OPENAI in definition.origin) == (definition.name in names), definition.name
        assert {*definition.origin} <= {OPENAI, FASTER}


def test_parameters_of_voice_activity_have_the_defaults_of_their_use() -> None:
    from max_whisper.audio.vad import CHUNKED, VadParameters

    given = {"threshold": 0.25}
    filtered = TranscribeOptions(vad_filter=True, vad_parameters=given)
    assert filtered.speech == VadParameters(threshold=0.25)
    assert TranscribeOptions(chunking="vad", vad_parameters=given).speech == replace(CHUNKED, threshold=0.25)
    # Also where the use is chosen later: the fields that were given are kept, not the defaults of the first use.
    chunked = replace(filtered, chunking="vad")
    assert chunked == filtered.updated({"chunking": "vad"})
    assert chunked.speech == replace(CHUNKED, threshold=0.25)
    assert replace(chunked, chunking="sequential").speech == VadParameters(threshold=0.25)
    chosen = VadParameters(min_silence_duration_ms=700)
    assert TranscribeOptions(chunking="vad", vad_parameters=chosen).speech == chosen


def test_keywords_come_before_options_and_options_before_defaults() -> None:
    options = TranscribeOptions(language="German", beam_size=5, suppress_tokens="7")
    assert TranscribeOptions.from_keywords({}, options) == options
    changed = TranscribeOptions.from_keywords({"beam_size": 2, "seed": 1}, options)
    assert changed == TranscribeOptions(language="de", beam_size=2, suppress_tokens=[7], seed=1)
    assert options.beam_size == 5
    with pytest.raises(OptionError, match=r"^patience: it is beam search's"):
        TranscribeOptions.from_keywords({"beam_size": None, "patience": 2.0}, options)
    with pytest.raises(OptionError, match=r"^beam_sise: no such option; did you mean beam_size\?"):
        TranscribeOptions.from_keywords({"beam_sise": 2}, options)
    with pytest.raises(OptionError, match=r"^options: a TranscribeOptions, got dict"):
        TranscribeOptions.from_keywords({}, {"beam_size": 5})  # type: ignore[arg-type]


def test_a_batch_of_one_recording_needs_chunks() -> None:
    with pytest.raises(OptionError, match=r'^batch_size: .*; add chunking="vad" to decode its stretches'):
        TranscribeOptions(batch_size=8).for_one_recording()
    chunked = TranscribeOptions(batch_size=8, chunking="vad")
    assert chunked.for_one_recording() == chunked


def test_foreign_words_are_cut_between_words() -> None:
    assert one_line("a  b\n c") == "a b c"
    assert one_line("the server does not answer today", 24) == "the server does not..."
    assert one_line("the server does not answer today", 30) == "the server does not answer..."
    assert one_line("x" * 50, 20) == "x" * 17 + "..."  # a single word
    assert all(len(one_line("Hub: " + "repository " * 40, limit)) <= limit for limit in range(20, 300))
