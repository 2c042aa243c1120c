"""Sound stands where its container's time stamps have it: gaps and late starts are silence, nothing else changes."""

import io
import tracemalloc
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from max_whisper.audio import AudioWarning, load_audio, open_recording
from max_whisper.audio.ffmpeg import resampled
from max_whisper.audio.timeline import on_timeline
from tests.audio.containers import noise, write

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
RATE = 16_000
LENGTH = 320  # samples of a frame in the tests of frames: 20 ms


class OnlyForward(io.BytesIO):
    """A pipe."""

    def seekable(self) -> bool:
        return False


def frame(
    value: int, time: float | None, *, format: str = "s16", layout: str = "mono", length: int = LENGTH
) -> av.AudioFrame:
    """A frame with one value everywhere."""
    channels = av.AudioLayout(layout).nb_channels
    shape = (1, length * channels)
    made = av.AudioFrame.from_ndarray(np.full(shape, value, np.int16), format="s16", layout=layout)
    made.sample_rate = RATE
    if format != "s16":
        (made,) = (
            piece for piece in av.AudioResampler(format, layout, RATE, frame_size=length).resample(made) if piece
        )
    made.pts = None
    if time is not None:
        made.time_base, made.pts = Fraction(1, 1_000_000), round(time * 1e6)
    return made


def no_gap(seconds: float) -> None:
    pytest.fail(f"a gap of {seconds} s was left out")


def even(count: int, first: float = 0.0) -> list[float]:
    """The times of frames, one right after the other."""
    return [first + number * LENGTH / RATE for number in range(count)]


class Placed:
    """What comes of frames with these times: the seconds at which each begins, and the gaps that were left out."""

    def __init__(self, times: Sequence[float | None], start: float | None = 0.0, end: float | None = None) -> None:
        self.disbelieved: list[float] = []
        self.longest = 0
        frames = (frame(number + 1, time) for number, time in enumerate(times))
        found: dict[int, float] = {}
        n_samples = 0
        for piece in on_timeline(frames, start, end, self.disbelieved.append):
            self.longest = max(self.longest, piece.samples)
            if value := int(piece.to_ndarray()[0, 0]):
                found[value] = n_samples / RATE
            n_samples += piece.samples
        assert list(found) == list(range(1, len(times) + 1))
        self.times = list(found.values())
        self.seconds = n_samples / RATE


class TestFrames:
    @pytest.mark.parametrize("first", [0.0, 0.02, 0.099, -0.02])
    def test_even_times_change_nothing(self, first: float) -> None:
        placed = Placed(even(100, first))
        assert placed.times == pytest.approx(even(100))
        assert placed.seconds == 2.0

    def test_jitter_changes_nothing(self) -> None:
        jitter = np.random.default_rng(0).uniform(-0.045, 0.045, 500)
        placed = Placed([time + shake for time, shake in zip(even(500), jitter, strict=True)])
        assert placed.times == pytest.approx(even(500))

    @pytest.mark.parametrize("gap", [0.11, 1.0, 10.0, 700.0])
    def test_gap(self, gap: float) -> None:
        times = even(50) + even(50, 1.0 + gap)
        placed = Placed(times)
        assert placed.times == pytest.approx(times, abs=1e-4)
        assert placed.longest == min(RATE, max(LENGTH, round(gap * RATE)))

    @pytest.mark.parametrize("late", [0.11, 5.0, 3000.0])
    def test_late_start(self, late: float) -> None:
        times = even(50, 7.0 + late)
        assert Placed(times, start=7.0).times == pytest.approx([time - 7.0 for time in times], abs=1e-4)

    @pytest.mark.parametrize("start", [None, 36_000.0])
    def test_a_clock_that_starts_at_any_time(self, start: float | None) -> None:
        assert Placed(even(50, 36_000.0), start).times == pytest.approx(even(50))

    def test_single_packets_that_are_lost_add_up(self) -> None:
        """As of a call: every tenth is missing, none of these gaps is long enough to be seen alone."""
        times = [time for number, time in enumerate(even(1000)) if number % 10]
        placed = Placed(times)
        assert np.abs(np.subtract(placed.times, times)).max() < 0.13
        assert not placed.disbelieved

    def test_an_overlap_is_kept_and_made_up_for_by_the_next_gap(self) -> None:
        times = even(50) + even(50, 0.6) + even(50, 3.0)
        placed = Placed(times)
        assert placed.times[:100] == pytest.approx(even(100))
        assert placed.times[100:] == pytest.approx(times[100:])

    @pytest.mark.parametrize("wrong", [[36_000.0], [50.0], [0.0], [-36_000.0], [2.0], [36_000.0, 36_000.02]])
    def test_stamps_that_are_damaged(self, wrong: list[float]) -> None:
        times = even(200)
        times[80 : 80 + len(wrong)] = wrong
        placed = Placed(times)
        assert placed.times == pytest.approx(even(200))
        assert not placed.disbelieved

    def test_frames_without_stamps(self) -> None:
        times: list[float | None] = [*even(50), *[None] * 50, *even(50, 5.0)]
        assert Placed(times).times == pytest.approx(even(100) + even(50, 5.0))
        assert Placed([None] * 100).times == pytest.approx(even(100))
        assert Placed([None] * 100, start=None).times == pytest.approx(even(100))

    def test_a_second_count_of_the_time(self) -> None:
        """Of a file joined to the first; a gap in it is one too."""
        placed = Placed(even(100, 50.0) + even(100) + even(100, 5.0), start=50.0)
        assert placed.times == pytest.approx(even(200) + even(100, 7.0))

    def test_hours_ahead(self) -> None:
        placed = Placed(even(100) + even(100, 18_000.0) + even(100, 18_005.0))
        assert placed.times == pytest.approx(even(200) + even(100, 7.0))
        assert placed.disbelieved == [pytest.approx(17_998.0)]

    def test_many_gaps_make_an_hour_at_most(self) -> None:
        times = [time for number in range(10) for time in even(50, 891.0 * number)]
        placed = Placed(times)
        assert placed.seconds == pytest.approx(4 * 890 + 10)
        assert placed.disbelieved == [pytest.approx(890.0)] * 5

    @pytest.mark.parametrize("end", [3700.0, 7300.0])
    def test_declared_end(self, end: float) -> None:
        times = even(50) + even(50, end - 1.0)
        assert Placed(times, end=end).times == pytest.approx(times)
        placed = Placed(times, end=end - 5.0)
        assert placed.times == pytest.approx(even(100))
        assert placed.disbelieved == [pytest.approx(end - 2.0)]

    def test_what_is_held(self) -> None:
        """Silence is made as it is taken, and no more than half a second of sound is read ahead."""
        n_read = 0

        def frames() -> Iterator[av.AudioFrame]:
            nonlocal n_read
            for time in even(50) + even(1000, 3000.0):
                n_read += 1
                yield frame(1, time)

        n_silent = 0
        for piece in on_timeline(frames(), 0.0, None, no_gap):
            if not piece.to_ndarray().any():
                n_silent += 1
                assert n_read <= 50 + 1 + 26
        assert n_silent == 2999

    @pytest.mark.parametrize("format", ["s16", "s16p", "u8", "u8p", "s32", "flt", "fltp", "dblp"])
    @pytest.mark.parametrize("layout", ["mono", "stereo", "5.1", "7.1.4"])
    def test_formats(self, format: str, layout: str) -> None:
        """Of twelve channels too, whose planes PyAV does not reach."""
        frames = [frame(8000, time, format=format, layout=layout) for time in even(50) + even(50, 3.0)]
        pieces = on_timeline(frames, 0.0, None, no_gap)
        samples = np.concatenate(list(resampled(pieces, "s16", RATE)))
        assert len(samples) == 4 * RATE
        assert not samples[RATE + 100 : 3 * RATE - 100].any()
        assert np.abs(samples[100 : RATE - 100]).min() > 1000
        assert np.abs(samples[3 * RATE + 100 : -100]).min() > 1000


# name, codec, rate, format, whether the samples are exact
KINDS = [
    ("pcm.mkv", "pcm_s16le", 16_000, None, True),
    ("flac.mka", "flac", 16_000, "matroska", True),
    ("pcm.nut", "pcm_s16le", 16_000, None, True),
    ("flac.oga", "flac", 16_000, "ogg", False),
    ("opus.webm", "libopus", 48_000, None, False),
    ("opus.ogg", "libopus", 48_000, None, False),
    ("aac.mp4", "aac", 44_100, None, False),
    ("aac.mov", "aac", 44_100, None, False),
    ("fragments.mp4", "aac", 44_100, None, False),
    ("aac.ts", "aac", 48_000, "mpegts", False),
    ("aac.flv", "aac", 44_100, None, False),
    ("mp3.mkv", "libmp3lame", 44_100, None, False),
    ("mp2.mpg", "mp2", 44_100, "mpeg", False),
]
WITH_VIDEO = [kind for kind in KINDS if not kind[0].endswith((".oga", ".ogg", ".webm", ".mka", ".flv"))]


def options_of(name: str) -> dict[str, str]:
    return {"movflags": "frag_keyframe+delay_moov+skip_trailer"} if name == "fragments.mp4" else {}


def loud(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether there is sound, every 10 ms."""
    whole = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    found: NDArray[np.bool_] = np.abs(whole).max(axis=1) > 0.02
    return found


def quietly(source: object) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_audio(source)  # type: ignore[arg-type]


def joined(path: Path) -> NDArray[np.float32]:
    """The samples without the container's times."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_audio(path, container_times=False)


class TestContainers:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
    def test_gap(self, tmp_path: Path, kind: tuple[str, str, int, str | None, bool]) -> None:
        name, codec, rate, format, is_exact = kind
        path, sound = tmp_path / name, noise(6, rate)
        size = write(path, sound, codec, rate=rate, format=format, gaps=[(3, 10)], options=options_of(name))
        samples = quietly(path)
        sounding = loud(samples)
        assert len(samples) == pytest.approx(16 * RATE, abs=0.1 * RATE)
        assert sounding[5:295].all()
        assert not sounding[310:1295].any()
        assert sounding[1315:1590].all()
        if is_exact:
            first = -(-3 * rate // size) * size  # the first sample of the packet that is late
            expected = np.concatenate([sound[:first], np.zeros(10 * rate, np.int16), sound[first:]])
            assert np.abs(len(samples) - len(expected)) <= 8  # Matroska's stamps are milliseconds
            assert np.array_equal(samples[:first], expected[:first] / np.float32(32768))
            assert np.array_equal(samples[-len(sound) + first :], sound[first:] / np.float32(32768))
        assert np.array_equal(quietly(OnlyForward(path.read_bytes())), samples)
        assert len(joined(path)) == pytest.approx(6 * RATE, abs=0.1 * RATE)

    @pytest.mark.parametrize("kind", WITH_VIDEO, ids=lambda kind: kind[0])
    def test_late_start(self, tmp_path: Path, kind: tuple[str, str, int, str | None, bool]) -> None:
        name, codec, rate, format, _ = kind
        path = tmp_path / name
        write(path, noise(3, rate), codec, rate=rate, format=format, start=5, video=(0, 9), options=options_of(name))
        sounding = loud(quietly(path))
        assert not sounding[:490].any()
        assert sounding[510:790].all()
        assert len(sounding) == pytest.approx(800, abs=10)
        assert loud(joined(path))[10:290].all()

    @pytest.mark.parametrize("kind", WITH_VIDEO, ids=lambda kind: kind[0])
    def test_video_that_starts_late(self, tmp_path: Path, kind: tuple[str, str, int, str | None, bool]) -> None:
        name, codec, rate, format, _ = kind
        path = tmp_path / name
        write(path, noise(6, rate), codec, rate=rate, format=format, video=(3, 6), options=options_of(name))
        assert np.array_equal(quietly(path), joined(path))

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
    @pytest.mark.parametrize("start", [0.0, 7.0])
    def test_sound_alone_starts_the_container(
        self, tmp_path: Path, kind: tuple[str, str, int, str | None, bool], start: float
    ) -> None:
        name, codec, rate, format, _ = kind
        path = tmp_path / name
        write(path, noise(3, rate), codec, rate=rate, format=format, start=start, options=options_of(name))
        samples = quietly(path)
        if not (start and name == "flac.oga"):  # FFmpeg writes the time of its first page, and takes it to be 0
            assert np.array_equal(samples, joined(path))
        assert loud(samples)[10:290].all()

    @pytest.mark.parametrize("gaps", [[(second, -0.05) for second in np.arange(1, 3, 0.1)], [(1, 0.05), (2, -0.05)]])
    def test_overlap_and_jitter(self, tmp_path: Path, gaps: list[tuple[float, float]]) -> None:
        path = tmp_path / "it.nut"
        write(path, noise(4), gaps=gaps)
        assert np.array_equal(load_audio(path), noise(4) / np.float32(32768))

    @pytest.mark.parametrize("seconds", [95_437.0, 95_441.0])
    def test_transport_stream_whose_count_begins_again(self, tmp_path: Path, seconds: float) -> None:
        """Its 33 bits of 90 kHz are full after 26.5 hours."""
        path = tmp_path / "it.ts"
        write(path, noise(10, 48_000), "aac", rate=48_000, start=seconds, gaps=[(5, 2)], format="mpegts")
        sounding = loud(quietly(path))
        assert sounding[10:495].all()
        assert not sounding[510:695].any()
        assert sounding[710:1190].all()

    def test_transport_streams_one_after_the_other(self, tmp_path: Path) -> None:
        parts = []
        for start in (100.0, 0.0, 90_000.0):
            write(tmp_path / "part.ts", noise(3, 48_000), "aac", rate=48_000, start=start, format="mpegts")
            parts.append((tmp_path / "part.ts").read_bytes())
        path = tmp_path / "all.ts"
        path.write_bytes(b"".join(parts))
        with pytest.warns(AudioWarning, match=r"time stamps leap \d+ s ahead, for which there is no room"):
            samples = load_audio(path)
        assert len(samples) == pytest.approx(9 * RATE, abs=0.2 * RATE)

    @pytest.mark.parametrize("seconds", [20.0, 7200.0])
    def test_stretch_of_damaged_stamps(self, tmp_path: Path, seconds: float) -> None:
        """The header says how long the recording is, so sound cannot be hours later."""
        path = tmp_path / "it.mkv"
        write(path, noise(6), gaps=[(2, seconds)])
        whole = path.read_bytes()
        place = whole.index(b"\x44\x89\x88") + 3  # Duration, in milliseconds
        path.write_bytes(whole[:place] + np.array(6000.0, ">f8").tobytes() + whole[place + 8 :])
        with pytest.warns(AudioWarning, match=rf"leap {seconds:.0f} s ahead, for which there is no room"):
            samples = load_audio(path)
        assert np.array_equal(samples, noise(6) / np.float32(32768))

    def test_a_gap_of_hours_in_a_film_of_hours(self, tmp_path: Path) -> None:
        path = tmp_path / "it.mkv"
        write(path, noise(6), gaps=[(3, 4000)])
        recording = open_recording(path)
        tracemalloc.start()
        try:
            loudness = [float(np.abs(block).max()) for block in recording.blocks()]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert recording.length == pytest.approx(4006 * RATE, abs=16)
        assert sum(value > 0 for value in loudness) <= 4
        assert peak < 4e6

    @pytest.mark.parametrize("gaps", [[(3, 10)], [(1, 0.5), (2, 3)], []])
    def test_equal_to_ffmpegs_own_filter(self, tmp_path: Path, gaps: list[tuple[float, float]]) -> None:
        """`aresample=async=1:first_pts=0`, which people give the `ffmpeg` program for the same end."""
        path = tmp_path / "it.nut"
        write(path, noise(6), gaps=gaps, start=2, video=(0, 12))
        with av.open(path) as container:
            stream = container.streams.audio[0]
            graph = av.filter.Graph()
            source = graph.add_abuffer(template=stream)
            filter = graph.add("aresample", "async=1:first_pts=0")
            sink = graph.add("abuffersink")
            source.link_to(filter)
            filter.link_to(sink)
            graph.configure()
            pieces = []
            for made in [*container.decode(stream), None]:
                graph.push(made)
                while True:
                    try:
                        pieces.append(graph.pull().to_ndarray()[0])
                    except (av.error.BlockingIOError, av.error.EOFError):
                        break
        assert np.array_equal(load_audio(path), np.concatenate(pieces) / np.float32(32768))


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not here")
class TestCases:
    def test_sound_that_starts_after_the_video(self) -> None:
        sounding = loud(quietly(CASES / "audio_starts_5s_after_video.mp4"))
        assert not sounding[:500].any()
        assert np.argmax(sounding) == pytest.approx(543, abs=5)

    def test_missing_packets(self) -> None:
        sounding = loud(quietly(CASES / "packets_missing_3s_to_13s.mkv"))
        assert np.argmax(sounding) == pytest.approx(43, abs=5)
        assert not sounding[318:1300].any()
        assert np.argmax(sounding[1300:]) == pytest.approx(43, abs=5)
