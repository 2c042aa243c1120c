"""The operation `log10_mel` against the definition in float64 and against its NumPy twin."""

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession, Model
from max.graph import DeviceRef, Dim, Graph, TensorType, ops
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


@pytest.fixture(scope="module")
def loose() -> Model:
    """The operation in a graph that promises nothing of its inputs, and of 400 samples wants 2 frames."""
    cpu = DeviceRef.CPU()
    inputs = [
        TensorType(DType.float32, ["samples"], cpu),
        TensorType(DType.float64, ["window"], cpu),
        TensorType(DType.float64, ["filters", "bins"], cpu),
        TensorType(DType.int64, ["bands", "ends"], cpu),
    ]
    result = TensorType(DType.float32, ["filters", Dim("samples") // 200], cpu)
    with Graph("loose", input_types=inputs, custom_extensions=[packaged_kernels()]) as graph:
        graph.output(*ops.custom("log10_mel", cpu, [value.tensor for value in graph.inputs], [result]))
    return InferenceSession(devices=[CPU()]).load(graph, custom_extensions=[packaged_kernels()])


def bands_with(first: int, end: int) -> np.ndarray:
    bands = np.tile(np.array([0, 201]), (80, 1))
    bands[3] = first, end
    return bands


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samples": np.zeros(400, np.float32)}, "samples is 400, and must be at least 560"),
        ({"window": np.zeros(399)}, "samples of the window is 399, and must be 400"),
        ({"filters": np.zeros((80, 200))}, "bins of filters is 200, and must be 201"),
        ({"bands": np.zeros((79, 2), np.int64)}, "rows of bands is 79, and must be 80"),
        ({"bands": np.zeros((80, 3), np.int64)}, "columns of bands is 3, and must be 2"),
        ({"bands": bands_with(-1, 3)}, "a band's first bin is -1, and must be from 0 to 201"),
        ({"bands": bands_with(4, 3)}, "a band's end is 3, and must be from 4 to 201"),
        ({"bands": bands_with(4, 202)}, "a band's end is 202, and must be from 4 to 201"),
    ],
)
def test_what_does_not_fit_is_refused(loose: Model, changed: dict[str, np.ndarray], message: str) -> None:
    inputs = {
        "samples": np.zeros(1600, np.float32),
        "window": np.ones(400),
        "filters": np.ones((80, 201)),
        "bands": bands_with(0, 201),
    }
    loose.execute(*map(Buffer.from_numpy, inputs.values()))
    with pytest.raises(ValueError, match=f"log10_mel: {message}"):
        loose.execute(*map(Buffer.from_numpy, {**inputs, **changed}.values()))
