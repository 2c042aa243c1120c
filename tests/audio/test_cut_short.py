"""Whole files are read without a warning, those that are cut short with one, whatever their headers say."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

from max_whisper.audio import AudioWarning, load_audio
from max_whisper.audio.headers import declared_seconds
from max_whisper.errors import AudioError
from tests.audio.containers import noise, write

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
SECONDS = 6

# name, codec, rate, format, options, where the pictures are
KINDS = {
    "pcm.wav": ("pcm_s16le", 16_000, None, {}, None),
    "24bit.wav": ("pcm_s24le", 44_100, None, {}, None),
    "float.wav": ("pcm_f32le", 48_000, None, {}, None),
    "mulaw.wav": ("pcm_mulaw", 8_000, None, {}, None),
    "adpcm.wav": ("adpcm_ms", 16_000, None, {}, None),
    "rf64.wav": ("pcm_s16le", 16_000, None, {"rf64": "always"}, None),
    "pcm.w64": ("pcm_s16le", 16_000, None, {}, None),
    "pcm.aiff": ("pcm_s16be", 16_000, None, {}, None),
    "pcm.au": ("pcm_s16be", 16_000, None, {}, None),
    "pcm.caf": ("pcm_s16le", 16_000, None, {}, None),
    "flac.flac": ("flac", 16_000, None, {}, None),
    "mp3.mp3": ("libmp3lame", 44_100, None, {}, None),
    "aac.m4a": ("aac", 44_100, "mp4", {"movflags": "faststart"}, None),
    "film.mp4": ("aac", 44_100, None, {"movflags": "faststart"}, (0, SECONDS)),
    "opus.mka": ("libopus", 48_000, "matroska", {}, None),
    "opus.webm": ("libopus", 48_000, None, {}, None),
    "film.mkv": ("libmp3lame", 44_100, None, {}, (0, SECONDS)),
    "long-film.mkv": ("libmp3lame", 44_100, None, {}, (0, 2 * SECONDS)),
    "aac.flv": ("aac", 44_100, None, {}, None),
    "film.avi": ("libmp3lame", 44_100, None, {}, (0, SECONDS)),
    "flac.oga": ("flac", 16_000, "ogg", {"page_duration": "200000"}, None),
    "opus.ogg": ("libopus", 48_000, None, {"page_duration": "200000"}, None),
}


class OnlyForward(io.BytesIO):
    """A pipe."""

    def seekable(self) -> bool:
        return False


def made(folder: Path, name: str, start: float = 0.0) -> Path:
    codec, rate, format, options, video = KINDS[name]
    path = folder / name
    write(path, noise(SECONDS, rate), codec, rate=rate, format=format, options=options, video=video, start=start)
    return path


def warned(source: object) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AudioWarning)
        load_audio(source)  # type: ignore[arg-type]
    return [str(warning.message) for warning in caught if issubclass(warning.category, AudioWarning)]


@pytest.mark.parametrize("name", KINDS)
def test_whole_and_cut(name: str, tmp_path: Path) -> None:
    path = made(tmp_path, name)
    whole = path.read_bytes()
    assert warned(path) == []
    assert warned(OnlyForward(whole)) == []
    cut = whole[: len(whole) * 6 // 10 + 1]
    path.write_bytes(cut)
    for source in (path, io.BytesIO(cut), OnlyForward(cut)):
        (line,) = warned(source)
        assert " cut short" in line


@pytest.mark.parametrize("name", ["opus.mka", "opus.webm", "film.mkv", "film.mp4", "aac.m4a", "aac.flv", "flac.oga"])
@pytest.mark.parametrize("start", [5.0, 100.0])
def test_late_start(name: str, start: float, tmp_path: Path) -> None:
    assert warned(made(tmp_path, name, start)) == []


@pytest.mark.parametrize("name", ["opus.mka", "pcm.mka"])
def test_matroska_without_a_duration(name: str, tmp_path: Path) -> None:
    """Of a live one FFmpeg guesses it, for PCM from the size of the file."""
    codec = "libopus" if name.startswith("opus") else "pcm_s16le"
    path = tmp_path / name
    write(path, noise(60, 48_000), codec, rate=48_000, format="matroska", options={"live": "1"}, gaps=[(30, 30)])
    assert warned(path) == []


def test_a_duration_that_counts_from_the_start(tmp_path: Path) -> None:
    """FFmpeg writes the time at which a Matroska file ends, others how long it is."""
    path = tmp_path / "it.mka"
    write(path, noise(4), format="matroska", start=5)
    content = path.read_bytes()
    place = content.index(b"\x44\x89\x88") + 3
    assert struct.unpack(">d", content[place : place + 8]) == (pytest.approx(9000, abs=100),)
    path.write_bytes(content[:place] + struct.pack(">d", 4000) + content[place + 8 :])
    assert warned(path) == []


def wave(data_size: int, *, n_bytes: int = 96_000, riff_size: int = 36, before: bytes = b"", tag: int = 1) -> bytes:
    """A WAV file of 16 kHz, mono, 16 bits that has so many bytes of sound, and declares another number."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, 1, 16_000, 32_000, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE")
    return head + form + before + struct.pack("<4sI", b"data", data_size) + noise(n_bytes / 32_000).tobytes()


class TestWave:
    @pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x7FFFF000, 0x80000000 - 44])
    def test_of_a_program_that_did_not_know(self, size: int) -> None:
        """As FFmpeg, SoX, arecord and others write to a pipe."""
        content = wave(size, riff_size=size)
        for source in (io.BytesIO(content), OnlyForward(content)):
            assert warned(source) == []
        assert len(load_audio(io.BytesIO(content))) == 48_000

    @pytest.mark.parametrize("size", [128_000, 1_000_000, 100_000_000, 0x7F000000])
    def test_declares_more(self, size: int) -> None:
        content = wave(size)
        for source in (io.BytesIO(content), OnlyForward(content)):
            (line,) = warned(source)
            assert f"its header declares {size / 32_000:.1f} s and the sound ends at 3.0 s" in line

    def test_chunks_before_the_sound(self) -> None:
        chunks = struct.pack("<4sI", b"LIST", 26) + bytes(26) + struct.pack("<4sI", b"odd ", 3) + bytes(4)
        assert warned(io.BytesIO(wave(96_000, before=chunks))) == []
        assert len(warned(io.BytesIO(wave(160_000, before=chunks)))) == 1

    def test_chunks_after_the_sound(self) -> None:
        content = wave(96_000) + struct.pack("<4sI", b"LIST", 400) + bytes(400)
        assert warned(io.BytesIO(content)) == []

    def test_less_than_half_a_second(self) -> None:
        assert warned(io.BytesIO(wave(96_000 + 15_000))) == []


def test_aiff_of_a_program_that_did_not_know(tmp_path: Path) -> None:
    path = made(tmp_path, "pcm.aiff")
    content = bytearray(path.read_bytes())
    place = content.index(b"COMM") + 10
    for n_frames, n_lines in ((0x7F000000 // 2, 0), (0, 0), (16_000 * SECONDS * 2, 1)):
        content[place : place + 4] = struct.pack(">I", n_frames)
        assert len(warned(io.BytesIO(content))) == n_lines


class TestDeclaredSeconds:
    @staticmethod
    def of(content: bytes) -> float | None:
        return declared_seconds(lambda position, size: content[position : position + size])

    @pytest.mark.parametrize(
        "name", ["pcm.wav", "24bit.wav", "float.wav", "mulaw.wav", "rf64.wav", "pcm.w64", "pcm.caf"]
    )
    def test_as_written(self, name: str, tmp_path: Path) -> None:
        assert self.of(made(tmp_path, name).read_bytes()) == pytest.approx(SECONDS, abs=0.05)

    @pytest.mark.parametrize("name", ["pcm.wav", "rf64.wav", "pcm.w64", "pcm.caf", "flac.flac", "adpcm.wav"])
    def test_any_bytes(self, name: str, tmp_path: Path) -> None:
        """No damage of a header raises, or takes long."""
        content = made(tmp_path, name).read_bytes()[:4000]
        rng = np.random.default_rng(0)
        for _ in range(300):
            changed = bytearray(content[: rng.integers(0, len(content))])
            for place in rng.integers(0, max(1, min(len(changed), 120)), 5):
                if place < len(changed):
                    changed[place] = rng.integers(256)
            seconds = self.of(bytes(changed))
            assert seconds is None or seconds > 0

    @pytest.mark.parametrize("size", [1 << 63, (1 << 64) - 1, 0])
    def test_chunks_of_impossible_sizes(self, size: int, tmp_path: Path) -> None:
        """They end the search, and the sound is read as far as FFmpeg can."""
        content = bytearray(made(tmp_path, "pcm.w64").read_bytes())
        place = content.index(b"data") + 16
        content[place : place + 8] = struct.pack("<Q", size)
        assert self.of(bytes(content)) is None
        content[place - 16] = ord("x")
        assert self.of(bytes(content)) is None
        path = tmp_path / "impossible.w64"
        path.write_bytes(content)
        with pytest.raises(AudioError, match="is not audio or video that FFmpeg can read"):
            load_audio(path)

    def test_chunks_without_end(self) -> None:
        assert self.of(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 100_000) is None
        assert self.of(b"riff.\x91\xcf\x11\xa5\xd6\x28\xdb" + bytes(100_000)) is None
        assert self.of(b"caff\0\1\0\0" + bytes(100_000)) is None


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not here")
class TestCases:
    def test_whole_file_that_starts_late(self) -> None:
        assert warned(CASES / "false_cut_short_warning_start_5s.mka") == []

    def test_wave_that_is_cut(self) -> None:
        (line,) = warned(CASES / "wav_cut_short_no_warning.wav")
        assert line.endswith(
            "is cut short: its header declares 3.2 s and the sound ends at 1.6 s; what is there is used"
        )
