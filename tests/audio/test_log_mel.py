"""Samples become the log-mel spectrogram of openai-whisper, in windows of its length."""

import os
import subprocess
import sys
import tracemalloc
import wave
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import whisper.audio
from numpy.typing import NDArray

from max_whisper import audio
from max_whisper.audio import N_FRAMES, N_SAMPLES, log_mel, pad_or_trim
from max_whisper.audio.log_mel import LogMelWindows, log_mel_spectrogram, mel_filters
from max_whisper.audio.reading import ReadingOptions
from max_whisper.audio.samples import Joined, open_samples
from max_whisper.errors import AudioError
from max_whisper.progress import Step
from tests.audio.log_mel_signals import exact_log_mel, signals, voice


@cache
def long_voice() -> NDArray[np.float32]:
    return voice(90)


class TestLogMel:
    @pytest.mark.parametrize("n_mels", [80, 128])
    def test_filters_equal_the_reference_bit_for_bit(self, n_mels: int) -> None:
        assert np.array_equal(mel_filters(n_mels), whisper.audio.mel_filters("cpu", n_mels).numpy())

    @pytest.mark.parametrize("n_mels", [80, 128])
    @pytest.mark.parametrize("name", signals())
    def test_values(self, name: str, n_mels: int) -> None:
        samples = signals()[name]
        ours = log_mel_spectrogram(samples, n_mels, padding=16_000)
        reference = whisper.audio.log_mel_spectrogram(samples, n_mels, padding=16_000).numpy()
        assert ours.dtype == np.float32
        assert ours.shape == reference.shape == (n_mels, 1100)
        assert np.abs(ours - exact_log_mel(samples, n_mels, 16_000)).max() < 1e-5
        # What is left is the rounding of PyTorch's float32 transform. It passes 1e-5 only where a frame has strong
        # tones and next to nothing elsewhere: in few bins of a voice, in more of one tone alone.
        tonal = {"voice": 5e-3, "low tone": 0.05, "chirp": 0.05}
        assert (np.abs(ours - reference) > 1e-5).mean() <= tonal.get(name, 1e-4)
        assert np.abs(ours - reference).max() < 1e-4

    @pytest.mark.parametrize(
        "length", [201, 399, 400, 401, 560, 1000, 40_959, 40_960, 41_120, 163_839, 163_840, 164_000, 480_000]
    )
    @pytest.mark.parametrize("padding", [0, 1, 199, 200, 201, 480_000])
    def test_lengths(self, length: int, padding: int) -> None:
        samples = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
        ours = log_mel_spectrogram(samples, padding=padding)
        reference = whisper.audio.log_mel_spectrogram(samples, padding=padding).numpy()
        assert ours.shape == reference.shape == (80, (length + padding) // 160)
        assert np.abs(ours - reference).max() < 1e-5

    def test_short_audio_with_padding(self) -> None:
        for length in (0, 1, 50, 200):
            samples = np.full(length, 0.1, np.float32)
            reference = whisper.audio.log_mel_spectrogram(samples, padding=1000).numpy()
            assert np.abs(log_mel_spectrogram(samples, padding=1000) - reference).max() < 1e-5

    def test_the_floor_is_that_of_the_whole_recording(self) -> None:
        samples = np.concatenate([voice(1), 1e-6 * voice(1)])
        values = log_mel_spectrogram(samples)
        assert values.min() == pytest.approx(values.max() - 2.0, abs=1e-6)
        assert values[:, 110:].max() == values.min()

    def test_too_short(self) -> None:
        with pytest.raises(AudioError) as caught:
            log_mel_spectrogram(np.zeros(200, np.float32))
        assert str(caught.value) == "too short for a log-mel spectrogram: 200 samples; give at least 201"

    def test_leaves_its_input_alone(self) -> None:
        samples = voice(1)
        samples.flags.writeable = False
        log_mel_spectrogram(samples)
        assert np.array_equal(samples, voice(1))

    def test_memory_of_a_long_recording(self) -> None:
        samples = np.zeros(10 * 60 * 16_000, np.float32)
        tracemalloc.start()
        try:
            values = log_mel_spectrogram(samples, padding=audio.N_SAMPLES)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert values.shape == (80, 63_000)
        assert peak < values.nbytes + 8e6


@pytest.fixture(params=["kept", "computed again"])
def is_kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the spectrogram is kept from the first pass; if not, as if the recording were a long one."""
    if request.param != "kept":
        monkeypatch.setattr(log_mel, "_KEPT_FRAMES", 0)
    return request.param == "kept"


@pytest.mark.usefixtures("is_kept")
class TestWindows:
    @pytest.mark.parametrize("n_mels", [80, 128])
    def test_equal_the_whole_spectrogram(self, n_mels: int) -> None:
        samples = long_voice()[:1_139_752] * np.linspace(0.1, 1, 1_139_752, dtype=np.float32)
        samples[-160_000:] *= 1e-3
        whole = log_mel_spectrogram(samples, n_mels, padding=N_SAMPLES)
        windows = LogMelWindows(open_samples(samples), n_mels)
        content = len(samples) // 160
        assert windows.content_frames == content
        for seek in [0, 0, 1, 1023, 1024, 1025, 2000, 2999, 3001, 6144, content - 300, content - 1]:
            frames = min(N_FRAMES, content - seek)
            values = windows.window(seek, frames)
            assert values.dtype == np.float32
            assert values.flags.c_contiguous
            assert np.array_equal(values, pad_or_trim(whole[:, seek : seek + frames], N_FRAMES))

    def test_equal_the_reference(self) -> None:
        samples = long_voice()[: 40 * 16_000].copy()
        samples[-80_000:] *= 0.01
        whole = whisper.audio.log_mel_spectrogram(samples, padding=N_SAMPLES)
        windows = LogMelWindows(open_samples(samples))
        for seek in (0, 1234, 3456):
            frames = min(N_FRAMES, windows.content_frames - seek)
            reference = whisper.audio.pad_or_trim(whole[:, seek : seek + frames], N_FRAMES)
            assert np.abs(windows.window(seek, frames) - reference.numpy()).max() < 1e-4

    # 163,840 samples are a block of 1024 frames, and 65,536 one of a recording.
    @pytest.mark.parametrize("length", [400, 401, 559, 560, 561, 1600, 479_999, 480_000, 480_001, 480_160, 532_641])
    @pytest.mark.parametrize("more", [0, 65_136, 130_672, 163_239, 163_240, 163_241])
    def test_lengths(self, length: int, more: int) -> None:
        length += more
        samples = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
        samples[-1] = 1  # the loudest frame may be one that only reaches into the recording
        whole = log_mel_spectrogram(samples, padding=N_SAMPLES)
        windows = LogMelWindows(open_samples(samples))
        assert windows.content_frames == length // 160 == whole.shape[-1] - N_FRAMES
        # As far as the silence after the end, which the language of a short recording is detected with.
        assert np.array_equal(windows.window(0, N_FRAMES), whole[:, :N_FRAMES])
        last = windows.content_frames - 1
        assert np.array_equal(windows.window(last, N_FRAMES), whole[:, last : last + N_FRAMES])
        assert np.array_equal(windows.window(last, 1), pad_or_trim(whole[:, last : last + 1], N_FRAMES))

    def test_going_back(self) -> None:
        samples = long_voice()
        whole = log_mel_spectrogram(samples, padding=N_SAMPLES)
        windows = LogMelWindows(open_samples(samples))
        for seek in (6000, 5000, 0, 5999, 10):
            assert np.array_equal(windows.window(seek, N_FRAMES), whole[:, seek : seek + N_FRAMES])

    def test_silence(self) -> None:
        windows = LogMelWindows(open_samples(np.zeros(16_000, np.float32)))
        values = windows.window(0, 100)
        assert np.abs(values[:, :100] + 1.5).max() < 1e-6
        assert not values[:, 100:].any()

    @pytest.mark.parametrize("length", [0, 1, 200, 201, 399])
    def test_stretches_may_be_short(self, length: int) -> None:
        source = open_samples(voice(1))
        values = LogMelWindows(Joined(source, [(1000, 1000 + length)])).window(0, 500)
        expected = log_mel_spectrogram(voice(1)[1000 : 1000 + length], padding=N_SAMPLES)
        assert np.array_equal(values, pad_or_trim(expected[:, :500], N_FRAMES))

    def test_stretches_joined(self) -> None:
        samples = long_voice()[: 70 * 16_000]
        spans = [(1000, 200_000), (300_001, 900_000)]
        joined = np.concatenate([samples[start:stop] for start, stop in spans])
        windows = LogMelWindows(Joined(open_samples(samples), spans))
        expected = log_mel_spectrogram(joined, padding=N_SAMPLES)
        for seek in (0, 1500, 3000):
            assert np.array_equal(windows.window(seek, 1000)[:, :1000], expected[:, seek : seek + 1000])

    def test_progress(self) -> None:
        steps: list[Step] = []
        LogMelWindows(open_samples(voice(10)), progress=steps.append)
        assert steps == [Step("reading the recording", seconds, 10, "s") for seconds in (4, 8, 10)]
        steps.clear()
        LogMelWindows(open_samples(voice(10), ReadingOptions(sample_rate=32_000)), progress=steps.append)
        assert steps == [Step("reading the recording", seconds, None, "s") for seconds in (4, 5)]


class TestLongRecordings:
    def test_no_longer_than_ten_minutes_are_kept(self) -> None:
        samples = np.random.default_rng(0).normal(0, 0.1, 605 * 16_000).astype(np.float32)
        lengths = {600: True, 605: False}
        for seconds, is_kept in lengths.items():
            source = open_samples(samples[: seconds * 16_000])
            windows = LogMelWindows(source)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(source, "read", lambda start, stop: pytest.fail("the window is computed again"))
                if is_kept:
                    windows.window(100, N_FRAMES)
                else:
                    with pytest.raises(pytest.fail.Exception, match="computed again"):
                        windows.window(100, N_FRAMES)

    def test_memory(self, tmp_path: Path) -> None:
        """What a quarter of an hour needs beyond what two minutes do, in a process of its own."""
        sound = np.random.default_rng(0).normal(0, 3000, 60 * 16_000).astype("<i2").tobytes()
        for minutes in (2, 15):
            with wave.open(str(tmp_path / f"{minutes}.wav"), "wb") as file:
                file.setparams((1, 2, 16_000, 0, "NONE", ""))
                for _ in range(minutes):
                    file.writeframes(sound)
        script = """
import resource, sys
from max_whisper.audio import log_mel
from max_whisper.audio.samples import open_samples
log_mel._KEPT_FRAMES = 6000
for path in sys.argv[1:]:
    windows = log_mel.LogMelWindows(open_samples(path))
    for seek in range(0, windows.content_frames, 2900):
        windows.window(seek, 3000)
    print(windows.content_frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
        paths = [str(tmp_path / f"{minutes}.wav") for minutes in (2, 15)]
        package = str(Path(audio.__file__).parent.parent)
        done = subprocess.run(
            [sys.executable, "-c", script, *paths],
            env={**os.environ, "PYTHONPATH": package},
            capture_output=True,
            text=True,
            check=True,
        )
        (frames, before), (more_frames, after) = (map(int, line.split()) for line in done.stdout.splitlines())
        assert (frames, more_frames) == (12_000, 90_000)
        assert after - before < 15_000  # kB; the samples alone are 58 MB, the spectrogram 29 MB


class TestPadOrTrim:
    @pytest.mark.parametrize("length", [0, 1, 479_999, 480_000, 480_001])
    def test_samples(self, length: int) -> None:
        samples = np.arange(length, dtype=np.float32)
        assert np.array_equal(pad_or_trim(samples), whisper.audio.pad_or_trim(samples))

    @pytest.mark.parametrize("axis", [0, 1, -1, -2])
    @pytest.mark.parametrize("length", [1, 5, 9])
    def test_axes(self, axis: int, length: int) -> None:
        array = np.arange(35, dtype=np.float32).reshape(5, 7)
        ours = pad_or_trim(array, length, axis=axis)
        assert ours.dtype == np.float32
        assert np.array_equal(ours, whisper.audio.pad_or_trim(array, length, axis=axis))
