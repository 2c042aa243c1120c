"""Arrays that cannot be samples are refused with the remedy; loud ones are taken."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from max_whisper import load_model
from max_whisper.audio import AudioWarning, load_audio
from max_whisper.errors import AudioError

SAMPLES = Path(__file__).resolve().parents[2] / "audio_samples"


@pytest.fixture(scope="module")
def voice() -> NDArray[np.float32]:
    return load_audio(SAMPLES / "kitchen.wav")


def message(array: np.ndarray, sample_rate: int | None = None) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(array, sample_rate)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestFloatsFarBeyondOne:
    @pytest.mark.parametrize("dtype", ["float32", "float64", ">f8"])
    @pytest.mark.parametrize(
        ("full_scale", "kind"), [(2**15, "int16"), (2**31, "int32"), (2**23, "24 bits"), (2**7, "int8")]
    )
    def test_samples_of_integers(self, voice: NDArray[np.float32], dtype: str, full_scale: int, kind: str) -> None:
        array = (voice / np.abs(voice).max() * 0.9 * full_scale).astype(dtype)
        line = message(array)
        assert line.startswith(f"the array has {array.dtype} samples up to {np.abs(array).max():.5g}, where full scale")
        assert f"; divide them by {full_scale}, which is right for samples of {kind}" in line
        assert message(array, 48_000) == line
        remedied = array / full_scale
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.abs(load_audio(remedied) - voice / np.abs(voice).max() * 0.9).max() < 1e-6

    def test_quiet_or_resampled_ones(self, voice: NDArray[np.float32]) -> None:
        assert "divide them by 128" in message(voice / np.abs(voice).max() * 100)
        assert "divide them by 32768, which is right for samples of int16, or give them as int16" in message(
            voice / np.abs(voice).max() * 33_500
        )
        assert "divide them by the largest that they can be" in message(voice * 1e20)

    def test_one_sample_far_into_the_array(self) -> None:
        array = np.zeros(1_000_000, np.float32)
        array[-1] = -20_000
        assert "samples up to 20000," in message(array)

    def test_samples_of_uint8(self) -> None:
        assert "samples up to 255," in message(np.linspace(0, 255, 16_000))

    def test_the_transcription_is_refused(self, voice: NDArray[np.float32]) -> None:
        model = load_model("nano", device="cpu")
        scaled = voice * 32768
        with pytest.raises(AudioError, match="divide them by 32768"):
            model.transcribe(scaled)
        refused, taken = model.transcribe_many([scaled, scaled.astype(np.int16)])
        assert isinstance(refused, AudioError)
        assert taken.text == model.transcribe(voice).text  # type: ignore[union-attr]


class TestLoudOnes:
    @pytest.mark.parametrize("peak", [1.0, 1.001, 1.5, 3.9])
    def test_a_little_beyond_one(self, voice: NDArray[np.float32], peak: float) -> None:
        array = voice / np.abs(voice).max() * np.float32(peak)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(load_audio(array), array)

    @pytest.mark.parametrize("peak", [4.1, 12.0, 60.0])
    def test_further_than_sound_is_loud(self, voice: NDArray[np.float32], peak: float) -> None:
        array = voice / np.abs(voice).max() * np.float32(peak)
        with pytest.warns(AudioWarning) as caught:
            assert np.array_equal(load_audio(array), array)
        (warning,) = caught
        assert str(warning.message) == (
            f"the array has float32 samples up to {np.abs(array).max():.5g}, where full scale is 1; divide them by the "
            "largest that they can be, which is 32768 for samples of int16"
        )
        assert warning.filename == __file__

    def test_a_language_is_detected_with_one_warning(self, voice: NDArray[np.float32]) -> None:
        with pytest.warns(AudioWarning) as caught:
            load_model("nano", device="cpu").detect_language(voice / np.abs(voice).max() * 12)
        assert len(caught) == 1

    @pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
    def test_silence(self, dtype: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not load_audio(np.zeros(16_000, dtype)).any()

    def test_the_loudest_int16(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.abs(load_audio(np.full(16_000, -32768, np.int16))).max() == 1


class TestOtherTypes:
    @pytest.mark.parametrize(
        ("dtype", "remedy"),
        [
            ("int32", ": here array / 2147483648, or array / 8388608 where they have 24 bits"),
            ("uint8", ": here (array.astype(numpy.float32) - 128) / 128"),
            ("int8", ": here array / 128"),
            ("uint16", ": here (array.astype(numpy.float32) - 32768) / 32768"),
            ("float16", ": here array.astype(numpy.float32)"),
            *((dtype, "") for dtype in ("int64", "bool", "complex64", "object", "<U3")),
        ],
    )
    def test_they_are_refused(self, dtype: str, remedy: str) -> None:
        expected = "give float32 or float64 samples in [-1, 1], or int16 samples as they are"
        assert message(np.zeros(16_000, dtype)) == f"the array is of {np.dtype(dtype)}; {expected}{remedy}"

    @pytest.mark.parametrize("dtype", ["int32", "uint8", "int8", "uint16", "float16"])
    def test_the_remedy_gives_the_samples(self, voice: NDArray[np.float32], dtype: str) -> None:
        scale = {"int32": 2**31, "uint8": 2**7, "int8": 2**7, "uint16": 2**15, "float16": 1}[dtype]
        offset = scale if dtype.startswith("u") else 0
        array = (voice.astype(np.float64) * scale + offset).astype(dtype)
        code = message(array).partition(": here ")[2].partition(", or")[0]
        remedied = eval(code, {"array": array, "numpy": np})  # the remedy is an expression of Python
        assert np.abs(load_audio(remedied) - voice).max() <= (1 / scale if scale > 1 else 1e-3)
