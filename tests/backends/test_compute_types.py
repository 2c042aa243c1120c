"""Backend `max` in bfloat16 and int8: the words of float32, whatever is asked for, and plain refusals.

A word between two others that are as probable may fall to either side; one in a hundred may differ.
"""

from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest

import max_whisper
from max_whisper.backends.fused import FusedModel
from max_whisper.decoding import decode
from max_whisper.errors import OptionError
from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.models.whisper.compiled import load_fused_graphs, packed_file
from max_whisper.models.whisper.graphs.packing import Packing
from max_whisper.progress import Step
from max_whisper.runtime.devices import Device, select_device
from max_whisper.runtime.packed_weights import packed_weights
from max_whisper.transcriber import Transcriber

AUDIO = Path(__file__).resolve().parents[2] / "audio_samples"
RECORDINGS = sorted(path for path in AUDIO.iterdir() if path.suffix not in (".txt", ".md"))
SPOKEN = [path for path in RECORDINGS if path.stem != "silence_and_noise"]
KINDS = ("bfloat16", "int8")


@pytest.fixture(scope="module", params=KINDS)
def fast(request: pytest.FixtureRequest) -> Transcriber:
    return max_whisper.load_model("nano", device="cpu", compute_type=request.param)


@pytest.mark.parametrize(
    "options",
    [{}, {"beam_size": 5}, {"chunking": "vad", "batch_size": 4}, {"initial_prompt": "the meeting is on monday"}],
    ids=str,
)
def test_recordings_have_the_words_of_float32(fast: Transcriber, nano: Transcriber, options: dict[str, Any]) -> None:
    expected, heard = ([model.transcribe(path, **options).text for path in SPOKEN] for model in (nano, fast))
    assert jiwer.wer(expected, heard) <= 0.01


@pytest.mark.parametrize("options", [{"beam_size": 5}, {"beam_size": 2, "patience": 2.0}], ids=str)
def test_the_model_itself_finds_what_python_finds(
    fast: Transcriber, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    itself = [fast.transcribe(path, **options) for path in RECORDINGS]
    monkeypatch.setattr(decode, "token_rules", lambda *rules, **tokens: None)
    for path, ours in zip(RECORDINGS, itself, strict=True):
        expected = fast.transcribe(path, **options)
        assert [segment.tokens for segment in ours.segments] == [segment.tokens for segment in expected.segments]
        for segment, other in zip(ours.segments, expected.segments, strict=True):
            assert segment.avg_logprob == pytest.approx(other.avg_logprob, abs=1e-5)
            assert segment.no_speech_prob == pytest.approx(other.no_speech_prob, abs=1e-5)


def test_silence_is_silence(fast: Transcriber) -> None:
    assert fast.transcribe(AUDIO / "silence_and_noise.flac").text == ""


def test_a_batch_gives_each_recording_what_it_gets_alone(fast: Transcriber) -> None:
    together = list(fast.transcribe_many(RECORDINGS, batch_size=5))
    for path, result in zip(RECORDINGS, together, strict=True):
        assert isinstance(result, max_whisper.Transcription)
        alone = fast.transcribe(path)
        assert [segment.tokens for segment in result.segments] == [segment.tokens for segment in alone.segments]


def test_words_are_where_float32_has_them(fast: Transcriber, nano: Transcriber) -> None:
    path = AUDIO / "dialogue.flac"
    fast_words, words = (
        [word for segment in model.transcribe(path, word_timestamps=True).segments for word in segment.words or ()]
        for model in (fast, nano)
    )
    assert [word.word for word in fast_words] == [word.word for word in words]
    np.testing.assert_allclose([word.end for word in fast_words], [word.end for word in words], atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_near_those_of_float32(kind: str) -> None:
    checkpoint, device = load_checkpoint("nano"), select_device("cpu")
    log_mel = np.random.default_rng(0).standard_normal((2, 80, 3000), dtype=np.float32)
    features = [
        model.encode(log_mel).features.to_numpy().ravel().astype(np.float64)
        for model in (FusedModel(checkpoint, device, kind), FusedModel(checkpoint, device, "float32"))
    ]
    cosine = features[0] @ features[1] / np.linalg.norm(features[0]) / np.linalg.norm(features[1])
    assert cosine > (0.9999 if kind == "bfloat16" else 0.999)


@pytest.mark.parametrize("backend", ["torch", "hybrid"])
def test_other_backends_compute_in_float32(backend: str) -> None:
    with pytest.raises(OptionError, match=f"compute_type: backend {backend} computes in float32, got 'int8'"):
        max_whisper.load_model("nano", backend=backend, compute_type="int8")


def test_a_gpu_is_refused() -> None:
    device = Device("gpu", select_device("cpu").driver)
    with pytest.raises(OptionError, match="compute_type int8 is for CPUs"):
        load_fused_graphs(load_checkpoint("nano"), device, "int8")


def test_weights_are_packed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path))
    checkpoint = load_checkpoint("nano")
    packing = Packing.of("int8", is_float16=True, has_amx=False)
    steps: list[Step] = []
    packed = packed_file(checkpoint, packing)
    first = packed_weights(packed, steps.append)
    again = packed_weights(packed, steps.append)
    assert [step.message for step in steps] == ["checking nano.safetensors, once", "packing the weights as int8, once"]
    assert all(np.array_equal(first[name], again[name]) for name in first)
    (file,) = (tmp_path / "packed").glob("*/weights.bin")
    file.write_bytes(file.read_bytes()[:-64])
    packed_weights(packed, steps.append)
    assert steps[2:] == [Step("packing the weights as int8, once")]
