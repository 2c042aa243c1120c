"""Speech found while a recording is read: the spans and chunks of the whole recording, as soon as they are final."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from max_whisper.audio import SAMPLE_RATE, load_audio
from max_whisper.audio.samples import HeldSamples, SampleSource, open_samples
from max_whisper.audio.vad import (
    CHUNKED,
    FRAME_SAMPLES,
    Span,
    SpeechChunks,
    SpeechSpans,
    Stretch,
    VadParameters,
    find_speech,
    pack_spans,
    read_speech,
    speech_spans,
)

SAMPLES = Path(__file__).resolve().parents[2] / "audio_samples"
RECORDINGS = sorted(path for path in SAMPLES.iterdir() if path.suffix in (".flac", ".mp3", ".ogg", ".wav", ".m4a"))

PARAMETERS = {
    "the defaults": VadParameters(),
    "chunks": CHUNKED,
    "no padding": VadParameters(speech_pad_ms=0, min_silence_duration_ms=0, max_speech_duration_s=3),
    "little padding": VadParameters(speech_pad_ms=6.5, min_silence_duration_ms=32, max_speech_duration_s=2),
    "much padding": VadParameters(speech_pad_ms=900, min_silence_duration_ms=100, max_speech_duration_s=5),
    "last pause": VadParameters(use_max_poss_sil_at_max_speech=False, max_speech_duration_s=4),
    "short speech left out": VadParameters(min_speech_duration_ms=500, min_silence_duration_ms=64),
}


def curve(generator: np.random.Generator, n_frames: int) -> np.ndarray:
    """Probabilities that stay high or low for a while, with outliers."""
    lengths = generator.geometric(1 / generator.choice([2, 8, 40, 200]), n_frames)
    levels = np.repeat(generator.choice([0.02, 0.2, 0.4, 0.6, 0.95], n_frames), lengths)[:n_frames]
    return np.clip(levels + generator.normal(0, 0.1, n_frames), 0, 1).astype(np.float32)


def cut(generator: np.random.Generator, probabilities: np.ndarray, mean: float) -> list[np.ndarray]:
    """The probabilities in pieces of random length, some of them empty."""
    n_cuts = int(len(probabilities) / mean) + 1
    return np.split(probabilities, np.sort(generator.integers(0, len(probabilities) + 1, n_cuts)))


@pytest.mark.parametrize("name", PARAMETERS)
def test_spans_and_chunks_are_those_of_the_whole_recording(name: str) -> None:
    parameters, generator, n_spans = PARAMETERS[name], np.random.default_rng(5), 0
    for _ in range(60):
        probabilities = curve(generator, int(generator.integers(1, 4000)))
        n_samples = len(probabilities) * FRAME_SAMPLES - int(generator.integers(0, FRAME_SAMPLES))
        expected = speech_spans(probabilities, n_samples, parameters)
        # The last frame may not be whole: it comes with the end.
        whole = len(probabilities) if n_samples % FRAME_SAMPLES == 0 else len(probabilities) - 1
        spans, chunks = SpeechSpans(parameters), SpeechChunks()
        found, packed = list[Span](), list[Span]()
        for piece in cut(generator, probabilities[:whole], float(generator.choice([3, 32, 500]))):
            new = spans.feed(piece)
            found += new
            packed += chunks.feed(new, spans.coming)
            later = expected[len(found) :]
            assert all(span.start >= spans.coming.start and span.stop >= spans.coming.stop for span in later)
        new = spans.finish(probabilities[whole:], n_samples)
        found += new
        packed += [*chunks.feed(new), *chunks.finish()]
        assert found == expected
        assert packed == pack_spans(expected)
        n_spans += len(found)
    assert n_spans > 100


def followed(probabilities: np.ndarray) -> Iterator[np.ndarray]:
    """Probabilities that may follow each other: an end, silence, speech, and both in turns."""
    yield probabilities
    for after in ([0.0] * 2000, [1.0] * 2000, ([1.0] * 3 + [0.0] * 9) * 150, ([0.0] * 4 + [1.0] * 40) * 50):
        yield np.concatenate([probabilities, np.array(after, np.float32)])


@pytest.mark.parametrize("name", PARAMETERS)
def test_nothing_that_follows_changes_what_has_come(name: str) -> None:
    generator, n_come = np.random.default_rng(6), 0
    for _ in range(25):
        probabilities = curve(generator, int(generator.integers(1, 3000)))
        spans, chunks = SpeechSpans(PARAMETERS[name]), SpeechChunks()
        come = spans.feed(probabilities)
        come_chunks = chunks.feed(come, spans.coming)
        for longer in followed(probabilities):
            whole = speech_spans(longer, len(longer) * FRAME_SAMPLES, PARAMETERS[name])
            assert whole[: len(come)] == come
            assert pack_spans(whole)[: len(come_chunks)] == come_chunks
        n_come += len(come_chunks)
    assert n_come > 10


def seconds(*parts: tuple[float, float]) -> np.ndarray:
    """Probabilities of parts: how probable speech is, and for how many seconds."""
    return np.concatenate([np.full(round(length * SAMPLE_RATE / FRAME_SAMPLES), level) for level, length in parts])


@pytest.mark.parametrize(
    ("recording", "latest"),
    [
        (seconds((1, 5), (0, 60)), 5 + 0.8 + 2.1),  # a pause of 2 s, and padding twice
        (seconds((1, 20), (0, 1), (1, 60)), 30.1),  # no further span fits
        (seconds((1, 200)), 60.1),  # one of 30 s, after which a second one does not fit either
    ],
)
def test_chunks_come_as_soon_as_they_are_final(recording: np.ndarray, latest: float) -> None:
    spans, chunks = SpeechSpans(CHUNKED), SpeechChunks()
    for number, probability in enumerate(recording.astype(np.float32), start=1):
        if chunks.feed(spans.feed(np.array([probability])), spans.coming):
            assert number * FRAME_SAMPLES / SAMPLE_RATE <= latest
            return
    pytest.fail("no chunk came before the end")


@pytest.mark.parametrize("parameters", [CHUNKED, VadParameters(max_speech_duration_s=30, speech_pad_ms=30)], ids=str)
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_the_speech_of_recordings(path: Path, parameters: VadParameters) -> None:
    samples = load_audio(path)
    spans = find_speech(open_samples(samples), parameters)
    read = list(read_speech(open_samples(path), parameters))
    assert_stretches([stretch for step in read for stretch in step.spans], spans, samples)
    whole_frames = [Span(start - start % 160, stop) for start, stop in pack_spans(spans)]
    assert_stretches([stretch for step in read for stretch in step.chunks], whole_frames, samples)


def assert_stretches(stretches: Sequence[Stretch], spans: Sequence[Span], samples: np.ndarray) -> None:
    assert [stretch.span for stretch in stretches] == list(spans)
    for stretch in stretches:
        assert np.array_equal(stretch.samples, samples[stretch.span.start : stretch.span.stop])


class Watched(HeldSamples):
    """Samples whose blocks are counted as they are read."""

    n_read = 0

    def blocks(self) -> Iterator[np.ndarray]:
        for block in super().blocks():
            self.n_read += len(block)
            yield block


def test_chunks_come_while_the_recording_is_read() -> None:
    one_day = load_audio(SAMPLES / "one_day.flac")
    source = Watched(np.tile(one_day, 3), "a long recording")
    for step in read_speech(source, CHUNKED):
        if step.chunks:
            break
    assert source.n_read < 45 * SAMPLE_RATE < source.length


def test_the_samples_of_a_source_are_not_kept() -> None:
    """A recording of many hours has the memory of a chunk: no sample is held for longer than about a minute."""
    from max_whisper.audio.vad import find as module

    held: list[int] = []

    class Counting(module._Kept):
        def add(self, block: np.ndarray) -> None:
            super().add(block)
            held.append(sum(map(len, self._blocks)))

    source: SampleSource = HeldSamples(np.tile(load_audio(SAMPLES / "one_day.flac"), 4), "a long recording")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_Kept", Counting)
        n_chunks = sum(len(step.chunks) for step in read_speech(source, CHUNKED))
    assert n_chunks > 8
    assert max(held) < 60 * SAMPLE_RATE
