"""A model that repeats a phrase without end at temperature 0: what breaks the loop, and how the result says so."""

from typing import Any

import pytest
import torch
import whisper.model

import max_whisper
from max_whisper.decoding.decode import compression_ratio
from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.results import Segment
from max_whisper.transcriber import Transcriber
from tests.backends.recordings import sample
from tests.backends.repeating_model import PHRASE, WAY_OUT, repeating_whisper

LOOP, END = "".join(PHRASE), "".join(WAY_OUT)
OPTIONS: dict[str, Any] = {"language": "en", "sample_len": 64}


@pytest.fixture(scope="module")
def reference() -> whisper.model.Whisper:
    """In the shapes of `nano`, whose compiled graphs it shares."""
    return repeating_whisper(load_checkpoint("nano").dims)


@pytest.fixture(scope="module")
def repeating(reference: whisper.model.Whisper, tmp_path_factory: pytest.TempPathFactory) -> Transcriber:
    """The same model on backend `max`."""
    folder = tmp_path_factory.mktemp("repeating")
    weights = {name: weight.half() for name, weight in reference.state_dict().items()}
    torch.save({"dims": load_checkpoint("nano").dims.to_dict(), "model_state_dict": weights}, folder / "repeating.pt")
    with pytest.MonkeyPatch.context() as patch:
        from max_whisper.runtime import compiling

        compiled = compiling.compiled_dir()
        patch.setattr(compiling, "compiled_dir", lambda: compiled)
        patch.setenv("MAX_WHISPER_CACHE", str(folder / "cache"))
        return max_whisper.load_model(folder / "repeating.pt", device="cpu")


def the_segment(transcriber: Transcriber, **options: Any) -> Segment:
    (segment,) = transcriber.transcribe(sample("weather.flac"), **OPTIONS, **options).segments
    # The result says of itself how repetitive it is.
    assert segment.compression_ratio == compression_ratio(segment.text.strip())
    return segment


def test_at_temperature_0_it_repeats_as_the_reference_does(
    repeating: Transcriber, reference: whisper.model.Whisper
) -> None:
    segment = the_segment(repeating, temperature=0.0)
    assert segment.text == (LOOP * 60)[: len(segment.text)]
    assert len(segment.tokens) == 64
    assert segment.compression_ratio > 5
    assert -0.5 < segment.avg_logprob < 0
    expected = reference.transcribe(sample("weather.flac"), temperature=0.0, fp16=False, **OPTIONS)
    assert segment.text == expected["text"]
    assert segment.compression_ratio == expected["segments"][0]["compression_ratio"]
    assert segment.avg_logprob == pytest.approx(expected["segments"][0]["avg_logprob"], abs=0.02)


@pytest.mark.parametrize(
    "options", [{}, {"chunking": "vad", "batch_size": 4}, {"beam_size": 3}, {"best_of": 3}], ids=str
)
def test_the_fallback_breaks_the_loop(repeating: Transcriber, options: dict[str, Any]) -> None:
    segment = the_segment(repeating, compression_ratio_threshold=2.4, **options)
    assert segment.temperature > 0
    assert segment.compression_ratio <= 2.4
    assert segment.text.endswith(END)
    assert segment.avg_logprob > -1


def test_without_its_threshold_nothing_breaks_the_loop(repeating: Transcriber) -> None:
    segment = the_segment(repeating, compression_ratio_threshold=None)
    assert segment.temperature == 0
    assert segment.compression_ratio > 5


def test_where_every_temperature_fails_the_result_says_so(repeating: Transcriber) -> None:
    segment = the_segment(repeating, temperature=(0.0, 0.01))
    assert segment.temperature == 0.01
    assert segment.compression_ratio > 2.4


@pytest.mark.parametrize("options", [{"no_repeat_ngram_size": 3}, {"repetition_penalty": 1.5}], ids=str)
@pytest.mark.parametrize("search", [{}, {"beam_size": 3}], ids=["greedy", "beams"])
def test_the_penalties_break_the_loop_at_temperature_0(
    repeating: Transcriber, options: dict[str, Any], search: dict[str, Any]
) -> None:
    segment = the_segment(repeating, temperature=0.0, **options, **search)
    assert segment.text.startswith(LOOP)
    assert segment.text.endswith(END)
    assert segment.text.count(" thing") == 1
    assert (segment.temperature, segment.compression_ratio < 2.4) == (0, True)


def test_every_window_gets_out_of_the_loop(repeating: Transcriber) -> None:
    result = repeating.transcribe(sample("one_day.flac")[: 16_000 * 59], **OPTIONS)
    assert [segment.seek for segment in result.segments] == [0, 3000]
    assert all(segment.compression_ratio <= 2.4 for segment in result.segments)
    assert all(segment.temperature > 0 for segment in result.segments)
