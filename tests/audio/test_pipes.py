"""Recordings through pipes: the samples of the file, and before its end is written where the format allows."""

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from max_whisper.audio import load_audio, open_recording

SAMPLES = Path(__file__).resolve().parents[2] / "audio_samples"
RECORDINGS = sorted(path for path in SAMPLES.iterdir() if path.suffix in (".flac", ".mp3", ".ogg", ".wav", ".m4a"))


class Trickle(io.BytesIO):
    """A file object that cannot go back, made of pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self.n_given = 0

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1) -> bytes:
        piece = next(self._pieces, b"")
        self.n_given += len(piece)
        return piece


def pieces_of(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def converted(path: Path, folder: Path, codec: str) -> Path:
    """A recording in another container."""
    target = folder / f"converted{path.suffix}"
    samples = load_audio(SAMPLES / "one_day.flac")
    with av.open(str(target), "w") as container:
        stream = container.add_stream(codec, rate=16000, layout="mono")
        for start in range(0, len(samples), 4096):
            piece = (samples[start : start + 4096] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(piece[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target


@pytest.mark.parametrize("size", [1000, 1 << 16])
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_a_pipe_gives_the_samples_of_the_file(path: Path, size: int) -> None:
    recording = open_recording(Trickle(pieces_of(path.read_bytes(), size)))
    expected = load_audio(path)
    for _ in range(2):  # the second pass reads what the first has kept
        assert np.array_equal(np.concatenate(list(recording.blocks())), expected)


def test_two_passes_at_once() -> None:
    path = SAMPLES / "one_day.flac"
    recording, expected = open_recording(Trickle(pieces_of(path.read_bytes(), 5000))), load_audio(path)
    first, second = recording.blocks(), recording.blocks()
    ahead = [next(first), next(first)]
    behind = [next(second)]
    assert np.array_equal(np.concatenate([*ahead, *first]), expected)
    assert np.array_equal(np.concatenate([*behind, *second]), expected)


@pytest.mark.parametrize(("suffix", "codec"), [(".wav", "pcm_s16le"), (".flac", "flac"), (".mka", "pcm_s16le")])
def test_decoding_begins_before_the_end_is_there(suffix: str, codec: str, tmp_path: Path) -> None:
    data = converted(Path(f"long{suffix}"), tmp_path, codec).read_bytes()
    source = Trickle(pieces_of(data, 4096))
    blocks = open_recording(source).blocks()
    first = next(blocks)
    assert source.n_given < len(data) / 3
    rest = np.concatenate([first, *blocks])
    assert np.array_equal(rest, load_audio(tmp_path / f"converted{suffix}"))


def test_a_pipe_of_the_system_whose_writer_waits(tmp_path: Path) -> None:
    path = converted(Path("long.wav"), tmp_path, "pcm_s16le")
    data = path.read_bytes()
    reading, writing = os.pipe()
    heard = threading.Event()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(data[: len(data) // 2])
            pipe.flush()
            assert heard.wait(20)
            pipe.write(data[len(data) // 2 :])

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb") as pipe:
        blocks = open_recording(pipe).blocks()
        first = next(blocks)
        heard.set()
        assert np.array_equal(np.concatenate([first, *blocks]), load_audio(path))
    writer.join()
