"""Recordings are read forward, again and in stretches, and give what `load_audio` gives."""

import gc
import io
import os
import subprocess
import tempfile
import threading
import tracemalloc
import warnings
import wave
from collections.abc import Generator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from max_whisper.audio import Audio, AudioWarning, Recording, Samples, load_audio
from max_whisper.audio.reading import ReadingOptions
from max_whisper.audio.samples import HeldSamples, Joined, RecordedSamples, SampleSource, open_samples
from max_whisper.errors import AudioError

SECONDS = 20
N_SAMPLES = SECONDS * 16_000
CHANGED = "was changed, moved or removed while it was read; leave it as it is until its transcription is done"


def noise(rate: int, seconds: float = SECONDS) -> NDArray[np.int16]:
    return np.random.default_rng(rate).normal(0, 3000, round(rate * seconds)).astype(np.int16)


def write_wave(path: Path, samples: NDArray[np.int16], rate: int = 16_000, times: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        for _ in range(times):
            file.writeframes(samples.astype("<i2").tobytes())
    return path


def write(path: Path, codec: str) -> Path:
    """Encode noise at 44.1 kHz, mono."""
    with av.open(path, "w") as output:
        stream = output.add_stream(codec, rate=44_100, layout="mono")
        planes = (noise(44_100) / 32768).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44_100, 0
        for converted in av.AudioResampler(stream.codec_context.format, "mono", 44_100).resample(frame):
            output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_wave(folder / "16k.wav", noise(16_000))
    write_wave(folder / "44k.wav", noise(44_100), 44_100)
    write(folder / "talk.mp3", "libmp3lame")
    return folder


def all_of(source: SampleSource) -> Samples:
    return np.concatenate(list(source.blocks()))


class OnlyForward(io.RawIOBase):
    """Bytes that can be read once, as from a pipe, and end with an error where one is given."""

    def __init__(self, content: bytes, error: OSError | None = None) -> None:
        self._content = io.BytesIO(content)
        self._error = error

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self._content.read(size)
        if not chunk and self._error is not None:
            raise self._error
        return chunk


class Counted(Recording):
    """A recording in memory that counts the passes over it."""

    def __init__(self, samples: Samples) -> None:
        super().__init__("the recording")
        self.samples = samples
        self.passes = 0

    def _pass(self) -> Generator[Samples, None, None]:
        self.passes += 1
        for start in range(0, len(self.samples), 1000):
            yield self.samples[start : start + 1000]


class Failing(Counted):
    """A recording of which every pass fails half way."""

    def _pass(self) -> Generator[Samples, None, None]:
        yield self.samples[: len(self.samples) // 2]
        raise AudioError("no more of it")


def ramp(seconds: float) -> Samples:
    """Samples each of which is another."""
    return (np.arange(round(seconds * 16_000)) / 2**24).astype(np.float32)


class TestPasses:
    @pytest.mark.parametrize("name", ["16k.wav", "44k.wav", "talk.mp3"])
    def test_files(self, recordings: Path, name: str) -> None:
        source = open_samples(recordings / name)
        assert source.name == f"'{recordings / name}'"
        assert source.length is None
        blocks = list(source.blocks())
        assert {len(block) for block in blocks[:-1]} == {65_536}
        assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
        expected = load_audio(recordings / name)
        assert source.length == len(expected)
        assert np.array_equal(np.concatenate(blocks), expected)
        assert np.array_equal(all_of(source), expected)

    @pytest.mark.parametrize("name", ["16k.wav", "talk.mp3"])
    def test_file_objects(self, recordings: Path, name: str) -> None:
        content = (recordings / name).read_bytes()
        file = io.BytesIO(b"a header of 18 B  " + content)
        file.seek(18)
        source = open_samples(file)
        expected = load_audio(recordings / name)
        for _ in range(2):
            assert np.array_equal(all_of(source), expected)

    @pytest.mark.parametrize("in_memory", [1 << 24, 1 << 10])
    @pytest.mark.parametrize("name", ["16k.wav", "44k.wav", "talk.mp3"])
    def test_pipes(self, recordings: Path, name: str, in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("max_whisper.audio.byte_streams._IN_MEMORY", in_memory)
        expected = load_audio(recordings / name)
        with subprocess.Popen(["cat", str(recordings / name)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            source = open_samples(process.stdout)
            assert np.array_equal(all_of(source), expected)
        assert np.array_equal(all_of(source), expected)
        assert np.array_equal(source.read(1000, 2000), expected[1000:2000])

    def test_named_pipe(self, recordings: Path, tmp_path: Path) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        content = (recordings / "16k.wav").read_bytes()
        writer = threading.Thread(target=path.write_bytes, args=(content,))
        writer.start()
        source = open_samples(path)
        expected = load_audio(recordings / "16k.wav")
        for _ in range(2):
            assert np.array_equal(all_of(source), expected)
        writer.join()

    def test_m4a_from_a_pipe(self, tmp_path: Path) -> None:
        """Its index stands at its end, where a pipe cannot go first."""
        path = write(tmp_path / "talk.m4a", "aac")
        assert np.array_equal(load_audio(OnlyForward(path.read_bytes())), load_audio(path))  # type: ignore[arg-type]

    def test_pipe_that_breaks(self, recordings: Path) -> None:
        content = (recordings / "16k.wav").read_bytes()
        source = open_samples(OnlyForward(content[:200_044], OSError(5, "Input/output error")))  # type: ignore[arg-type]
        with pytest.warns(AudioWarning, match=r"the file object could not be read to its end \(Input/output error\)"):
            samples = all_of(source)
        assert np.array_equal(samples, load_audio(recordings / "16k.wav")[:100_000])
        assert np.array_equal(all_of(source), samples)

    def test_pipe_that_breaks_at_once(self) -> None:
        source = open_samples(OnlyForward(b"", OSError(5, "Input/output error")))  # type: ignore[arg-type]
        with pytest.raises(AudioError, match=r"cannot be read \(Input/output error\); check what writes it"):
            all_of(source)

    def test_no_room_for_a_pipe(self, recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Full(io.BytesIO):
            def write(self, _: object) -> int:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda _: Full())
        source = open_samples(OnlyForward((recordings / "16k.wav").read_bytes()))  # type: ignore[arg-type]
        with pytest.raises(AudioError) as caught:
            all_of(source)
        assert str(caught.value) == (
            "cannot keep the file object in a temporary file: No space left on device; "
            "set TMPDIR to a folder with room for it"
        )

    def test_a_pipe_leaves_no_file_behind(self, recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("max_whisper.audio.byte_streams._IN_MEMORY", 1 << 10)
        source = open_samples(OnlyForward((recordings / "16k.wav").read_bytes()))  # type: ignore[arg-type]
        all_of(source)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an unclosed file would be one
            del source
            gc.collect()

    @pytest.mark.parametrize("name", ["16k.wav", "16k.wav as an object", "array"])
    def test_at_the_same_time(self, recordings: Path, name: str) -> None:
        path = recordings / "16k.wav"
        file = path.open("rb")
        sources: dict[str, Audio] = {"16k.wav": path, "16k.wav as an object": file, "array": load_audio(path)}
        source = open_samples(sources[name])
        pairs = list(zip(source.blocks(), source.blocks(), strict=True))
        assert len(pairs) == 5
        assert all(np.array_equal(*pair) for pair in pairs)
        file.close()

    @pytest.mark.parametrize(("dtype", "rate"), [("int16", 44_100), ("float32", 44_100), ("float64", 8_000)])
    def test_arrays_at_other_rates(self, dtype: str, rate: int) -> None:
        samples = noise(rate)
        array = samples if dtype == "int16" else (samples / 32768).astype(dtype)
        source = open_samples(array, ReadingOptions(sample_rate=rate))
        assert source.length is None
        expected = load_audio(array, rate)
        for _ in range(2):
            assert np.array_equal(all_of(source), expected)
        assert source.length == len(expected)

    def test_blocks_of_an_array_share_its_memory(self) -> None:
        array = ramp(10)
        source = open_samples(array)
        assert source.length == len(array)
        assert all(np.shares_memory(block, array) for block in source.blocks())
        assert np.array_equal(all_of(source), array)

    @pytest.mark.parametrize("first", [True, False])
    def test_array_that_is_not_finite_after_the_first_block(self, first: bool) -> None:
        array = ramp(20)
        array[100_000 if first else -1] = np.nan
        index = 100_000 if first else len(array) - 1
        with pytest.raises(AudioError, match=rf"the first \(nan\) at index {index}$"):
            open_samples(array)

    def test_too_short(self, tmp_path: Path) -> None:
        source = open_samples(write_wave(tmp_path / "click.wav", noise(16_000)[:399]))
        with pytest.raises(AudioError, match="is too short: 399 samples"):
            all_of(source)
        with pytest.raises(AudioError, match="is too short: 399 samples"):
            source.read(0, 400)


class TestDamage:
    def test_is_warned_of_once_where_the_reading_is_asked_for(self, recordings: Path, tmp_path: Path) -> None:
        content = (recordings / "talk.mp3").read_bytes()
        path = tmp_path / "half.mp3"
        path.write_bytes(content[: len(content) // 2])
        source = open_samples(path)
        with pytest.warns(AudioWarning, match="is cut short: its header declares 20") as caught:
            first = all_of(source)
        assert [Path(warning.filename) for warning in caught] == [Path(__file__)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(all_of(source), first)
            assert np.array_equal(source.read(0, len(first)), first)

    @pytest.mark.parametrize("change", ["longer", "other", "removed"])
    def test_file_that_changes_after_the_first_pass(self, tmp_path: Path, change: str) -> None:
        path = write_wave(tmp_path / "talk.wav", noise(16_000))
        source = open_samples(path)
        all_of(source)
        source.read(0, 1000)  # and from here on while the file is open
        if change == "removed":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes() + b"\0" * 64 if change == "longer" else path.read_bytes()[::-1])
            os.utime(path, ns=(1, 1))
        for read in (lambda: source.read(N_SAMPLES - 100, N_SAMPLES), lambda: all_of(source)):
            for _ in range(2):
                with pytest.raises(AudioError) as caught:
                    read()
                assert str(caught.value) == f"'{path}' {CHANGED}"

    def test_recording_that_grows_is_taken_as_far_as_it_goes(self, tmp_path: Path) -> None:
        path = write_wave(tmp_path / "talk.wav", noise(16_000))
        source = open_samples(path)
        blocks = source.blocks()
        first = next(blocks)
        with path.open("ab") as file:
            file.write(b"\0" * 64)
        samples = np.concatenate([first, *blocks])
        assert np.array_equal(all_of(source), samples)

    def test_another_length(self) -> None:
        recording = Counted(ramp(10))
        source = RecordedSamples(recording)
        all_of(source)
        recording.samples = ramp(9)
        with pytest.raises(AudioError, match=f"^the recording {CHANGED}$"):
            all_of(source)

    def test_file_object_that_was_closed(self, recordings: Path) -> None:
        with (recordings / "16k.wav").open("rb") as file:
            source = open_samples(file)
        with pytest.raises(AudioError) as caught:
            all_of(source)
        expected = f"'{recordings / '16k.wav'}' was closed before it was transcribed; keep it open until then"
        assert str(caught.value) == expected


class TestRead:
    @pytest.mark.parametrize("name", ["16k.wav", "44k.wav", "talk.mp3"])
    def test_forward(self, recordings: Path, name: str) -> None:
        expected = np.concatenate([load_audio(recordings / name), np.zeros(N_SAMPLES, np.float32)])
        source = open_samples(recordings / name)
        rng = np.random.default_rng(0)
        for start in np.sort(rng.integers(0, N_SAMPLES + 1000, 50)):
            stop = start + rng.integers(0, 200_000)
            samples = source.read(start, stop)
            assert samples.dtype == np.float32
            assert np.array_equal(samples, expected[start:stop])

    def test_one_pass_serves_windows_that_overlap(self) -> None:
        recording = Counted(ramp(300))
        source = RecordedSamples(recording)
        for start in range(0, 270 * 16_000, 100_000):
            assert np.array_equal(source.read(start, start + 480_000), recording.samples[start : start + 480_000])
            assert np.array_equal(source.read(start, start + 100), recording.samples[start : start + 100])
        assert recording.passes == 1

    def test_far_ahead_and_back(self) -> None:
        recording = Counted(ramp(300))
        source = RecordedSamples(recording)
        for passes, start in enumerate([4_000_000, 10, 3_000_000, 0], start=1):
            assert np.array_equal(source.read(start, start + 1000), recording.samples[start : start + 1000])
            assert recording.passes == passes - (passes > 2)

    def test_failure_is_not_taken_for_the_end(self) -> None:
        source = RecordedSamples(Failing(ramp(20)))
        assert np.array_equal(source.read(0, 100_000), ramp(20)[:100_000])
        for _ in range(2):
            with pytest.raises(AudioError, match="no more of it"):
                source.read(100_000, 200_000)

    def test_memory(self, tmp_path: Path) -> None:
        path = write_wave(tmp_path / "long.wav", noise(16_000), times=18)  # 6 minutes: 23 MB of float32
        source = open_samples(path)
        tracemalloc.start()
        try:
            n_samples = sum(len(block) for block in source.blocks())
            for start in range(0, n_samples, 400_000):
                source.read(start, start + 480_000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert n_samples == 6 * 60 * 16_000
        assert peak < 8e6


class TestStretches:
    SPANS = ((100, 70_000), (70_000, 70_001), (200_000, 200_000), (240_000, 310_007))

    @pytest.fixture
    def source(self, recordings: Path) -> SampleSource:
        return open_samples(recordings / "16k.wav")

    def test_joined(self, source: SampleSource) -> None:
        whole = all_of(source)
        expected = np.concatenate([whole[start:stop] for start, stop in self.SPANS])
        joined = Joined(source, self.SPANS)
        assert joined.name == source.name
        assert joined.length == len(expected)
        blocks = list(joined.blocks())
        assert {len(block) for block in blocks[:-1]} == {65_536}
        assert np.array_equal(np.concatenate(blocks), expected)
        expected = np.concatenate([expected, np.zeros(1000, np.float32)])
        for start, stop in [
            (0, 5),
            (69_890, 69_910),
            (69_899, 139_908),
            (0, 140_908),
            (139_907, 139_920),
            (140_000, 140_009),
        ]:
            assert np.array_equal(joined.read(start, stop), expected[start:stop])

    def test_excerpt(self, source: SampleSource) -> None:
        whole = all_of(source)
        excerpt = Joined(source, [(1234, 200_001)])
        assert excerpt.length == 200_001 - 1234
        assert np.array_equal(all_of(excerpt), whole[1234:200_001])
        inner = Joined(excerpt, [(66, 1000)])
        assert np.array_equal(inner.read(0, 1000), np.append(whole[1300:2234], np.zeros(66, np.float32)))

    def test_excerpts_one_after_the_other_are_one_pass(self) -> None:
        recording = Counted(ramp(300))
        source = RecordedSamples(recording)
        for start in range(0, 300 * 16_000, 480_000):
            excerpt = Joined(source, [(start, start + 480_000)])
            assert np.array_equal(all_of(excerpt), excerpt.read(0, 480_000))
        assert recording.passes == 1

    def test_of_nothing(self, source: SampleSource) -> None:
        nothing = Joined(source, [])
        assert nothing.length == 0
        assert list(nothing.blocks()) == []
        assert np.array_equal(nothing.read(0, 10), np.zeros(10, np.float32))

    @pytest.mark.parametrize("spans", [[(0, 10), (5, 20)], [(10, 20), (0, 5)], [(10, 5)], [(-1, 5)]])
    def test_spans_out_of_order(self, source: SampleSource, spans: list[tuple[int, int]]) -> None:
        with pytest.raises(ValueError, match="spans have to be in order and apart"):
            Joined(source, spans)


def test_held_samples_are_a_source_of_their_own() -> None:
    samples = np.random.default_rng(4).standard_normal(150_000).astype(np.float32)
    source = HeldSamples(samples, "a chunk")
    assert (source.name, source.length) == ("a chunk", 150_000)
    assert [len(block) for block in source.blocks()] == [65_536, 65_536, 18_928]
    assert np.array_equal(np.concatenate(list(source.blocks())), samples)
    for start, stop in ((0, 100), (70_000, 140_000), (149_990, 150_010), (150_000, 150_005), (160_000, 160_003)):
        expected = np.zeros(stop - start, np.float32)
        expected[: len(samples[start:stop])] = samples[start:stop]
        assert np.array_equal(source.read(start, stop), expected)
    assert list(HeldSamples(samples[:0], "nothing").blocks()) == []
    assert [len(block) for block in HeldSamples(samples[:3], "a click").blocks()] == [3]  # shorter than 25 ms
