"""The window loop against openai-whisper's, on the same logits and on the same torch models."""

import copy
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisper.audio
import whisper.decoding
import whisper.model

from max_whisper.decoding import sampling
from max_whisper.options import TranscribeOptions
from max_whisper.progress import Step
from max_whisper.results import Segment
from max_whisper.transcription import longform
from max_whisper.transcription.batching import Batch
from max_whisper.transcription.longform import DecodeWindow, LongForm, split_at_timestamps
from tests.decoding import transcribing
from tests.decoding.scripted import Script, ScriptedModel, ScriptedReference, dimensions
from tests.decoding.torch_model import random_whisper, speech_model
from tests.decoding.transcribing import ArrayLogMel, transcribe

BEGIN = 50364  # <|0.00|> of the multilingual vocabulary


@cache
def recording(n_samples: int) -> np.ndarray:
    """Noise that comes and goes, with the second after the middle silent."""
    rng = np.random.default_rng(n_samples)
    time = np.arange(n_samples) / 16000
    audio = (0.1 * np.sin(time) * rng.standard_normal(n_samples)).astype(np.float32)
    audio[n_samples // 2 : n_samples // 2 + 16000] = 0
    return audio


@cache
def reference_log_mel(n_samples: int, n_mels: int, padding: int) -> torch.Tensor:
    return whisper.audio.log_mel_spectrogram(recording(n_samples), n_mels, padding)


@pytest.fixture
def same_log_mel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give both sides the same features, to the bit, and the same luck: a difference is then one of decoding."""

    def of_reference(audio: np.ndarray, n_mels: int, padding: int = 0) -> torch.Tensor:
        return reference_log_mel(len(audio), n_mels, padding)

    def of_ours(audio: np.ndarray, n_mels: int, padding: int = 0) -> np.ndarray:
        return reference_log_mel(len(audio), n_mels, padding).numpy()

    monkeypatch.setattr(sys.modules["whisper.transcribe"], "log_mel_spectrogram", of_reference)
    monkeypatch.setattr(transcribing, "log_mel_spectrogram", of_ours)
    monkeypatch.setattr(whisper.decoding, "Categorical", _SecondBest)
    monkeypatch.setattr(sampling, "draw_token", lambda logits, *_: second_best(logits))


def second_best(logits: np.ndarray) -> int:
    """What is drawn above temperature 0: the second most probable token, if it is allowed."""
    first = int(logits.argmax())
    others = logits.copy()
    others[first] = -np.inf
    second = int(others.argmax())
    return first if others[second] == -np.inf else second


class _SecondBest:
    """In place of PyTorch's categorical distribution."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def sample(self) -> torch.Tensor:
        return torch.tensor([second_best(row) for row in self.logits.numpy()])


def log_mel(seconds: float, n_mels: int = 80) -> ArrayLogMel:
    return ArrayLogMel.of(recording(int(seconds * 16000)), n_mels)


def assert_equal(ours: dict[str, Any], reference: dict[str, Any], tolerance: float = 1e-5) -> None:
    assert [segment["tokens"] for segment in ours["segments"]] == [
        segment["tokens"] for segment in reference["segments"]
    ]
    for segment, expected in zip(ours["segments"], reference["segments"], strict=True):
        for key in ("avg_logprob", "no_speech_prob"):
            assert segment.pop(key) == pytest.approx(expected.pop(key), abs=tolerance)
    assert ours == reference


@dataclass(frozen=True)
class Case:
    """Scripted recordings, and the options to transcribe them with."""

    options: dict[str, Any] = field(default_factory=dict)
    vocabularies: tuple[str, ...] = ("multilingual", "english", "large-v3")
    seconds: float = 65.0
    n_text_ctx: int = 448
    silence: float = 0.2
    confidence: float = 10.0
    n_seeds: int = 3

    def scripts(self) -> list[Script]:
        return [
            Script(
                dimensions(vocabulary, self.n_text_ctx, 128 if vocabulary == "large-v3" else 80),
                seed,
                self.silence,
                self.confidence,
            )
            for vocabulary in self.vocabularies
            for seed in range(self.n_seeds)
        ]


MULTILINGUAL = ("multilingual", "large-v3")
FEW = {"sample_len": 25}  # what is drawn seldom ends
CASES = {
    "defaults": Case(n_seeds=5),
    "translate": Case({"task": "translate", "language": "de"}, MULTILINGUAL),
    "language": Case({"language": "yue"}, ("large-v3",)),
    "no conditioning": Case({"condition_on_previous_text": False}),
    "without timestamps": Case({"without_timestamps": True}),
    "without timestamps or conditioning": Case({"without_timestamps": True, "condition_on_previous_text": False}),
    "no-speech never": Case({"no_speech_threshold": None}, silence=0.5),
    "no-speech alone": Case({"logprob_threshold": None}, silence=0.5),
    "no-speech and text both likely": Case({"logprob_threshold": -0.01}, silence=1.0, confidence=20.0),
    "no-speech likely, text not": Case(silence=1.0, confidence=4.0),
    "no thresholds": Case({"no_speech_threshold": None, "logprob_threshold": None}, confidence=4.0),
    "nothing suppressed": Case({"suppress_tokens": "", "suppress_blank": False}),
    "some tokens suppressed": Case({"suppress_tokens": [11, 13, 50000]}),
    "any first timestamp": Case({"max_initial_timestamp": None}),
    "early first timestamp": Case({"max_initial_timestamp": 0.1}),
    "few tokens": Case({"sample_len": 3}),
    "short context": Case(n_text_ctx=16, n_seeds=5),
    "shorter context without timestamps": Case({"without_timestamps": True}, n_text_ctx=12),
    "context longer than the prompt": Case({"sample_len": 60}, n_text_ctx=40, confidence=5.0),
    "no audio": Case(seconds=0.0, n_seeds=1),
    "less than a frame": Case(seconds=0.005, n_seeds=1),
    "one second": Case(seconds=1.0),
    "just under 30 s": Case(seconds=29.995),
    "30 s": Case(seconds=30.0),
    "just over 30 s": Case(seconds=30.02),
    "beams": Case({"beam_size": 5}, confidence=6.0),
    "beams with patience and length penalty": Case({"beam_size": 3, "patience": 2.0, "length_penalty": 0.4}),
    "initial prompt": Case({"initial_prompt": "Proper nouns: Zürich, Łódź."}),
    "initial prompt carried": Case({"initial_prompt": "Always the same.", "carry_initial_prompt": True}, seconds=100.0),
    "long initial prompt carried": Case({"initial_prompt": "on and on " * 150, "carry_initial_prompt": True}),
    "prompt carried over a reset": Case(
        {"initial_prompt": "Always.", "carry_initial_prompt": True, "condition_on_previous_text": False}, seconds=95.0
    ),
    "prefix": Case({"prefix": "once upon a time"}),
    "prefix of tokens": Case({"prefix": [400, 500, 600], "sample_len": 30}),
    "clips": Case({"clip_timestamps": "5,20,31.5,64"}),
    "clip to the end": Case({"clip_timestamps": [12.34]}),
    "every temperature": Case({"temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), **FEW}, confidence=4.0, n_seeds=1),
    "compression fallback": Case({"temperature": (0.0, 0.5, 1.0), "compression_ratio_threshold": 0.9, **FEW}),
    "probability fallback": Case(
        {"temperature": (0.0, 0.6), "logprob_threshold": -0.1, **FEW}, confidence=6.0, silence=0.5
    ),
    "no fallback thresholds": Case(
        {"temperature": (0.0, 0.6), "logprob_threshold": None, "compression_ratio_threshold": None, **FEW},
        confidence=4.0,
    ),
    "sampling first": Case({"temperature": (0.4, 0.0), "logprob_threshold": -0.5, **FEW}, confidence=6.0),
    "best of three after beams": Case(
        {"temperature": (0.0, 1.0), "beam_size": 2, "best_of": 3, **FEW}, confidence=4.0, n_seeds=1
    ),
    "two minutes": Case(seconds=120.0, n_seeds=2),
}


@cache
def reference_runs(name: str) -> list[tuple[Script, dict[str, Any], list[Any]]]:
    """For each script of a case openai-whisper's result and the DecodingResult of each window."""
    case, runs = CASES[name], []
    for script in case.scripts():
        model = ScriptedReference(script)
        # A copy, because openai-whisper appends to the caller's list of suppressed tokens.
        options = {"temperature": 0.0, "fp16": False, **copy.deepcopy(case.options)}
        runs.append((script, model.transcribe(recording(int(case.seconds * 16000)), **options), model.results))
    return runs


@pytest.mark.usefixtures("same_log_mel")
@pytest.mark.parametrize("name", CASES)
def test_scripted_recordings_equal_the_reference(name: str) -> None:
    case = CASES[name]
    for script, expected, _ in reference_runs(name):
        options = TranscribeOptions(**{"temperature": 0.0, "clamp_timestamps": False, **case.options})
        result = transcribe(ScriptedModel(script), log_mel(case.seconds, script.dims.n_mels), options)
        assert_equal(result.to_dict(), copy.deepcopy(expected))


@pytest.mark.usefixtures("same_log_mel")
def test_scripted_recordings_reach_every_branch() -> None:
    seen: Counter[str] = Counter()
    for name, case in CASES.items():
        for script, result, windows in reference_runs(name):
            begin = script.tokenizer.timestamp_begin
            for window in windows:
                kinds = "".join("t" if token >= begin else "w" for token in window.tokens)
                seen["ends with a single timestamp"] += kinds.endswith("wt")
                seen["pair, then a single timestamp"] += "tt" in kinds and kinds.endswith("wt")
                seen["pair, then an unfinished segment"] += "tt" in kinds and kinds.endswith("w")
                seen["ends with a pair"] += kinds.endswith("tt")
                seen["several segments"] += kinds.count("tt") > 1
                seen["no timestamp"] += bool(kinds) and "t" not in kinds
                seen["sample_len reached"] += len(kinds) == (case.options.get("sample_len") or case.n_text_ctx // 2)
                seen["no-speech probable"] += window.no_speech_prob > 0.6
                seen["no-speech and text probable"] += window.no_speech_prob > 0.6 and window.avg_logprob > -1.0
                seen["a second temperature"] += window.temperature > 0
                seen["a temperature that resets the prompt"] += window.temperature > 0.5
                seen["not one probable token"] += window.avg_logprob < -1.0
            segments = result["segments"]
            seen["more than one window"] += len(windows) > 1
            seen["skipped windows"] += len(windows) > len({segment["seek"] for segment in segments})
            seen["emptied segments"] += any(not segment["tokens"] for segment in segments)
            seen["prompt cut to fit"] += (
                case.options.get("condition_on_previous_text", True)
                and sum(len(segment["tokens"]) for segment in segments) > case.n_text_ctx // 2
            )
            seen["language detected"] += result["language"] != "en" and "language" not in case.options
    assert all(count >= 3 for count in seen.values()), seen


@pytest.mark.parametrize(
    ("kinds", "spans", "frames_done"),
    [
        # Letters are text and numbers timestamps in positions of 20 ms; the window has 2,000 frames.
        ("", [(0, 20, "")], 2000),
        ("a b", [(0, 20, "a b")], 2000),
        ("0 a", [(0, 20, "0 a")], 2000),
        ("5 a 50", [(0, 1, "5 a 50")], 2000),
        ("5 a 50 50", [(0.1, 1, "5 a 50")], 100),
        ("5 a 50 60 b", [(0.1, 1, "5 a 50")], 100),
        ("5 a 50 60 b 75", [(0.1, 1, "5 a 50"), (1.2, 1.5, "60 b 75")], 2000),
        ("5 a 50 60 b 75 80", [(0.1, 1, "5 a 50"), (1.2, 1.5, "60 b 75")], 150),
        ("5 a 50 60 b 75 80 c", [(0.1, 1, "5 a 50"), (1.2, 1.5, "60 b 75")], 150),
    ],
)
def test_split_at_timestamps(kinds: str, spans: list[tuple[float, float, str]], frames_done: int) -> None:
    def encode(text: str) -> tuple[int, ...]:
        return tuple(ord(kind) if kind.isalpha() else BEGIN + int(kind) for kind in text.split())

    found, done = split_at_timestamps(encode(kinds), BEGIN, 2000, 2)
    assert [span.tokens for span in found] == [encode(text) for _, _, text in spans]
    assert [(span.start, span.end) for span in found] == [pytest.approx((start, end)) for start, end, _ in spans]
    assert done == frames_done


def test_hotwords_stay_in_a_full_prompt() -> None:
    """They are what the prompt begins with, however long they, a carried prompt and the text so far are."""
    model = ScriptedModel(Script(dimensions("multilingual"), seed=0))
    carried, hot = list(range(1000, 1240)), "Łódź Zürich"
    options = TranscribeOptions(language="en", hotwords=hot, initial_prompt=carried, carry_initial_prompt=True)
    steps = LongForm(log_mel(65), model.dims, options).steps()
    request = next(steps)
    assert isinstance(request, DecodeWindow)
    expected = request.context.tokenizer.encode(" " + hot)
    prompt = list(request.context.previous)
    assert prompt == [*expected, *carried[len(carried) - (223 - len(expected)) :]]

    options = TranscribeOptions(language="en", hotwords="word " * 300)
    request = next(LongForm(log_mel(65), model.dims, options).steps())
    assert isinstance(request, DecodeWindow)
    assert len(request.context.previous) == 223


def test_a_last_timestamp_of_zero_does_not_decode_the_same_window_for_ever() -> None:
    """Only without the timestamp rules can a model write it; openai-whisper never returns then."""

    class Stuck(Script):
        def logits(self, window: int, tokens: Sequence[int]) -> np.ndarray:
            begin = self.tokenizer.timestamp_begin
            written = [begin, 1000, begin, begin, 2000, self.tokenizer.eot]
            logits = np.zeros(self.dims.n_vocab, dtype=np.float32)
            logits[written[max(0, len(tokens) - len(self.tokenizer.sot_sequence) - 1)]] = 30
            return logits

    model = ScriptedModel(Stuck(dimensions("multilingual"), seed=0))
    options = TranscribeOptions(temperature=0.0, language="en", without_timestamps=True)
    result = transcribe(model, log_mel(65), options)
    assert [segment.seek for segment in result.segments] == [0, 3000, 6000]
    assert result.text == ""


def test_the_first_window_is_encoded_once() -> None:
    for seconds, n_encoded in ((65, 3), (30, 1), (29, 2)):
        # One window is one encoder pass, and so is language detection where its features are not the first window's.
        model = ScriptedModel(Script(dimensions("multilingual"), seed=0, silence=1.0, confidence=3.0))
        result = transcribe(model, log_mel(seconds), TranscribeOptions(temperature=0.0))
        assert result.segments == ()
        assert model.n_encoded == n_encoded


def test_segments_come_one_by_one_with_progress() -> None:
    model = ScriptedModel(Script(dimensions("multilingual"), seed=1, silence=0.0))
    steps: list[Step] = []
    options = TranscribeOptions(temperature=0.0, condition_on_previous_text=False)
    recording_of_65_s = LongForm(log_mel(65), model.dims, options, progress=steps.append)
    events = Batch(model, options, 1).run([lambda: recording_of_65_s])
    _, first = next(events)
    assert isinstance(first, Segment)
    assert (first.id, model.n_encoded, steps) == (0, 1, [])

    *rest, (_, last) = list(events)
    assert last == recording_of_65_s.result
    segments = [segment for _, segment in rest if isinstance(segment, Segment)]
    assert [segment.id for segment in segments] == list(range(1, len(rest) + 1))
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert len(done) == len({segment.seek for segment in [first, *segments]})
    assert steps[-1] == Step("transcribing", 65, 65, "s")


@dataclass(frozen=True)
class TorchCase:
    """A small torch model with random weights, a recording, and the options to transcribe it with."""

    n_vocab: int
    seed: int
    seconds: float = 65.0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> whisper.model.Whisper:
        return random_whisper(self.n_vocab, self.seed, 128 if self.n_vocab == 51866 else 80)


TORCH_CASES = [
    TorchCase(51865, 0, 35.0),
    TorchCase(51865, 9),
    TorchCase(51865, 17, 70.0, {"condition_on_previous_text": False, "sample_len": 50}),
    TorchCase(51865, 18, 30.0, {"language": "Welsh", "task": "translate"}),
    TorchCase(51865, 6, 65.0, {"sample_len": 40}),
    TorchCase(51865, 6, 65.0, {"sample_len": 40, "logprob_threshold": None}),
    TorchCase(51865, 3, 20.0, {"sample_len": 40, "without_timestamps": True}),
    TorchCase(51864, 2, 65.0, {"sample_len": 60}),
    TorchCase(51864, 16, 12.3, {"suppress_blank": False, "suppress_tokens": ""}),
    TorchCase(51866, 16, 65.0, {"sample_len": 40}),
    TorchCase(51866, 13, 31.0, {"language": "cantonese", "sample_len": 60}),
]


@pytest.mark.usefixtures("same_log_mel")
@pytest.mark.parametrize("case", TORCH_CASES, ids=str)
def test_torch_models_equal_the_reference(case: TorchCase) -> None:
    audio = recording(int(case.seconds * 16000))
    expected = case.model.transcribe(audio, temperature=0.0, fp16=False, **case.options)
    options = TranscribeOptions(temperature=0.0, clamp_timestamps=False, **case.options)
    result = transcribe(speech_model(case.model), log_mel(case.seconds, case.model.dims.n_mels), options).to_dict()
    # openai-whisper repeats the language as it was asked for; ours is always its code.
    expected["language"] = options.language or expected["language"]
    assert_equal(result, expected)


@pytest.mark.parametrize("case", TORCH_CASES[:2], ids=str)
def test_torch_models_equal_the_reference_on_our_own_log_mel(case: TorchCase) -> None:
    audio = recording(int(case.seconds * 16000))
    expected = case.model.transcribe(audio, temperature=0.0, fp16=False)
    options = TranscribeOptions(temperature=0.0, clamp_timestamps=False)
    result = transcribe(speech_model(case.model), log_mel(case.seconds), options)
    assert_equal(result.to_dict(), expected, 1e-3)


def test_detected_languages_equal_the_reference() -> None:
    for seconds in (4, 45):
        reference = random_whisper(51865, 1)
        whole = whisper.audio.log_mel_spectrogram(recording(seconds * 16000), padding=480_000)
        _, expected = reference.detect_language(whisper.audio.pad_or_trim(whole, 3000))
        result = transcribe(speech_model(reference), log_mel(seconds), TranscribeOptions(temperature=0.0, sample_len=2))
        assert result.language == max(expected, key=expected.__getitem__)
        assert result.language_probabilities == pytest.approx(expected, abs=1e-4)


def test_decoding_imports_no_torch() -> None:
    code = "import sys, max_whisper.transcription.longform; print('torch' in sys.modules, 'whisper' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(longform.__file__).parents[2])}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
