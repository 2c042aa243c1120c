"""The three backends against each other: the same text, tokens and times."""

import subprocess
import sys
from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch
from max import driver

import max_whisper
from max_whisper.audio import SAMPLE_RATE
from max_whisper.backends.hybrid import HybridModel
from max_whisper.transcriber import Transcriber
from training.digit_strings import digit_strings

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT.parent / "shared" / "data" / "free-spoken-digit-dataset.tar.xz"
SAMPLES = sorted(path for path in (ROOT / "audio_samples").iterdir() if path.suffix not in (".txt", ".md"))


@pytest.fixture(scope="module")
def transcribers() -> dict[str, Transcriber]:
    return {
        backend: max_whisper.load_model("nano", backend=backend, device="cpu") for backend in ("torch", "hybrid", "max")
    }


def assert_equal(ours: max_whisper.Transcription, reference: max_whisper.Transcription) -> None:
    assert (ours.text, ours.language) == (reference.text, reference.language)
    assert len(ours.segments) == len(reference.segments)
    for segment, expected in zip(ours.segments, reference.segments, strict=True):
        for field in ("id", "seek", "start", "end", "text", "tokens", "temperature", "compression_ratio"):
            assert getattr(segment, field) == getattr(expected, field), field
        assert segment.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-3)
        assert segment.no_speech_prob == pytest.approx(expected.no_speech_prob, abs=1e-3)


def test_there_are_samples_of_each_kind() -> None:
    assert {path.suffix for path in SAMPLES} >= {".flac", ".wav", ".mp3"}
    assert any(not path.with_suffix(".txt").read_text().strip() for path in SAMPLES)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_becomes_the_same_text(transcribers: dict[str, Transcriber], path: Path) -> None:
    reference = transcribers["torch"].transcribe(path, temperature=0.0, clamp_timestamps=False)
    for backend in ("hybrid", "max"):
        assert_equal(transcribers[backend].transcribe(path, temperature=0.0, clamp_timestamps=False), reference)


@pytest.mark.parametrize(
    "options",
    [
        {"language": "en", "without_timestamps": True},
        {"language": "de", "task": "translate"},
        {"condition_on_previous_text": False, "no_speech_threshold": None},
        {"suppress_tokens": "", "suppress_blank": False, "max_initial_timestamp": None},
    ],
    ids=str,
)
def test_options_mean_the_same(transcribers: dict[str, Transcriber], options: dict) -> None:
    path = ROOT / "audio_samples" / "one_day.flac"
    reference = transcribers["torch"].transcribe(path, temperature=0.0, clamp_timestamps=False, **options)
    for backend in ("hybrid", "max"):
        assert_equal(
            transcribers[backend].transcribe(path, temperature=0.0, clamp_timestamps=False, **options), reference
        )


@pytest.mark.skipif(not DIGITS.exists(), reason="the Free Spoken Digit Dataset is not here")
@pytest.mark.parametrize(("split", "limit"), [("known", 0.03), ("unseen", 0.08)])
def test_human_digits_become_the_same_text(transcribers: dict[str, Transcriber], split: str, limit: float) -> None:
    said, heard = [], []
    for audio, transcript in digit_strings(DIGITS, split, count=25, seed=0):
        reference = transcribers["torch"].transcribe(audio, temperature=0.0, clamp_timestamps=False)
        for backend in ("hybrid", "max"):
            assert_equal(transcribers[backend].transcribe(audio, temperature=0.0, clamp_timestamps=False), reference)
        said.append(transcript)
        heard.append(reference.text.strip())
    assert jiwer.wer(said, heard) <= limit


def test_detected_languages_agree(transcribers: dict[str, Transcriber]) -> None:
    path = ROOT / "audio_samples" / "weather.flac"
    code, probabilities = transcribers["torch"].detect_language(path)
    for backend in ("hybrid", "max"):
        ours, ours_probabilities = transcribers[backend].detect_language(path)
        assert ours == code == "en"
        assert ours_probabilities == pytest.approx(probabilities, abs=1e-4)


def test_segments_are_streamed(transcribers: dict[str, Transcriber]) -> None:
    path = ROOT / "audio_samples" / "one_day.flac"
    stream = transcribers["max"].stream(path)
    first = next(stream)
    assert stream.language == "en"
    assert first.id == 0
    whole = stream.transcription()
    assert whole.segments[0] is first
    assert whole == transcribers["max"].transcribe(path)


def test_the_reference_can_be_timed_and_used_in_turn(transcribers: dict[str, Transcriber]) -> None:
    torch_transcriber = transcribers["torch"]
    path = ROOT / "audio_samples" / "weather.flac"
    before = torch_transcriber.transcribe(path)
    model = torch_transcriber.model
    model.start(model.encode(np.zeros((1, 80, 3000), dtype=np.float32))).advance(np.array([[50258]]), [0])
    assert torch_transcriber.transcribe(path) == before


def test_features_of_the_hybrid_are_a_torch_tensor(transcribers: dict[str, Transcriber]) -> None:
    model = transcribers["hybrid"].model
    assert isinstance(model, HybridModel)
    features = model.encode(np.zeros((1, 80, 3000), dtype=np.float32))
    assert isinstance(features, torch.Tensor)
    assert features.shape == (1, 1500, model.dims.n_audio_state)


def test_an_array_at_another_rate_is_resampled(transcribers: dict[str, Transcriber]) -> None:
    audio = max_whisper.load_audio(ROOT / "audio_samples" / "weather.flac")
    doubled = np.repeat(audio, 2)
    text = transcribers["max"].transcribe(doubled, sample_rate=2 * SAMPLE_RATE).text
    assert text == transcribers["max"].transcribe(audio).text


def test_max_needs_no_torch() -> None:
    program = (
        "import sys, max_whisper; assert 'torch' not in sys.modules;"
        "text = max_whisper.load_model('nano', device='cpu').transcribe(sys.argv[1]).text;"
        "assert text.strip(); assert 'torch' not in sys.modules and 'whisper' not in sys.modules"
    )
    sample = ROOT / "audio_samples" / "weather.flac"
    subprocess.run([sys.executable, "-c", program, str(sample)], check=True, cwd=ROOT / "max-whisper")


@pytest.mark.skipif(driver.accelerator_count() > 0, reason="this machine has a GPU")
@pytest.mark.parametrize("backend", ["max", "hybrid", "torch"])
def test_a_gpu_that_is_not_there_is_said_so(backend: str) -> None:
    with pytest.raises(max_whisper.DeviceError, match=r"no GPU that .* was found on this machine; it has: cpu"):
        max_whisper.load_model("nano", backend=backend, device="gpu")


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"backend": "jax"}, max_whisper.OptionError, "backend: one of max, hybrid, torch, got 'jax'"),
        (
            {"compute_type": "int4"},
            max_whisper.OptionError,
            "compute_type: one of auto, float32, bfloat16, int8, got 'int4'",
        ),
        ({"device": "tpu"}, max_whisper.DeviceError, "unknown device 'tpu': choose one of auto, cpu, gpu"),
        ({"device": "tpu", "backend": "torch"}, max_whisper.DeviceError, "unknown device 'tpu'"),
    ],
)
def test_what_load_model_does_not_know(keywords: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        max_whisper.load_model("nano", **keywords)
