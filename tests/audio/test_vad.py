"""Silero VAD against its own package, and the arithmetic of spans and times against slow, obvious versions."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from max_whisper.audio import SAMPLE_RATE, load_audio
from max_whisper.audio.samples import open_samples
from max_whisper.audio.vad import (
    CHUNKED,
    FRAME_SAMPLES,
    Span,
    SpeechDetector,
    VadParameters,
    detector,
    find_speech,
    pack_spans,
    speech_spans,
)
from max_whisper.errors import MaxWhisperError, OptionError
from max_whisper.progress import Step
from training.make_voice_activity import ASSETS, NAME, weights_file

SAMPLES = Path(__file__).resolve().parents[2] / "audio_samples"
RECORDINGS = sorted(path for path in SAMPLES.iterdir() if path.suffix not in (".txt", ".md"))
SPOKEN = [path for path in RECORDINGS if path.with_suffix(".txt").read_text().strip()]

# Parameters in which each part of the state machine has something to do.
PARAMETERS = [
    {},
    {"threshold": 0.3, "neg_threshold": 0.3},
    {"threshold": 0.05},
    {"min_silence_duration_ms": 100, "speech_pad_ms": 30, "min_speech_duration_ms": 250},
    {"min_silence_duration_ms": 0, "speech_pad_ms": 0},
    {"min_silence_duration_ms": 300, "speech_pad_ms": 33.3},
    {"min_silence_duration_ms": 160, "max_speech_duration_s": 30.0},
    {"max_speech_duration_s": 5.0},
    {"max_speech_duration_s": 1.0, "speech_pad_ms": 100, "min_silence_at_max_speech": 31},
    {"max_speech_duration_s": 3.0, "use_max_poss_sil_at_max_speech": False, "min_silence_at_max_speech": 64},
    {"max_speech_duration_s": 1.0, "use_max_poss_sil_at_max_speech": False, "speech_pad_ms": 0},
]


def probabilities_of(samples: np.ndarray) -> np.ndarray:
    speech = SpeechDetector()
    speech.feed(samples)
    return speech.finish()


def spans_of(samples: np.ndarray, parameters: VadParameters | None = None) -> list[Span]:
    return speech_spans(probabilities_of(samples), len(samples), parameters or VadParameters())


@pytest.fixture(scope="module")
def official() -> Iterator[None]:
    """The package silero-vad may be imported, which sets the number of PyTorch's threads."""
    import torch

    threads = torch.get_num_threads()
    import silero_vad  # noqa: F401

    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def one_day() -> np.ndarray:
    return load_audio(SAMPLES / "one_day.flac")


# The detector


@pytest.mark.usefixtures("official")
@pytest.mark.parametrize("path", [SAMPLES / "dialogue.flac", SAMPLES / "kitchen.wav"], ids=lambda path: path.stem)
def test_probabilities_are_those_of_the_official_model(path: Path) -> None:
    """The network that PyTorch runs one frame at a time."""
    import torch
    from silero_vad import load_silero_vad

    samples = load_audio(path)
    expected = load_silero_vad().audio_forward(torch.from_numpy(samples)[None], SAMPLE_RATE)[0].numpy()
    np.testing.assert_allclose(probabilities_of(samples), expected, rtol=0, atol=1e-5)


def test_the_size_of_blocks_changes_nothing(one_day: np.ndarray) -> None:
    samples = one_day[: 20 * SAMPLE_RATE + 77]
    whole = probabilities_of(samples)
    assert len(whole) == -(-len(samples) // FRAME_SAMPLES)
    for sizes in ([1, 511, 513, 100_003], [FRAME_SAMPLES], [0, 160, 4096]):
        speech = SpeechDetector()
        start = number = 0
        while start < len(samples):
            size = sizes[number % len(sizes)]
            speech.feed(samples[start : start + size])
            start, number = start + size, number + 1
        assert speech.n_samples == len(samples)
        assert np.array_equal(speech.finish(), whole)


def test_a_recording_without_samples_has_no_probabilities() -> None:
    assert probabilities_of(np.zeros(0, np.float32)).shape == (0,)
    assert spans_of(np.zeros(0, np.float32)) == []


def test_two_detectors_do_not_disturb_each_other(one_day: np.ndarray) -> None:
    alone = probabilities_of(one_day[: 10 * SAMPLE_RATE])
    first, second = SpeechDetector(), SpeechDetector()
    for start in range(0, 10 * SAMPLE_RATE, 5000):
        first.feed(one_day[start : min(start + 5000, 10 * SAMPLE_RATE)])
        second.feed(one_day[-start - 5000 :][:5000])
    second.finish()
    assert np.array_equal(first.finish(), alone)


def test_neither_pytorch_nor_onnx_runtime_is_imported() -> None:
    program = (
        "import sys, numpy as np; from max_whisper.audio.vad import SpeechDetector; speech = SpeechDetector();"
        "speech.feed(np.zeros(16000, np.float32)); assert len(speech.finish()) == 32;"
        "print(*{'torch', 'whisper', 'silero_vad', 'onnxruntime'} & set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(detector.__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def test_detectors_in_several_threads_do_not_disturb_each_other(one_day: np.ndarray) -> None:
    pieces = [one_day[start * SAMPLE_RATE :][: 15 * SAMPLE_RATE] for start in range(0, 60, 10)]
    alone = [probabilities_of(piece) for piece in pieces]
    with ThreadPoolExecutor(len(pieces)) as pool:
        together = list(pool.map(probabilities_of, pieces))
    for expected, found in zip(alone, together, strict=True):
        assert np.array_equal(found, expected)


def test_probabilities_are_final_as_they_come(one_day: np.ndarray) -> None:
    samples = one_day[: 10 * SAMPLE_RATE]
    speech = SpeechDetector()
    came = [speech.feed(samples[start : start + 3000]) for start in range(0, len(samples), 3000)]
    fed = np.concatenate(came)
    whole = speech.finish()
    assert {len(probabilities) for probabilities in came} == {0, 32}
    assert len(whole) - len(fed) <= 32
    assert np.array_equal(whole[: len(fed)], fed)


@pytest.mark.usefixtures("official")
def test_the_weights_are_those_of_the_official_package() -> None:
    assert (ASSETS / NAME).read_bytes() == weights_file()


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 100, "other tensors"])
def test_weights_that_are_absent_or_damaged(
    content: bytes | str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "assets").mkdir()
    if isinstance(content, bytes):
        (tmp_path / "assets" / NAME).write_bytes(content)
    elif content:
        save_file({"some": np.zeros(3, np.float32)}, tmp_path / "assets" / NAME)
    monkeypatch.setattr(detector.resources, "files", lambda package: tmp_path)
    detector._network.cache_clear()
    with pytest.raises(
        MaxWhisperError, match=r"silero_vad\.safetensors: the weights of voice activity are not in.*again$"
    ):
        SpeechDetector()


# Spans


def curve(generator: np.random.Generator, n_frames: int) -> np.ndarray:
    """Probabilities that stay high or low for a while, with frames between the thresholds and outliers."""
    lengths = generator.geometric(1 / generator.choice([2, 8, 40, 200]), n_frames)
    levels = np.repeat(generator.choice([0.02, 0.2, 0.4, 0.6, 0.95], n_frames), lengths)[:n_frames]
    noise = generator.normal(0, generator.choice([0.01, 0.1, 0.3]), n_frames)
    return np.clip(levels + noise, 0, 1).astype(np.float32)


@pytest.mark.usefixtures("official")
@pytest.mark.parametrize("given", PARAMETERS, ids=str)
def test_spans_are_those_of_the_official_state_machine(given: dict[str, float]) -> None:
    from silero_vad.utils_vad import get_speech_timestamps_from_probs

    generator = np.random.default_rng(7)
    parameters = VadParameters.from_value(given)
    defaults = {"min_speech_duration_ms": 0, "min_silence_duration_ms": 2000, "speech_pad_ms": 400}
    n_spans = 0
    for _ in range(60):
        probabilities = curve(generator, int(generator.integers(1, 1500)))
        n_samples = len(probabilities) * FRAME_SAMPLES - int(generator.integers(0, FRAME_SAMPLES))
        expected = get_speech_timestamps_from_probs(
            probabilities.tolist(), audio_length_samples=n_samples, **defaults | given
        )
        spans = speech_spans(probabilities, n_samples, parameters)
        assert spans == [(span["start"], span["end"]) for span in expected]
        n_spans += len(spans)
    assert n_spans > 60


@pytest.mark.usefixtures("official")
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_spans_of_recordings_are_the_official_ones(path: Path) -> None:
    import torch
    from silero_vad import get_speech_timestamps, load_silero_vad

    samples = load_audio(path)
    given = {"min_speech_duration_ms": 0, "min_silence_duration_ms": 160, "speech_pad_ms": 400}
    expected = get_speech_timestamps(torch.from_numpy(samples), load_silero_vad(), **given)
    assert spans_of(samples, CHUNKED) == [(span["start"], span["end"]) for span in expected]


@pytest.mark.parametrize("path", SPOKEN, ids=lambda path: path.stem)
def test_speech_is_in_the_spans(path: Path) -> None:
    samples = load_audio(path).astype(np.float64)
    inside = sum(np.square(samples[start:stop]).sum() for start, stop in spans_of(samples.astype(np.float32)))
    assert inside > 0.999 * np.square(samples).sum()


def test_long_pauses_are_not_in_the_spans(one_day: np.ndarray) -> None:
    """Every stretch of 3 s in which nothing is heard, but for what borders on speech."""
    seconds = one_day[: len(one_day) // 1600 * 1600].reshape(-1, 1600)  # tenths of a second
    is_quiet = np.abs(seconds).max(axis=1) < 0.01
    spans = spans_of(one_day)
    in_spans = np.zeros(len(seconds), bool)
    for start, stop in spans:
        in_spans[start // 1600 : -(-stop // 1600)] = True
    n_quiet = 0
    for first in range(len(seconds) - 30):
        if is_quiet[first : first + 30].all():
            n_quiet += 1
            assert not in_spans[first + 7 : first + 23].any()
    assert n_quiet > 0
    assert len(spans) > 3


@pytest.mark.parametrize("sound", ["silence", "noise", "tones", "chord", "silence_and_noise"])
def test_what_is_not_speech_gives_no_spans(sound: str) -> None:
    time = np.arange(60 * SAMPLE_RATE) / SAMPLE_RATE
    generator = np.random.default_rng(3)
    if sound == "silence":
        samples = np.zeros_like(time)
    elif sound == "noise":
        samples = generator.normal(0, 0.1, len(time))
    elif sound == "tones":
        notes = np.repeat(generator.choice([262, 294, 330, 349, 392, 440], 120), SAMPLE_RATE // 2)
        samples = 0.3 * np.sin(2 * np.pi * np.cumsum(notes) / SAMPLE_RATE)
    elif sound == "chord":
        samples = 0.1 * np.sin(2 * np.pi * np.outer([220, 277, 330, 440], time)).sum(axis=0)
    else:
        samples = load_audio(SAMPLES / "silence_and_noise.flac").astype(np.float64)
    assert spans_of(samples.astype(np.float32)) == []


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_speech_between_silences_is_found_where_it_is(noise: float) -> None:
    speech = load_audio(SAMPLES / "digits.flac")
    silence = np.zeros(5 * SAMPLE_RATE, np.float32)
    samples = np.concatenate([silence, speech, silence])
    samples += np.random.default_rng(0).normal(0, noise, len(samples)).astype(np.float32)
    ((start, stop),) = spans_of(samples)
    loud = np.flatnonzero(np.abs(speech) > 0.002) + len(silence)
    assert start <= loud[0]
    assert stop >= loud[-1]
    assert loud[0] - start < 0.5 * SAMPLE_RATE
    assert stop - loud[-1] < 0.5 * SAMPLE_RATE


def test_a_recording_is_read_in_blocks_with_progress(one_day: np.ndarray) -> None:
    steps: list[Step] = []
    assert find_speech(open_samples(SAMPLES / "one_day.flac"), None, steps.append) == spans_of(one_day)
    assert find_speech(open_samples(one_day), CHUNKED) == spans_of(one_day, CHUNKED)
    assert len(steps) > 10
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert (steps[-1].message, steps[-1].done, steps[-1].unit) == ("finding speech", len(one_day) // SAMPLE_RATE, "s")


# Parameters


def test_defaults_are_those_of_faster_whisper() -> None:
    assert VadParameters() == VadParameters(0.5, None, 0, float("inf"), 2000, 400, 98, True)
    assert VadParameters.from_value(None) == VadParameters()
    assert VadParameters.from_value({"threshold": 0.6}) == VadParameters(threshold=0.6)
    assert VadParameters.from_value(CHUNKED) is CHUNKED
    assert VadParameters().end_threshold == 0.35
    assert VadParameters(threshold=0.1).end_threshold == 0.01
    assert VadParameters(neg_threshold=0.2).end_threshold == 0.2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threshold": 1.5}, "threshold is a probability from 0 to 1, got 1.5"),
        ({"threshold": True}, "threshold is a probability from 0 to 1, got True"),
        ({"neg_threshold": "low"}, "neg_threshold is a probability from 0 to 1, or None, got 'low'"),
        ({"neg_threshold": 0.7}, "neg_threshold is at most the threshold of 0.5, got 0.7"),
        ({"speech_pad_ms": -1}, "speech_pad_ms is milliseconds of at least 0, got -1"),
        ({"min_silence_duration_ms": float("nan")}, "min_silence_duration_ms is milliseconds of at least 0, got nan"),
        ({"min_speech_duration_ms": float("inf")}, "min_speech_duration_ms is milliseconds of at least 0, got inf"),
        ({"min_silence_at_max_speech": None}, "min_silence_at_max_speech is milliseconds of at least 0, got None"),
        ({"use_max_poss_sil_at_max_speech": 1}, "use_max_poss_sil_at_max_speech is True or False, got 1"),
        ({"max_speech_duration_s": 0.8}, "max_speech_duration_s is at least 0.864 s"),
        ({"min_silence_ms": 100}, "no field 'min_silence_ms'; did you mean min_silence_duration_ms?"),
        ({"gain": 1}, "no field 'gain'; available are threshold, neg_threshold"),
        (True, "a dictionary, such as {'threshold': 0.6}, or None, got True"),
    ],
)
def test_parameters_that_cannot_be(given: object, message: str) -> None:
    with pytest.raises(OptionError) as error:
        VadParameters.from_value(given)  # type: ignore[arg-type]
    assert str(error.value).startswith(f"vad_parameters: {message}")
    assert "\n" not in str(error.value)


# Chunks for batches


def random_spans(generator: np.random.Generator, longest: float = 30.0) -> list[Span]:
    """Spans of up to so many seconds with silences between them, some of which are very short."""
    spans, stop = [], 0
    for _ in range(int(generator.integers(1, 40))):
        start = stop + int(generator.choice([0, 100, 8000, 80_000, 400_000]) * generator.uniform())
        stop = start + 1 + int(generator.uniform(0, longest) * (SAMPLE_RATE - 1))
        spans.append(Span(start, stop))
    return spans


@pytest.mark.parametrize("longest", [5.0, 30.0, 100.0])
def test_chunks_hold_every_span_once_and_in_order(longest: float) -> None:
    generator = np.random.default_rng(11)
    for _ in range(100):
        spans = random_spans(generator, longest)
        chunks = pack_spans(spans)
        covered = np.zeros(spans[-1].stop, np.int8)
        for start, stop in chunks:
            assert stop - start <= 30 * SAMPLE_RATE
            covered[start:stop] += 1
        assert covered.max() == 1
        assert all(covered[start:stop].all() for start, stop in spans)
        assert chunks == sorted(chunks)
        if longest <= 30:  # cut in silence only
            assert {chunk.start for chunk in chunks} <= {span.start for span in spans}
            assert {chunk.stop for chunk in chunks} <= {span.stop for span in spans}
            for before, after in itertools.pairwise(chunks):
                following = next(span for span in spans if span.start == after.start)
                fits = following.stop - before.start <= 30 * SAMPLE_RATE
                assert not (fits and after.start - before.stop <= 2 * SAMPLE_RATE)


def test_no_chunk_has_a_long_silence() -> None:
    spans = [Span(0, 16_000), Span(47_999, 64_000), Span(96_001, 112_000)]
    assert pack_spans(spans) == [Span(0, 64_000), Span(96_001, 112_000)]
    assert pack_spans(spans, max_pause_seconds=3) == [Span(0, 112_000)]
    assert pack_spans([]) == []


def test_long_speech_is_cut_at_its_pauses_into_chunks() -> None:
    """Ninety seconds of speech in which frames 400 to 409 of each 500 are a pause: no other frame is an edge."""
    probabilities = np.full(2812, 0.9, np.float32)
    in_pause = np.arange(2812) % 500 // 10 == 40
    probabilities[in_pause] = 0.1
    n_samples = len(probabilities) * FRAME_SAMPLES
    spans = speech_spans(probabilities, n_samples, CHUNKED)
    chunks = pack_spans(spans)
    assert chunks[0].start == 0
    assert chunks[-1].stop == n_samples
    assert all(chunk.stop - chunk.start <= 30 * SAMPLE_RATE for chunk in chunks)
    for before, after in itertools.pairwise(chunks):
        assert before.stop == after.start
        assert in_pause[after.start // FRAME_SAMPLES]


@pytest.mark.parametrize("parameters", [VadParameters(), CHUNKED, VadParameters(speech_pad_ms=100, threshold=0.7)])
def test_no_span_is_longer_than_asked(parameters: VadParameters) -> None:
    generator = np.random.default_rng(5)
    for seconds in (2.0, 10.0, 30.0):
        for _ in range(20):
            probabilities = curve(generator, 3000)
            spans = speech_spans(probabilities, 3000 * FRAME_SAMPLES, parameters.at_most(seconds))
            assert max(stop - start for start, stop in spans) <= seconds * SAMPLE_RATE
