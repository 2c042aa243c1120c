"""One model in many threads: each transcription is what it is alone, whatever the others do or leave undone.

`python -m benchmarks.threads` does the same with 400 transcriptions and takes the time.
"""

import gc
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmarks.threads
import max_whisper
from max_whisper.diagnostics.random_models import random_checkpoint
from max_whisper.errors import AudioError
from max_whisper.transcriber import Transcriber

AUDIO = Path(__file__).resolve().parents[2] / "audio_samples"
RECORDINGS = [AUDIO / name for name in ("greeting.ogg", "directions.mp3", "dialogue.flac")]
THREADS = 8
# Every way through the decoder: on the device, token by token, drawn, with words, in chunks, in batches.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"beam_size": 3},
    {"temperature": 0.7, "seed": 3},
    {"repetition_penalty": 1.3},
    {"word_timestamps": True},
    {"chunking": "vad", "batch_size": 4},
    {"without_timestamps": True, "beam_size": 2, "no_repeat_ngram_size": 3},
]
JOBS = [(RECORDINGS[number % 3], options) for number, options in enumerate(OPTIONS * 2)]


in_threads = partial(benchmarks.threads.in_threads, threads=THREADS)


@pytest.fixture(scope="module")
def model() -> Transcriber:
    return max_whisper.load_model("nano", device="cpu")


@pytest.fixture(scope="module")
def alone(model: Transcriber) -> list[Any]:
    """What each of JOBS gives when nothing else runs."""
    return [model.transcribe(audio, **options) for audio, options in JOBS]


@pytest.fixture
def chance() -> random.Random:
    return random.Random(13)


def test_transcriptions_of_many_threads_are_those_of_one(
    model: Transcriber, alone: list[Any], chance: random.Random
) -> None:
    numbers = [chance.randrange(len(JOBS)) for _ in range(32)]
    heard = in_threads([partial(model.transcribe, JOBS[n][0], **JOBS[n][1]) for n in numbers])
    assert heard == [alone[n] for n in numbers]


def test_streams_that_are_left_half_read_change_no_other(
    model: Transcriber, alone: list[Any], chance: random.Random
) -> None:
    left: list[Iterator[Any]] = []

    def leave(number: int, after: int, is_kept: bool) -> None:
        audio, options = JOBS[number]
        stream = model.stream(audio, **options)
        for _ in range(after):
            next(stream, None)
        if is_kept:
            left.append(stream)  # never read on
        else:
            del stream
            gc.collect()  # a generator is closed by whichever thread finds it

    def task(number: int) -> Callable[[], Any]:
        half_read = (chance.randrange(len(JOBS)), chance.randrange(3), chance.random() < 0.5)

        def run() -> Any:
            leave(*half_read)
            audio, options = JOBS[number]
            return list(model.stream(audio, **options))

        return run

    numbers = [chance.randrange(len(JOBS)) for _ in range(16)]
    heard = in_threads([task(number) for number in numbers])
    assert heard == [list(alone[number].segments) for number in numbers]


def test_a_stream_goes_on_between_others(model: Transcriber, alone: list[Any]) -> None:
    streams = [model.stream(audio, **options) for audio, options in JOBS]
    heard: list[list[Any]] = [[] for _ in streams]
    waiting = set(range(len(streams)))
    while waiting:
        for number in sorted(waiting):
            segment = next(streams[number], None)
            if segment is None:
                waiting.remove(number)
            else:
                heard[number].append(segment)
    assert heard == [list(outcome.segments) for outcome in alone]


def test_errors_of_some_threads_change_no_other(
    model: Transcriber, alone: list[Any], chance: random.Random, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF" + bytes(100))

    def task(number: int) -> Callable[[], Any]:
        audio, options = JOBS[number]

        class LeftError(Exception):
            pass

        def leave(step: object) -> None:
            raise LeftError

        def run() -> Any:
            with pytest.raises(AudioError):
                model.transcribe(broken, **options)
            with pytest.raises(LeftError):
                model.transcribe(audio, progress=leave, **options)
            return model.transcribe(audio, **options)

        return run

    numbers = [chance.randrange(len(JOBS)) for _ in range(8)]
    assert in_threads([task(number) for number in numbers]) == [alone[number] for number in numbers]


def test_transcribe_many_in_many_threads(model: Transcriber) -> None:
    expected = list(model.transcribe_many(RECORDINGS, batch_size=3))
    heard = in_threads([lambda: list(model.transcribe_many(RECORDINGS, batch_size=3))] * 4)
    assert heard == [expected] * 4


def test_two_models_in_many_threads(chance: random.Random) -> None:
    models = [max_whisper.load_model("nano", device="cpu", compute_type=type) for type in ("float32", "int8")]
    alone = [[model.transcribe(audio) for audio in RECORDINGS] for model in models]
    chosen = [(chance.randrange(2), chance.randrange(len(RECORDINGS))) for _ in range(24)]
    heard = in_threads([partial(models[m].transcribe, RECORDINGS[r]) for m, r in chosen])
    assert heard == [alone[m][r] for m, r in chosen]


def test_models_are_loaded_while_others_transcribe() -> None:
    model = max_whisper.load_model("nano", device="cpu")
    expected = [model.transcribe(audio) for audio in RECORDINGS]

    def load_and_transcribe() -> Any:
        return max_whisper.load_model("nano", device="cpu").transcribe(RECORDINGS[0])

    tasks: list[Callable[[], Any]] = [load_and_transcribe, *(partial(model.transcribe, audio) for audio in RECORDINGS)]
    assert in_threads(tasks * 3) == [expected[0], *expected] * 3


def test_languages_are_detected_in_many_threads(chance: random.Random) -> None:
    model = max_whisper.load_model(random_checkpoint("tiny", layers=2), device="cpu")
    alone = [model.detect_language(audio) for audio in RECORDINGS]
    numbers = [chance.randrange(len(RECORDINGS)) for _ in range(16)]
    assert in_threads([partial(model.detect_language, RECORDINGS[n]) for n in numbers]) == [
        alone[number] for number in numbers
    ]


@pytest.mark.parametrize("backend", ["torch", "hybrid"])
def test_the_reference_in_many_threads(backend: str) -> None:
    model = max_whisper.load_model("nano", backend=backend, device="cpu")
    options: dict[str, Any] = {"temperature": 0.0, "word_timestamps": True}
    alone = [model.transcribe(audio, **options) for audio in RECORDINGS[:2]]
    heard = in_threads([partial(model.transcribe, audio, **options) for audio in RECORDINGS[:2]] * 3)
    assert [outcome.text for outcome in heard] == [outcome.text for outcome in alone] * 3


def test_samples_that_threads_share(model: Transcriber) -> None:
    samples = max_whisper.load_audio(RECORDINGS[0])
    assert isinstance(samples, np.ndarray)
    expected = model.transcribe(samples)
    assert in_threads([lambda: model.transcribe(samples)] * 8) == [expected] * 8
