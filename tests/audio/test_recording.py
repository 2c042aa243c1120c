"""Recordings of every kind become samples, and bad ones one clear line."""

import io
import os
import re
import shutil
import subprocess
import sys
import warnings
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import whisper.audio
from av.stream import Disposition
from numpy.typing import NDArray

from max_whisper import audio
from max_whisper.audio import AudioWarning, load_audio
from max_whisper.errors import AudioError, OptionError

SECONDS = 2.0
PYAV_LIBSWRESAMPLE = ".".join(map(str, av.library_versions["libswresample"][:2]))


def tone(rate: int, seconds: float = SECONDS, hertz: float = 440.0) -> NDArray[np.float32]:
    """A swelling tone, float32 [seconds * rate]."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time) * np.minimum(1, 0.25 + time / 2)).astype(np.float32)


def encode(
    path: Path,
    tracks: Sequence[tuple[str, int, str, NDArray[np.float32]]] = (),
    *,
    container: str | None = None,
    video: bool = False,
    default: int | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a file with audio tracks (codec, rate, layout, samples for every channel), and moving pictures if asked."""
    with av.open(path, "w", format=container, options=options or {}) as output:
        streams = [output.add_stream(codec, rate=rate, layout=layout) for codec, rate, layout, _ in tracks]
        if default is not None:
            streams[default].disposition = Disposition.default
        if video:
            pictures = output.add_stream("mpeg4", rate=10)
            pictures.width = pictures.height = 64
            pictures.pix_fmt = "yuv420p"
            for shade in range(int(SECONDS * 10)):
                picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 9 * shade, np.uint8), format="rgb24")
                output.mux(pictures.encode(picture))
            output.mux(pictures.encode(None))
        for stream, (_, rate, layout, samples) in zip(streams, tracks, strict=True):
            channels = av.AudioLayout(layout).nb_channels
            planes = np.ascontiguousarray(np.tile(samples, (channels, 1)))
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            resampler = av.AudioResampler(stream.codec_context.format or "s16", layout, rate)
            for converted in resampler.resample(frame) + resampler.resample(None):
                if converted is not None:
                    output.mux(stream.encode(converted))
            output.mux(stream.encode(None))
    return path


def write_wave(path: Path, samples: NDArray[np.int16], rate: int = 16_000) -> Path:
    """Write int16 [n] or [n, channels] with the standard library."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.round(samples * 32767).astype(np.int16)


def message(source: object, **arguments: object) -> str:
    """What a person is told who gives this source."""
    with pytest.raises((AudioError, OptionError)) as caught:
        load_audio(source, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


# name, codec, container, rate, layout, largest root-mean-square error of the coding
KINDS = [
    ("16k.wav", "pcm_s16le", None, 16_000, "mono", 2e-5),
    ("44k.wav", "pcm_s16le", None, 44_100, "stereo", 1e-3),
    ("float.wav", "pcm_f32le", None, 22_050, "stereo", 1e-3),
    ("24bit.wav", "pcm_s24le", None, 96_000, "stereo", 1e-3),
    ("8bit.wav", "pcm_u8", None, 8_000, "mono", 5e-3),
    ("mulaw.wav", "pcm_mulaw", None, 8_000, "mono", 2e-2),
    ("six.wav", "pcm_s16le", None, 48_000, "5.1", 1e-3),
    ("8k.flac", "flac", None, 8_000, "mono", 1e-3),
    ("44k.flac", "flac", None, 44_100, "stereo", 1e-3),
    ("six.flac", "flac", None, 48_000, "5.1", 1e-3),
    ("16k.mp3", "libmp3lame", None, 16_000, "mono", 2e-2),
    ("44k.mp3", "libmp3lame", None, 44_100, "stereo", 2e-2),
    ("talk.m4a", "aac", None, 44_100, "stereo", 1e-2),
    ("talk.aac", "aac", "adts", 44_100, "stereo", 0.5),  # no header to say how much the coder's delay is
    ("talk.ogg", "libopus", "ogg", 48_000, "stereo", 2e-2),
    ("talk.opus", "libopus", "ogg", 16_000, "mono", 2e-2),
    ("talk.webm", "libopus", None, 48_000, "stereo", 2e-2),
    ("talk.mka", "flac", "matroska", 11_025, "mono", 1e-3),
]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same tone in every kind of file."""
    folder = tmp_path_factory.mktemp("recordings")
    for name, codec, container, rate, layout, _ in KINDS:
        encode(folder / name, [(codec, rate, layout, tone(rate))], container=container)
    encode(folder / "film.mp4", [("aac", 48_000, "stereo", tone(48_000))], video=True)
    encode(folder / "film.mkv", [("libmp3lame", 44_100, "mono", tone(44_100))], video=True)
    encode(folder / "silent.mp4", video=True)
    return folder


class TestKindsOfFiles:
    @pytest.mark.parametrize(("name", "error"), [(kind[0], kind[-1]) for kind in KINDS])
    def test_every_kind_gives_the_tone(self, recordings: Path, name: str, error: float) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            samples = load_audio(recordings / name)
        expected = tone(16_000)
        assert samples.dtype == np.float32
        assert abs(len(samples) - len(expected)) <= 0.1 * 16_000
        length = min(len(samples), len(expected)) - 1600
        assert np.sqrt(np.mean((samples[:length] - expected[:length]) ** 2)) < error
        assert 0.4 < np.abs(samples).max() <= 1.0

    @pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
    def test_sound_of_a_video(self, recordings: Path, name: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            samples = load_audio(str(recordings / name))
        expected = tone(16_000)
        assert np.sqrt(np.mean((samples[:30_000] - expected[:30_000]) ** 2)) < 2e-2

    def test_16_khz_mono_16_bit_is_exact(self, tmp_path: Path) -> None:
        values = np.random.default_rng(0).integers(-32768, 32768, 16_000).astype(np.int16)
        values[:3] = -32768, 32767, 0
        samples = load_audio(write_wave(tmp_path / "exact.wav", values))
        assert np.array_equal(samples, values.astype(np.float32) / 32768)
        assert samples.min() == -1.0

    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
    def test_channels_without_a_stated_layout(self, tmp_path: Path, channels: int) -> None:
        values = np.tile(int16(tone(16_000))[:, None], (1, channels))
        samples = load_audio(write_wave(tmp_path / "channels.wav", values))
        assert np.abs(samples - tone(16_000)).max() < 2e-3

    def test_stereo_is_averaged(self, tmp_path: Path) -> None:
        values = np.stack([int16(tone(16_000)), np.zeros(32_000, np.int16)], axis=1)
        samples = load_audio(write_wave(tmp_path / "left.wav", values))
        assert np.abs(samples - tone(16_000) / 2).max() < 1e-4

    @pytest.mark.parametrize(
        ("name", "container", "codec", "default", "expected"),
        [
            ("most-channels.ogg", "ogg", "libopus", None, 880.0),
            ("default.mka", "matroska", "flac", 0, 440.0),
            ("default-second.mka", "matroska", "flac", 1, 880.0),
        ],
    )
    def test_choice_among_audio_streams(
        self, tmp_path: Path, name: str, container: str, codec: str, default: int | None, expected: float
    ) -> None:
        tracks = [
            (codec, 48_000, "mono", tone(48_000)),
            (codec, 48_000, "stereo", tone(48_000, hertz=880)),
        ]
        samples = load_audio(encode(tmp_path / name, tracks, container=container, default=default))
        spectrum = np.abs(np.fft.rfft(samples[:16_000]))
        assert spectrum.argmax() == expected

    def test_rate_and_channels_that_change_midway(self, tmp_path: Path) -> None:
        first = encode(tmp_path / "a.aac", [("aac", 44_100, "stereo", tone(44_100))], container="adts")
        second = encode(tmp_path / "b.aac", [("aac", 24_000, "mono", tone(24_000, hertz=880))], container="adts")
        joined = tmp_path / "joined.aac"
        joined.write_bytes(first.read_bytes() + second.read_bytes())
        samples = load_audio(joined)
        assert len(samples) == pytest.approx(2 * SECONDS * 16_000, abs=3000)
        assert np.abs(np.fft.rfft(samples[:16_000])).argmax() == 440
        assert np.abs(np.fft.rfft(samples[-24_000:-8_000])).argmax() == 880

    def test_names_that_look_like_something_else(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ["12:30.wav", "http:talk.wav", "100%d.wav", "-", "žluťoučký kůň.bin", "no suffix"]:
            write_wave(Path(name), int16(tone(16_000)))
            assert len(load_audio(name)) == 32_000

    def test_title_that_is_not_text(self, tmp_path: Path) -> None:
        path = encode(tmp_path / "title.mp3", [("libmp3lame", 16_000, "mono", tone(16_000))])
        frame = b"TIT2" + (4).to_bytes(4, "big") + b"\0\0" + b"\x03\xff\xfe\xe9"
        path.write_bytes(b"ID3\x04\0\0" + bytes([0, 0, 0, len(frame)]) + frame + path.read_bytes())
        assert len(load_audio(path)) == 32_000

    def test_wave_of_unknown_length(self, tmp_path: Path) -> None:
        path = write_wave(tmp_path / "piped.wav", int16(tone(16_000)))
        content = bytearray(path.read_bytes())
        content[4:8] = content[40:44] = b"\xff\xff\xff\xff"  # what a program writes that cannot go back to the header
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(load_audio(path)) == 32_000


def libswresample_of_the_program() -> str:
    """The version of libswresample in the `ffmpeg` program, `6.3`."""
    told = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"^libswresample +(\d+)\. *(\d+)\.", told, re.MULTILINE)
    assert found
    return f"{found[1]}.{found[2]}"


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
class TestReference:
    """Equality with `whisper.audio.load_audio`, which runs the ffmpeg program.

    FFmpeg 5 resamples samples of 16 bits with a filter of 16 bits, where later ones, among them PyAV's, compute in
    float32. So that all versions give the same samples, an older program is told to compute in float32 too.
    """

    LOSSLESS = tuple(kind[0] for kind in KINDS if kind[0].endswith((".wav", ".flac", ".mka")))
    RESAMPLED = tuple(name for name in LOSSLESS if name not in ("16k.wav", "8bit.wav"))  # in 16 bits, whichever version

    @pytest.fixture
    def in_float32(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The reference's command, whose program resamples in float32, whichever version of it."""

        def run(command: Sequence[str], **keywords: Any) -> subprocess.CompletedProcess[bytes]:
            *start, output = command
            return subprocess.run([*start, "-af", "aresample=16000:internal_sample_fmt=fltp", output], **keywords)

        monkeypatch.setattr(whisper.audio, "run", run)

    @pytest.mark.parametrize("name", RESAMPLED)
    def test_lossless_files_are_equal(self, recordings: Path, in_float32: None, name: str) -> None:
        path = recordings / name
        assert np.array_equal(load_audio(path), whisper.audio.load_audio(str(path)))

    def test_broad_band_noise_is_equal(self, in_float32: None, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).normal(0, 0.5, (66_150, 2)).clip(-1, 1).astype(np.float32)
        path = write_wave(tmp_path / "noise.wav", int16(noise), 44_100)
        assert np.array_equal(load_audio(path), whisper.audio.load_audio(str(path)))

    @pytest.mark.parametrize("name", LOSSLESS)
    def test_lossless_files_by_the_program_as_it_is(self, recordings: Path, name: str) -> None:
        path = recordings / name
        ours, reference = load_audio(path), whisper.audio.load_audio(str(path))
        if name not in self.RESAMPLED or libswresample_of_the_program() == PYAV_LIBSWRESAMPLE:
            assert np.array_equal(ours, reference)
            return
        # What is rounded: some 100 coefficients to 2**-15, times samples of up to a half, and the sums to 16 bits.
        assert len(ours) == len(reference)
        differences = (ours - reference) * 32768
        assert np.sqrt(np.mean(differences**2)) < 0.5 * np.sqrt(100 / 12) + 0.3
        assert abs(differences.mean()) < 0.1

    @pytest.mark.parametrize(
        "name", ["16k.mp3", "44k.mp3", "talk.ogg", "talk.opus", "talk.webm", "talk.m4a", "talk.aac", "film.mp4"]
    )
    def test_lossy_files_are_equal(self, recordings: Path, name: str) -> None:
        path = recordings / name
        ours, reference = load_audio(path), whisper.audio.load_audio(str(path))
        # From FFmpeg 9 on, the last coding frame of an MP4 is cut where the file's edit list ends.
        tail = 2048 if name.endswith(("m4a", "mp4")) else 0
        assert abs(len(ours) - len(reference)) <= tail
        length = min(len(ours), len(reference)) - tail
        # Releases of FFmpeg round the output of lossy decoders differently; equal libraries give equal samples.
        assert np.abs(ours[:length] - reference[:length]).max() <= 2 / 32768


class TestFileObjects:
    def test_open_file(self, recordings: Path) -> None:
        with (recordings / "44k.mp3").open("rb") as file:
            assert np.array_equal(load_audio(file), load_audio(recordings / "44k.mp3"))

    @pytest.mark.parametrize("name", ["44k.wav", "talk.m4a", "talk.webm"])
    def test_bytes_in_memory(self, recordings: Path, name: str) -> None:
        file = io.BytesIO((recordings / name).read_bytes())
        assert np.array_equal(load_audio(file), load_audio(recordings / name))

    @pytest.mark.parametrize("name", ["44k.wav", "talk.m4a"])
    def test_reads_from_where_it_stands(self, recordings: Path, name: str) -> None:
        file = io.BytesIO(b"a header of 18 B  " + (recordings / name).read_bytes())
        file.seek(18)
        assert np.array_equal(load_audio(file), load_audio(recordings / name))

    def test_pipe(self, recordings: Path) -> None:
        with subprocess.Popen(["cat", str(recordings / "44k.flac")], stdout=subprocess.PIPE) as process:
            assert isinstance(process.stdout, io.BufferedReader)
            assert np.array_equal(load_audio(process.stdout), load_audio(recordings / "44k.flac"))

    def test_at_its_end(self) -> None:
        expected = "the file object has nothing left to read: it is empty or at its end; rewind it with seek(0)"
        assert message(io.BytesIO()) == expected
        file = io.BytesIO(b"RIFF")
        file.read()
        assert message(file) == expected

    def test_named_in_messages(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.wav"
        path.write_text("not audio")
        with path.open("rb") as file:
            assert message(file).startswith(f"'{path}' is not audio or video that FFmpeg can read")
        with path.open() as text:
            assert message(text) == f"'{path}' is not open for reading bytes; open it in binary mode, with 'rb'"
        with path.open("ab") as output:
            assert message(output) == f"'{path}' is not open for reading bytes; open it in binary mode, with 'rb'"

    def test_that_fails_while_read(self) -> None:
        class Broken(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def read(self, size: int = -1) -> bytes:
                raise OSError(5, "Input/output error")

        assert message(Broken()) == "the file object cannot be read (Input/output error); check what writes it"


class TestBadFiles:
    UNREADABLE = (
        "is not audio or video that FFmpeg can read, or is damaged or cut short; "
        "check that it plays, or convert it to WAV or FLAC"
    )

    @pytest.mark.parametrize("name", ["absent.wav", "no/folder.wav", "n" * 300, "nul\0byte"])
    def test_missing(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        assert message(path) == f"no such file: '{path}'; check the path"

    def test_folder(self, tmp_path: Path) -> None:
        assert message(tmp_path) == f"'{tmp_path}' is a folder; give a recording in it"

    def test_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "empty.wav"
        path.touch()
        assert message(path) == f"'{path}' is empty (0 bytes); record, copy or download it again"

    @pytest.mark.parametrize("name", ["text.wav", "text.mp3", "text.flac", "text.m4a", "text.txt"])
    @pytest.mark.parametrize("lines", [1, 5000])
    def test_text_with_the_name_of_a_recording(self, tmp_path: Path, name: str, lines: int) -> None:
        path = tmp_path / name
        path.write_text("This is a letter, not a recording.\n" * lines)
        text = message(path)
        assert text in (f"'{path}' {self.UNREADABLE}", f"'{path}' has no sound, only video; give a recording with an "
                        "audio stream")  # fmt: skip
        if name != "text.txt":  # FFmpeg can show text files as pictures
            assert text == f"'{path}' {self.UNREADABLE}"

    def test_header_without_sound(self, tmp_path: Path) -> None:
        path = write_wave(tmp_path / "header.wav", np.zeros(0, np.int16))
        text = message(path)
        assert text.startswith(f"'{path}' ")
        assert self.UNREADABLE in text or "has no samples: nothing in its audio stream can be decoded" in text

    def test_stream_of_no_samples(self, tmp_path: Path, recordings: Path) -> None:
        path = tmp_path / "header.flac"
        content = (recordings / "44k.flac").read_bytes()
        is_last_block, stream_info = b"\x80", content[5:42]
        path.write_bytes(content[:4] + is_last_block + stream_info)
        assert message(path) == (
            f"'{path}' has no samples: nothing in its audio stream can be decoded; record or copy it again"
        )

    @pytest.mark.parametrize(("count", "length"), [(1, "1 sample at 16 kHz (0.0625 ms)"), (399, "399 samples at")])
    def test_too_short(self, tmp_path: Path, count: int, length: str) -> None:
        path = write_wave(tmp_path / "click.wav", np.ones(count, np.int16))
        text = message(path)
        assert text.startswith(f"'{path}' is too short: {length}")
        assert text.endswith("; give at least 400 samples (25 ms)")

    def test_shortest(self, tmp_path: Path) -> None:
        assert len(load_audio(write_wave(tmp_path / "click.wav", np.ones(400, np.int16)))) == 400

    def test_video_without_sound(self, recordings: Path) -> None:
        path = recordings / "silent.mp4"
        assert message(path) == f"'{path}' has no sound, only video; give a recording with an audio stream"

    def test_half_an_mp3_is_read_as_far_as_it_goes(self, tmp_path: Path, recordings: Path) -> None:
        whole, path = recordings / "44k.mp3", tmp_path / "half.mp3"
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.warns(AudioWarning) as caught:
            samples = load_audio(path)
        assert len(caught) == 1
        line = str(caught[0].message)
        assert line.startswith(f"'{path}' is cut short: its header declares 2.0 s and the sound ends at ")
        assert line.endswith(" s; what is there is used")
        assert 0.3 * 32_000 < len(samples) < 0.7 * 32_000
        assert np.array_equal(samples[:8000], load_audio(whole)[:8000])

    @pytest.mark.parametrize("name", ["44k.flac", "talk.webm", "talk.aac"])
    def test_half_a_file_of_other_kinds(self, tmp_path: Path, recordings: Path, name: str) -> None:
        whole, path = recordings / name, tmp_path / f"half-{name}"
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2 + 1])
        with pytest.warns(AudioWarning, match=r"half-.* is (cut short: its header|damaged or cut short: packets)"):
            samples = load_audio(path)
        assert 0.3 * 32_000 < len(samples) < 0.7 * 32_000

    def test_half_an_m4a_has_no_index(self, tmp_path: Path, recordings: Path) -> None:
        path = tmp_path / "half.m4a"
        whole = recordings / "talk.m4a"
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        assert message(path) == f"'{path}' {self.UNREADABLE}"

    def test_damaged_packets_are_left_out(self, tmp_path: Path, recordings: Path) -> None:
        content = bytearray((recordings / "44k.mp3").read_bytes())
        middle = len(content) // 2
        content[middle : middle + 2000] = b"\x5a" * 2000
        path = tmp_path / "scratched.mp3"
        path.write_bytes(content)
        with pytest.warns(AudioWarning, match=r"scratched\.mp3' is damaged or cut short: .* left out \(\d+\)$"):
            samples = load_audio(path)
        assert len(samples) > 0.8 * 32_000

    def test_random_damage_never_surfaces_as_another_error(self, recordings: Path) -> None:
        rng = np.random.default_rng(0)
        kinds = ["44k.wav", "44k.flac", "44k.mp3", "talk.m4a", "talk.ogg", "talk.webm", "film.mp4", "film.mkv"]
        outcomes = {"read": 0, "refused": 0}
        for round_number in range(80):
            content = bytearray((recordings / kinds[round_number % len(kinds)]).read_bytes())
            for place in rng.integers(0, min(len(content), 600), 12):
                content[place] = rng.integers(256)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", AudioWarning)
                    load_audio(io.BytesIO(content[: rng.integers(1000, len(content))]))
            except AudioError:
                outcomes["refused"] += 1
            else:
                outcomes["read"] += 1
        assert min(outcomes.values()) > 0

    def test_no_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_wave(tmp_path / "private.wav", int16(tone(16_000)))
        path.chmod(0)
        if os.access(path, os.R_OK):  # as root, for whom FFmpeg's answer has to be played

            def refuse(*arguments: object, **options: object) -> None:
                raise av.error.PermissionError(13, "Permission denied", str(path))

            monkeypatch.setattr(av, "open", refuse)
        assert message(path) == (
            f"no permission to read '{path}'; change its permissions or copy it to where you may read it"
        )

    def test_sample_rate_of_a_file(self, recordings: Path) -> None:
        path = recordings / "44k.wav"
        expected = (
            f"sample_rate: it is for arrays and raw samples, but '{path}' is a file, which states its own; "
            "leave it away, or give input_format for raw samples"
        )
        assert message(path, sample_rate=44_100) == expected

    @pytest.mark.parametrize(("source", "kind"), [(None, "NoneType"), ([0.0], "list"), (b"RIFF", "bytes")])
    def test_other_objects(self, source: object, kind: str) -> None:
        expected = f"cannot read audio from a {kind}; give a path, a binary file object or a NumPy array"
        assert message(source) == expected


class TestArrays:
    @pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", ">f8"])
    def test_floats(self, dtype: str) -> None:
        samples = load_audio(tone(16_000).astype(dtype))
        assert samples.dtype == np.dtype("float32")
        assert np.array_equal(samples, tone(16_000))

    @pytest.mark.parametrize("dtype", ["int16", ">i2"])
    def test_int16(self, dtype: str) -> None:
        values = np.arange(-32768, 32768).astype(dtype)
        assert np.array_equal(load_audio(values), np.arange(-32768, 32768, dtype=np.float32) / 32768)

    def test_strided(self) -> None:
        stereo = np.stack([tone(16_000), tone(16_000, hertz=880)], axis=1)
        assert np.array_equal(load_audio(stereo[:, 1]), tone(16_000, hertz=880))
        assert np.array_equal(load_audio(tone(16_000)[::-1]), tone(16_000)[::-1])

    @pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 192_000])
    def test_other_rates(self, rate: int) -> None:
        samples = load_audio(tone(rate), sample_rate=rate)
        expected = tone(16_000)
        assert samples.dtype == np.float32
        assert abs(len(samples) - len(expected)) <= 1
        assert np.abs(samples[200:31_800] - expected[200:31_800]).max() < 2e-3

    def test_floats_are_not_rounded_by_resampling(self) -> None:
        faint = tone(48_000) * 1e-6
        samples = load_audio(faint, sample_rate=48_000)
        assert np.abs(samples[200:31_800] - 1e-6 * tone(16_000)[200:31_800]).max() < 1e-8

    def test_int16_at_another_rate_equals_the_file(self, tmp_path: Path) -> None:
        values = int16(tone(44_100))
        path = write_wave(tmp_path / "same.wav", values, 44_100)
        assert np.array_equal(load_audio(values, sample_rate=44_100), load_audio(path))

    def test_its_own_rate(self) -> None:
        assert np.array_equal(load_audio(tone(16_000), sample_rate=16_000), tone(16_000))
        assert len(load_audio(tone(8_000), sample_rate=np.int64(8_000))) == 32_000

    @pytest.mark.parametrize("rate", [0, -16_000, 999, 1_000_000, 44_100.0, "16000"])
    def test_impossible_rates(self, rate: object) -> None:
        expected = f"sample_rate: whole Hz from 1000 to 768000, got {rate!r}"
        assert message(tone(16_000), sample_rate=rate) == expected

    @pytest.mark.parametrize(
        ("shape", "advice"),
        [
            ((2, 16_000), ": choose a channel, or average them with array.mean(axis=0)"),
            ((16_000, 2), ": choose a channel, or average them with array.mean(axis=1)"),
            ((1, 2, 16_000), ""),
            ((), ""),
        ],
    )
    def test_dimensions(self, shape: tuple[int, ...], advice: str) -> None:
        expected = f"the array has {len(shape)} dimensions, shape {shape}; give one, [samples]{advice}"
        assert message(np.zeros(shape, np.float32)) == expected

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, value: float) -> None:
        samples = tone(16_000)
        samples[1234] = value
        assert message(samples) == f"the array has samples that are not finite, the first ({value}) at index 1234"

    def test_beyond_float32(self) -> None:
        samples = np.zeros(16_000)
        samples[5] = 1e300
        assert message(samples) == "the array has samples that are not finite, the first (1e+300) at index 5"

    @pytest.mark.parametrize("rate", [None, 44_100])
    def test_no_samples(self, rate: int | None) -> None:
        expected = "the array has no samples; give at least 400 (25 ms) at 16 kHz"
        assert message(np.zeros(0, np.float32), sample_rate=rate) == expected

    def test_one_sample(self) -> None:
        expected = "the array is too short: 1 sample at 16 kHz (0.0625 ms); give at least 400 samples (25 ms)"
        assert message(np.zeros(1, np.float32)) == expected
        assert message(np.zeros(1, np.int16)) == expected
        assert "too short: 200 samples at 16 kHz (12.5 ms)" in message(np.zeros(600, np.float32), sample_rate=48_000)


def test_constants_are_those_of_openai_whisper() -> None:
    names = [name for name, value in vars(audio).items() if isinstance(value, int) and not name.startswith("_")]
    assert {name: getattr(audio, name) for name in names} == {name: getattr(whisper.audio, name) for name in names}
    assert len(names) == 7


def test_import_brings_neither_ffmpeg_nor_torch() -> None:
    package = Path(audio.__file__).parent.parent
    check = "import sys, max_whisper.audio; print([name for name in ('av', 'torch', 'whisper') if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(package)}
    done = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
