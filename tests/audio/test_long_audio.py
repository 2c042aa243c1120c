"""Long audio in flat memory, on a small scale: through windows of the spectrogram and a scripted model."""

import gc
import tracemalloc
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.long import write_recording
from max_whisper.audio import SAMPLE_RATE
from max_whisper.audio.samples import open_samples
from max_whisper.diagnostics.recordings import recordings
from max_whisper.options import TranscribeOptions
from max_whisper.progress import silent
from max_whisper.transcription.tasks import SequentialTranscription
from tests.decoding.scripted import Script, ScriptedModel, dimensions


class Murmur(Script):
    """A word and two timestamps for each window, at once, so that the audio is what takes time and memory."""

    def logits(self, window: int, tokens: Sequence[int]) -> np.ndarray:
        begin = self.tokenizer.timestamp_begin
        text = [begin, 1000, begin + 1400, self.tokenizer.eot]
        logits = np.zeros(self.dims.n_vocab, np.float32)
        logits[text[len(tokens) - list(tokens).index(self.tokenizer.sot) - 3]] = 20
        return logits


def peak_memory(path: Path) -> tuple[int, int]:
    """Bytes of Python and NumPy at most while a file is transcribed and its segments dropped; and the segments."""
    model = ScriptedModel(Murmur(dimensions("multilingual"), 0))
    options = TranscribeOptions(language="en")
    gc.collect()
    tracemalloc.start()
    try:
        n_segments = sum(1 for _ in SequentialTranscription(model, open_samples(path), options, silent).segments())
        return tracemalloc.get_traced_memory()[1], n_segments
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Eleven minutes of speech with pauses, of which no spectrogram is kept, and twice as much."""
    folder = tmp_path_factory.mktemp("long")
    paths = folder / "11.wav", folder / "22.wav"
    for path, minutes in zip(paths, (11, 22), strict=True):
        write_recording(path, 60 * minutes, recordings([]))
        with wave.open(str(path), "rb") as file:
            assert file.getnframes() == 60 * minutes * SAMPLE_RATE
    return paths


def test_memory_does_not_grow_with_the_recording(files: tuple[Path, Path]) -> None:
    (short, few), (long, many) = map(peak_memory, files)
    assert many >= 2 * few > 40
    # 11 minutes more are 42 MB of samples and 21 MB of spectrogram.
    assert long - short < 2e6
