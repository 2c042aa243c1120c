"""Of several audio tracks the one that is asked for is read, and without a wish the main one, no commentary."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from numpy.typing import NDArray

from max_whisper.audio import load_audio
from max_whisper.errors import AudioError, OptionError

RATE = 16_000
PITCHES = (440, 880, 1320, 1760)  # Hz, of the first track and those after it

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")


NONE, DEFAULT, COMMENT = Disposition(0), Disposition.default, Disposition.comment


@dataclass
class Track:
    """An audio track, in which a tone sounds."""

    disposition: Disposition = NONE
    title: str = ""
    language: str = ""
    layout: str = "mono"


def write(path: Path, tracks: Sequence[Track], codec: str = "flac", title_key: str = "title") -> Path:
    """A file with these tracks, each of a tone of its own pitch."""
    with av.open(str(path), "w") as output:
        streams = []
        for track in tracks:
            stream = output.add_stream(codec, rate=RATE, layout=track.layout)
            stream.disposition = track.disposition
            for key, value in ((title_key, track.title), ("language", track.language)):
                if value:
                    stream.metadata[key] = value
            streams.append(stream)
        for stream, track, pitch in zip(streams, tracks, PITCHES, strict=False):
            tone = 0.5 * np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE)
            planes = np.tile(tone.astype(np.float32), (av.AudioLayout(track.layout).nb_channels, 1))
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=track.layout)
            frame.sample_rate, frame.pts = RATE, 0
            for converted in av.AudioResampler(stream.codec_context.format or "s16", track.layout, RATE).resample(
                frame
            ):
                output.mux(stream.encode(converted))
            output.mux(stream.encode(None))
    return path


def track_in(samples: NDArray[np.float32]) -> int:
    """The number, from 1 on, of the track whose tone sounds."""
    pitch = np.abs(np.fft.rfft(samples[:RATE])).argmax() * RATE / min(RATE, len(samples))
    return 1 + int(np.abs(np.array(PITCHES) - pitch).argmin())


def read(path: Path, **options: int | str) -> int:
    return track_in(load_audio(path, **options))  # type: ignore[arg-type]


def message(path: Path, **options: int | str) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestWithoutAWish:
    @pytest.mark.parametrize(
        "beside",
        [
            Track(DEFAULT | COMMENT),
            Track(DEFAULT | Disposition.visual_impaired),
            Track(DEFAULT | Disposition.hearing_impaired),
            Track(DEFAULT, "Director's commentary"),
            Track(DEFAULT, "Commentary with cast & crew", layout="stereo"),
            Track(DEFAULT, "English (Audio Description)"),
            Track(DEFAULT, "Audiokommentar von Wim Wenders"),
            Track(DEFAULT, "Commentaire audio"),
            Track(DEFAULT, "Comentarios del director"),
            Track(DEFAULT, "комментарии режиссёра"),
            Track(layout="stereo", title="Audiodescription"),
        ],
    )
    @pytest.mark.parametrize("is_first", [True, False])
    def test_no_commentary(self, tmp_path: Path, beside: Track, is_first: bool) -> None:
        tracks = [beside, Track()] if is_first else [Track(), beside]
        assert read(write(tmp_path / "film.mkv", tracks)) == (2 if is_first else 1)

    @pytest.mark.parametrize("name", ["clean_effects", "hearing_impaired", "visual_impaired"])
    def test_of_a_broadcast(self, tmp_path: Path, name: str) -> None:
        tracks = [Track(Disposition[name], layout="stereo", language="eng"), Track(language="eng")]
        assert read(write(tmp_path / "film.ts", tracks, "mp2")) == 2

    def test_descriptions_in_mp4(self, tmp_path: Path) -> None:
        tracks = [Track(DEFAULT | Disposition.descriptions, layout="stereo"), Track()]
        assert read(write(tmp_path / "film.mp4", tracks, "aac")) == 2

    def test_of_a_film_in_mp4(self, tmp_path: Path) -> None:
        tracks = [Track(title="Director's commentary", layout="stereo"), Track(title="SoundHandler")]
        assert read(write(tmp_path / "film.mp4", tracks, "aac", "handler_name")) == 2

    @pytest.mark.parametrize(
        ("tracks", "expected"),
        [
            ([Track(COMMENT), Track(DEFAULT | COMMENT)], 2),  # there is nothing else
            ([Track(title="Commentary")], 1),
            ([Track(), Track(DEFAULT), Track(COMMENT, layout="stereo")], 2),
            ([Track(COMMENT), Track(), Track(layout="stereo")], 3),
        ],
    )
    def test_choice_among_the_others(self, tmp_path: Path, tracks: list[Track], expected: int) -> None:
        assert read(write(tmp_path / "film.mkv", tracks)) == expected

    @needs_ffmpeg
    @pytest.mark.parametrize(
        "tracks",
        [
            [Track(), Track()],
            [Track(), Track(layout="stereo")],
            [Track(DEFAULT), Track(layout="stereo")],
            [Track(), Track(DEFAULT), Track(layout="stereo")],
            [Track(Disposition.dub, "Commented source code"), Track(Disposition.original, "Community")],
            [Track(DEFAULT, "Original", "jpn"), Track(title="Dub", language="eng")],
            [Track(title="AD 2024 lecture"), Track()],
        ],
    )
    def test_ordinary_files_are_read_as_ffmpeg_reads_them(self, tmp_path: Path, tracks: list[Track]) -> None:
        path = write(tmp_path / "talk.mkv", tracks)
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "s16le", "-ac", "1", "-ar", str(RATE), "-"]
        expected = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.int16)
        assert np.array_equal(load_audio(path), expected.astype(np.float32) / 32768)


class TestAskedFor:
    TRACKS = (
        Track(DEFAULT, "Main", "eng", "stereo"),
        Track(COMMENT, "Director's commentary", "eng"),
        Track(title="Deutsch", language="ger"),
    )

    @pytest.fixture
    def film(self, tmp_path: Path) -> Path:
        return write(tmp_path / "film.mkv", self.TRACKS)

    @pytest.mark.parametrize(
        ("asked", "expected"), [(1, 1), (2, 2), (3, 3), ("2", 2), ("eng", 1), ("ENG", 1), ("ger", 3)]
    )
    def test_by_number_and_by_language(self, film: Path, asked: int | str, expected: int) -> None:
        assert read(film, audio_track=asked) == expected

    @needs_ffmpeg
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_numbers_are_those_of_ffmpeg_and_one(self, film: Path, number: int) -> None:
        command = ["ffmpeg", "-v", "error", "-i", str(film), "-map", f"0:a:{number - 1}"]
        done = subprocess.run([*command, "-f", "s16le", "-ac", "1", "-"], capture_output=True, check=True)
        expected = np.frombuffer(done.stdout, np.int16).astype(np.float32) / 32768
        assert np.array_equal(load_audio(film, audio_track=number), expected)

    def test_a_region_of_a_language(self, tmp_path: Path) -> None:
        film = write(tmp_path / "film.mkv", [Track(language="eng"), Track(language="pt-BR")])
        assert read(film, audio_track="pt") == read(film, audio_track="pt-br") == 2

    def test_of_a_file_object(self, film: Path) -> None:
        with film.open("rb") as file:
            assert track_in(load_audio(file, audio_track=2)) == 2

    def test_the_tracks_are_listed_where_there_is_no_such(self, film: Path) -> None:
        listed = (
            "give one of those it has as audio_track: 1, flac, stereo, eng, 'Main' (default); "
            "2, flac, mono, eng, 'Director's commentary' (comment); 3, flac, mono, ger, 'Deutsch'"
        )
        assert message(film, audio_track=4) == f"'{film}' has no audio track 4; {listed}"
        assert message(film, audio_track="fra") == f"'{film}' has no audio track in 'fra'; {listed}"

    def test_of_a_file_with_one(self, tmp_path: Path) -> None:
        path = write(tmp_path / "talk.flac", [Track()])
        assert read(path, audio_track=1) == 1
        assert message(path, audio_track=2).startswith(f"'{path}' has no audio track 2; give one of those it has as")
        assert "1, flac, mono" in message(path, audio_track="eng")

    def test_of_an_array(self) -> None:
        with pytest.raises(OptionError, match=r"^audio_track: it is for files, and an array"):
            load_audio(np.zeros(RATE, np.float32), audio_track=1)
