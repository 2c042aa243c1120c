"""What a recording is given as: a path, a file object of many kinds, an array; sound ones and odd ones."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzzing.containers import SPOKEN, encoded, spoken, writable
from tests.fuzzing.damage import damaged

Generator = np.random.Generator
_WRONG_ANSWERS = 100  # of a file object, after which it is at its end
ERRORS = (OSError(5, "Input/output error"), ValueError("closed"), RuntimeError("no more"), KeyError("key"), EOFError())


@dataclass
class Source:
    """A recording to be transcribed."""

    described: str
    audio: Callable[[], Any]  # makes it: a file object can be read once
    content: bytes | None = None  # of a file
    sample_rate: Any = None
    is_whole: bool = False  # undamaged, with speech in it
    path: Path | None = None  # where it is one on a disk


class FailingFile(io.RawIOBase):
    """A file object that does not do what it should, once so many calls have been made."""

    def __init__(self, content: bytes, method: str, answer: Any, after: int, *, can_seek: bool) -> None:
        """answer: what the method returns, or the error that it raises."""
        self._file = io.BytesIO(content)
        self._method, self._answer, self._left, self._can_seek = method, answer, after, can_seek

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._can_seek

    def read(self, size: int = -1) -> Any:
        return self._do("read", lambda: self._file.read(size))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> Any:
        return self._do("seek", lambda: self._file.seek(offset, whence))

    def tell(self) -> Any:
        return self._do("tell", self._file.tell)

    def _do(self, method: str, action: Callable[[], Any]) -> Any:
        if method == self._method:
            self._left -= 1
            if self._left < 0:
                if isinstance(self._answer, Exception):
                    raise self._answer
                # No file is endless: whoever needs a pipe's end waits for it.
                return self._answer if self._left > -_WRONG_ANSWERS else b"" if method == "read" else 0
        return action()


class ShortReads(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, content: bytes, most: int) -> None:
        self._file, self._most = io.BytesIO(content), most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(self._most if size < 0 else min(size, self._most))


def drawn_source(rng: Generator, folder: Path) -> Source:
    """One of all kinds, damaged files most often. Files on a disk are written into the folder."""
    kinds = (whole_file, damaged_file, damaged_file, damaged_file, raw_bytes, array, failing_file)
    return kinds[rng.integers(len(kinds))](rng, folder)


def whole_file(rng: Generator, folder: Path) -> Source:
    content, suffix, described = _recording(rng)
    source = _given(rng, folder, content, suffix, described)
    source.is_whole = True
    return source


def damaged_file(rng: Generator, folder: Path) -> Source:
    content, suffix, described = _recording(rng)
    if rng.random() < 0.05:
        other, _, other_described = _recording(rng)
        content, described = content + other, f"{described} and {other_described} joined"
    content, done = damaged(rng, content)
    return _given(rng, folder, content, suffix, f"{described}: {'; '.join(done)}")


def raw_bytes(rng: Generator, folder: Path) -> Source:
    length = int(2 ** rng.uniform(0, 17))
    content = (rng.bytes(length), bytes(length), b"no sound\n" * (length // 9 + 1))[rng.integers(3)]
    beginnings = (
        b"",
        b"RIFF\xff\xff\xff\xffWAVEfmt ",
        b"fLaC",
        b"OggS",
        b"\x1aE\xdf\xa3",
        b"ID3\4\0\0",
        b"\xff\xfb",
        b"#!AMR\n",
    )
    content = beginnings[rng.integers(len(beginnings))] + content
    suffix = ("wav", "mp3", "ogg", "mp4", "mkv", "txt", "")[rng.integers(7)]
    return _given(rng, folder, content, suffix, f"{len(content)} bytes, {content[:8]!r}...")


def failing_file(rng: Generator, folder: Path) -> Source:
    content, _, described = _recording(rng)
    method = ("read", "read", "read", "seek", "tell")[rng.integers(5)]
    answers = (*ERRORS, None, "text", b"", -1, bytearray(b"RIFF"), memoryview(b"x" * 5000), 10**12, bytes(1 << 20))
    answer = answers[rng.integers(len(answers))]
    after, can_seek = int(rng.integers(0, 12)), bool(rng.random() < 0.5)
    told = repr(answer)
    if isinstance(answer, (bytes, bytearray, memoryview)):
        told = f"{len(answer)} bytes as {type(answer).__name__}"
    return Source(
        f"{described} from a file object whose {method} gives {told} after {after} calls, can_seek={can_seek}",
        lambda: FailingFile(content, method, answer, after, can_seek=can_seek),
        content,
    )


def array(rng: Generator, folder: Path) -> Source:
    name = SPOKEN[rng.integers(len(SPOKEN))]
    samples: Any = spoken(name)
    changes = (
        ("as it is", lambda x: x),
        ("float64", lambda x: x.astype(np.float64)),
        ("int16", lambda x: (x * 32767).astype(np.int16)),
        ("big-endian", lambda x: x.astype(">f4")),
        ("of another type", lambda x: (x * 100).astype(("int8", "int32", "float16", "uint8", "bool")[rng.integers(5)])),
        ("values of int16 as floats", lambda x: x * np.float32(32768)),
        ("huge", lambda x: x * np.float32(1e30)),
        ("tiny", lambda x: x * np.float32(1e-30)),
        ("with NaN", lambda x: np.where(rng.random(len(x)) < 1e-4, np.nan, x)),
        ("with infinity", lambda x: np.where(rng.random(len(x)) < 1e-4, -np.inf, x).astype(np.float32)),
        ("constant", lambda x: np.full_like(x, rng.uniform(-1, 1))),
        ("silent", np.zeros_like),
        ("alternating", lambda x: np.resize(np.array([1, -1], np.float32), len(x))),
        ("noise", lambda x: rng.uniform(-1, 1, len(x)).astype(np.float32)),
        ("every second, backwards", lambda x: x[::-2]),
        ("a column", lambda x: np.stack([x, x], axis=1)[:, 0]),
        ("two channels", lambda x: np.stack([x, x], axis=int(rng.integers(2)))),
        ("short", lambda x: x[: rng.integers(0, 1000)]),
        ("one of several dimensions", lambda x: x.reshape((1,) * int(rng.integers(1, 3)) + (-1,))),
        ("without dimensions", lambda x: np.float32(0.5)),
        ("a list", lambda x: x[:1000].tolist()),
        ("read-only", _read_only),
    )
    index = int(rng.integers(len(changes)))
    told, change = changes[index]
    changed = change(samples)
    rates = (None, None, None, 16_000, 8_000, 44_100, 48_000, 1_000, 768_000, 0, -1, 16_000.0, "16000", 10**10)
    rate = rates[rng.integers(len(rates))]
    whole = told in ("as it is", "float64", "int16", "big-endian", "a column", "read-only") and rate in (None, 16_000)
    return Source(f"array of {name}, {told}, sample_rate={rate!r}", lambda: changed, None, rate, whole)


def _read_only(samples: np.ndarray) -> np.ndarray:
    copy = samples.copy()
    copy.flags.writeable = False
    return copy


def _recording(rng: Generator) -> tuple[bytes, str, str]:
    """A recording in a container: the file, its suffix and its name."""
    container, name = writable()[rng.integers(len(writable()))], SPOKEN[rng.integers(len(SPOKEN))]
    content = encoded(container, name)
    assert content is not None
    return content, container.suffix, f"{name} as {container}"


def _given(rng: Generator, folder: Path, content: bytes, suffix: str, described: str) -> Source:
    """A file as a path, in memory, or as a pipe."""
    how = rng.integers(4)
    if how < 2:
        path = folder / (f"recording.{suffix}" if suffix else "recording")
        path.write_bytes(content)
        return Source(f"{described}, a path", lambda: str(path), content, path=path)
    if how == 2:
        return Source(f"{described}, in memory", lambda: io.BytesIO(content), content)
    most = int(2 ** rng.integers(8, 17))
    return Source(f"{described}, a pipe", lambda: ShortReads(content, most), content)
