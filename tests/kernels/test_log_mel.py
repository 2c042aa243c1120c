"""The operation `log10_mel` against the definition in float64 and against its NumPy twin."""

import numpy as np
import pytest
from max.driver import CPU
from max.engine import InferenceSession
from max.graph import Module as GraphModule

from max_whisper.audio import N_FRAMES, N_SAMPLES, log_mel
from max_whisper.audio.log_mel import LogMelWindows, log_mel_spectrogram
from max_whisper.audio.samples import open_samples
from max_whisper.backends.log_mel import CompiledLog10Mel
from max_whisper.models.whisper.graphs.log_mel import add_log10_mel
from max_whisper.runtime.kernels import packaged_kernels
from tests.audio.log_mel_signals import exact_log_mel, signals, voice

MELS = [80, 128]
# One frame; a vector of them, less one and more; what is laid out together, less one and more; a few of these.
FRAMES = [1, 2, 7, 8, 9, 31, 32, 33, 65, 300]


@pytest.fixture(scope="module")
def compiled() -> CompiledLog10Mel:
    module = GraphModule()
    add_log10_mel(module)
    models = InferenceSession(devices=[CPU()]).load_all(module, custom_extensions=[packaged_kernels()])
    return CompiledLog10Mel(models["log10_mel"])


def noise(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).normal(0, 0.1, 240 + 160 * frames).astype(np.float32)


@pytest.mark.parametrize("n_mels", MELS)
@pytest.mark.parametrize("name", signals())
def test_values(compiled: CompiledLog10Mel, name: str, n_mels: int) -> None:
    samples = signals()[name]
    ours = log_mel_spectrogram(samples, n_mels, padding=16_000, log10_mel=compiled)
    assert ours.dtype == np.float32
    assert np.abs(ours - exact_log_mel(samples, n_mels, 16_000)).max() < 1e-5


@pytest.mark.parametrize("n_mels", MELS)
@pytest.mark.parametrize("frames", FRAMES)
def test_it_is_what_numpy_computes(compiled: CompiledLog10Mel, frames: int, n_mels: int) -> None:
    values = compiled(noise(frames), n_mels)
    assert values.shape == (n_mels, frames)
    np.testing.assert_allclose(values, log_mel.log10_mel(noise(frames), n_mels), rtol=0, atol=2e-6)


def test_samples_after_the_last_frame_are_not_heard(compiled: CompiledLog10Mel) -> None:
    samples = noise(9)
    for more in (1, 80, 159):
        longer = np.concatenate([samples, np.full(more, 0.5, np.float32)])
        assert np.array_equal(compiled(longer, 80), compiled(samples, 80))


def test_a_frame_does_not_depend_on_its_place(compiled: CompiledLog10Mel) -> None:
    samples = noise(300)
    whole = compiled(samples, 80)
    for first in (1, 5, 8, 31, 32, 123, 299):
        assert np.array_equal(compiled(samples[first * 160 :], 80), whole[:, first:])
        assert np.array_equal(compiled(samples[: 240 + 160 * first], 80), whole[:, :first])


def test_silence_is_the_least_there_is(compiled: CompiledLog10Mel) -> None:
    assert np.array_equal(compiled(np.zeros(2000, np.float32), 80), np.full((80, 11), -10, np.float32))


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1.0, 1e6, 1e18])
def test_every_loudness(compiled: CompiledLog10Mel, scale: float) -> None:
    samples = noise(20) * np.float32(scale)
    np.testing.assert_allclose(compiled(samples, 80).astype(np.float64), twin_in_float64(samples), rtol=2e-7, atol=1e-8)


def twin_in_float64(samples: np.ndarray) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160] * log_mel.hann_window()
    mel = log_mel.mel_filters(80).astype(np.float64) @ np.abs(np.fft.rfft(frames).T) ** 2
    return np.log10(np.maximum(mel, 1e-10))


@pytest.mark.parametrize("n_mels", MELS)
@pytest.mark.parametrize("length", [400, 401, 560, 40_959, 163_840, 164_000, 480_000])
def test_windows_equal_the_whole_spectrogram(compiled: CompiledLog10Mel, length: int, n_mels: int) -> None:
    samples = voice(30)[:length]
    whole = log_mel_spectrogram(samples, n_mels, padding=N_SAMPLES, log10_mel=compiled)
    windows = LogMelWindows(open_samples(samples), n_mels, log10_mel=compiled)
    assert np.array_equal(windows.window(0, N_FRAMES), whole[:, :N_FRAMES])
