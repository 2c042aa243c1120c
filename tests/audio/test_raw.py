"""Raw samples without a header: FFmpeg's formats by name, from files, objects and pipes, to the last word."""

import io
import os
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from max_whisper import Transcription, load_model
from max_whisper.audio import AudioWarning, load_audio, open_recording
from max_whisper.audio.reading import RAW_FORMATS, ReadingOptions
from max_whisper.errors import AudioError, OptionError

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "audio_samples"
RATE = 16_000

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")


@pytest.fixture(scope="module")
def voice() -> NDArray[np.int16]:
    """Of four seconds, int16 at 16 kHz."""
    return np.round(load_audio(SAMPLES / "kitchen.wav") * 32768).astype(np.int16)[: 4 * RATE]


def as_raw(voice: NDArray[np.int16], format: str) -> bytes:
    """The samples in the formats that NumPy has."""
    kind, bits, order = format[0], int(format[1:].rstrip("lbe")), ">" if format.endswith("be") else "<"
    scaled = voice.astype(np.int64)
    if kind == "f":
        return (voice / 32768).astype(f"{order}f{bits // 8}").tobytes()
    if kind == "u":
        scaled = scaled + 32768
    shifted = scaled << (bits - 16) if bits >= 16 else scaled >> (16 - bits)
    if bits == 24:
        words = (shifted & 0xFFFFFF).astype(f"{order}u4").view(np.uint8).reshape(-1, 4)
        return words[:, 1:].tobytes() if order == ">" else words[:, :3].tobytes()
    return shifted.astype(f"{order}{'u' if kind == 'u' else 'i'}{bits // 8}").tobytes()


class TestFormats:
    @pytest.mark.parametrize("format", [name for name in RAW_FORMATS if name not in ("mulaw", "alaw", "vidc")])
    def test_samples_as_numpy_writes_them(self, tmp_path: Path, voice: NDArray[np.int16], format: str) -> None:
        path = tmp_path / "talk.raw"
        path.write_bytes(as_raw(voice, format))
        samples = load_audio(path, RATE, input_format=format)
        exact = voice / np.float32(32768)
        if format in ("u8", "s8"):
            exact = (voice >> 8) / np.float32(128)
        assert np.array_equal(samples, exact)

    @needs_ffmpeg
    @pytest.mark.parametrize("format", ["mulaw", "alaw", "vidc", "s16be", "f32le", "u8"])
    @pytest.mark.parametrize("n_channels", [1, 2, 3, 6])
    def test_as_ffmpeg_reads_them(self, tmp_path: Path, format: str, n_channels: int) -> None:
        path = tmp_path / "noise.raw"
        content = np.random.default_rng(0).normal(0, 0.1, (RATE, n_channels))
        path.write_bytes(
            content.astype("<f4").tobytes() if format == "f32le" else (content * 200).astype("i1").tobytes()
        )
        asked = ["-f", format, "-ar", str(RATE), "-ac", str(n_channels), "-i", str(path)]
        command = ["ffmpeg", "-v", "error", *asked, "-f", "s16le", "-ac", "1", "-"]
        done = subprocess.run(command, capture_output=True, check=True)
        ours = load_audio(path, RATE, input_format=format, input_channels=n_channels)
        theirs = np.frombuffer(done.stdout, np.int16) / np.float32(32768)
        assert len(ours) == len(theirs)
        assert np.abs(ours - theirs).max() <= 1 / 32768  # releases of FFmpeg round a mix differently

    def test_other_rates_are_those_of_a_file(self, tmp_path: Path, voice: NDArray[np.int16]) -> None:
        for rate in (8_000, 44_100):
            samples = load_audio(io.BytesIO(voice.tobytes()), rate, input_format="s16le")
            assert np.array_equal(samples, load_audio(voice, rate))

    def test_channels(self, voice: NDArray[np.int16]) -> None:
        def read(**options: Any) -> NDArray[np.float32]:
            file = io.BytesIO(np.stack([voice, voice // 2], axis=1).tobytes())
            return load_audio(file, RATE, input_format="s16le", input_channels=2, **options)

        assert np.array_equal(read(channel=1), load_audio(voice))
        assert np.array_equal(read(channel="right"), load_audio(voice // 2))
        assert np.abs(read() - (0.75 * voice / 32768)).max() < 1 / 32768

    def test_a_file_that_ends_within_a_sample(self, tmp_path: Path, voice: NDArray[np.int16]) -> None:
        path = tmp_path / "talk.raw"
        path.write_bytes(voice.tobytes() + b"\x01")
        assert np.array_equal(load_audio(path, RATE, input_format="s16le"), load_audio(voice))


class TestWhatIsRefused:
    def test_too_little(self, tmp_path: Path) -> None:
        path = tmp_path / "click.raw"
        path.write_bytes(bytes(100))
        with pytest.raises(AudioError, match=r"click\.raw' is too short: 50 samples at 16 kHz"):
            load_audio(path, RATE, input_format="s16le")
        path.write_bytes(b"\0")
        with pytest.raises(AudioError, match=r"click\.raw' "):
            load_audio(path, RATE, input_format="s16le")

    def test_an_array(self, voice: NDArray[np.int16]) -> None:
        with pytest.raises(OptionError, match=r"^input_format: it is for files, and an array"):
            load_audio(voice, RATE, input_format="s16le")

    @pytest.mark.parametrize(("scale", "dtype", "format"), [(1, "<f4", "f32le"), (1 / 30_000, ">f4", "f32le")])
    def test_floats_that_are_none(self, voice: NDArray[np.int16], scale: float, dtype: str, format: str) -> None:
        """On the scale of integers, and with the other order of bytes."""
        content = (voice * scale).astype(dtype).tobytes()
        with pytest.warns(AudioWarning, match=r"the file object has float samples up to .*, which are cut at 1"):
            load_audio(io.BytesIO(content), RATE, input_format=format)


class TestPipes:
    def test_it_is_decoded_while_it_is_written(self, voice: NDArray[np.int16]) -> None:
        reading, writing = os.pipe()
        long = np.tile(voice, 5)
        go_on = threading.Event()

        def write() -> None:
            with os.fdopen(writing, "wb") as file:
                file.write(long[: 12 * RATE].tobytes())
                file.flush()
                assert go_on.wait(60)
                file.write(long[12 * RATE :].tobytes())

        writer = threading.Thread(target=write)
        writer.start()
        with os.fdopen(reading, "rb") as pipe:
            blocks = open_recording(pipe, ReadingOptions(input_format="s16le", sample_rate=RATE)).blocks()
            first = next(blocks)  # 4 s of the 12 s that there are
            go_on.set()
            assert np.array_equal(np.concatenate([first, *blocks]), load_audio(long))
        writer.join()

    def test_a_named_pipe(self, tmp_path: Path, voice: NDArray[np.int16]) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(voice.tobytes(),))
        writer.start()
        assert np.array_equal(load_audio(path, RATE, input_format="s16le"), load_audio(voice))
        writer.join()


class TestWords:
    """From the options to the text."""

    def test_every_method_reads_them(self, tmp_path: Path) -> None:
        speech = np.round(load_audio(SAMPLES / "kitchen.wav") * 32768).astype("<i2")
        path = tmp_path / "talk.raw"
        path.write_bytes(speech.tobytes())
        raw: dict[str, Any] = {"input_format": "s16le", "sample_rate": RATE}
        model = load_model("nano", device="cpu")
        expected = model.transcribe(SAMPLES / "kitchen.wav").text
        assert model.transcribe(path, **raw).text == expected
        assert model.stream(path, **raw).transcription().text == expected
        for result in [
            *model.transcribe_many([path, path], **raw),
            *model.transcribe_many([path], chunking="vad", **raw),
        ]:
            assert isinstance(result, Transcription)
            assert result.text == expected

    @pytest.mark.parametrize("chunking", ["sequential", "vad"])
    def test_the_rate_of_the_arrays_among_several(self, chunking: Literal["sequential", "vad"]) -> None:
        path = SAMPLES / "kitchen.wav"
        model = load_model("nano", device="cpu")
        doubled = np.repeat(load_audio(path), 2)
        file, array = model.transcribe_many([path, doubled], sample_rate=2 * RATE, chunking=chunking)
        assert isinstance(file, Transcription)
        assert isinstance(array, Transcription)
        assert file.text == array.text == model.transcribe(path).text

    def test_the_language_of_raw_samples(self, tmp_path: Path) -> None:
        speech = np.round(load_audio(SAMPLES / "kitchen.wav") * 32768).astype("<i2")
        path = tmp_path / "talk.raw"
        path.write_bytes(np.stack([speech, -speech], axis=1).tobytes())
        model = load_model("nano", device="cpu")
        found = model.detect_language(path, input_format="s16le", sample_rate=RATE, input_channels=2, channel=1)
        assert found == model.detect_language(SAMPLES / "kitchen.wav")
        with pytest.raises(OptionError, match=r"^audio_trak: no such option; did you mean audio_track\?"):
            model.detect_language(path, audio_trak=1)  # type: ignore[call-arg]

    def test_the_command_line_reads_a_pipe(self, tmp_path: Path) -> None:
        speech = np.round(load_audio(SAMPLES / "kitchen.wav") * 32768).astype("<i2")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        options = ["--model", "nano", "--device", "cpu", "-f", "txt", "-o", str(tmp_path)]
        raw = ["--input-format", "s16le", "--sample_rate", str(RATE), "--input-channels", "2", "--channel", "right"]
        command = [sys.executable, "-m", "max_whisper", "transcribe", "-", *options, *raw]
        content = np.stack([0 * speech, speech], axis=1).tobytes()
        done = subprocess.run(command, input=content, capture_output=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        expected = load_model("nano", device="cpu").transcribe(SAMPLES / "kitchen.wav", beam_size=5, best_of=5).text
        assert (tmp_path / "stdin.txt").read_text().split() == expected.split()


def test_nothing_is_warned_of_ordinary_samples(voice: NDArray[np.int16]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_audio(io.BytesIO(voice.tobytes()), RATE, input_format="s16le")
