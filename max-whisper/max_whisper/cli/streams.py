"""Standard output and standard error that never stop the work: what cannot be printed is remembered, not raised.

A full disk, a reader that has gone, a stream that the shell closed and a character that the terminal's encoding does
not have must not decide whether a transcription is written.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import Any, TextIO

_STREAMS = {"stdout": 1, "stderr": 2}


class _Output(io.BufferedIOBase):
    """The bytes of a stream. After the first error of the system nothing more is tried.

    None are held back: what a signal interrupts may be lost, but is not written twice.
    """

    def __init__(self, number: int, name: str) -> None:
        self.number = number  # of the file: 1 or 2
        self.name = name
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.number

    def isatty(self) -> bool:
        return os.isatty(self.number)

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while self.failure is None and left:
            try:
                left = left[os.write(self.number, left) :]
            except BlockingIOError:  # a pipe that whoever started us does not let wait
                select.select((), (self.number,), ())
            except OSError as error:
                self.failure = error
        return len(data)


def protect() -> None:
    """Put protected streams in the place of this process's standard output and standard error."""
    closed = _occupy_closed()
    for name, number in _STREAMS.items():
        setattr(sys, name, _protected(getattr(sys, name), number))
        if number in closed:
            _output(getattr(sys, name)).failure = OSError(errno.EBADF, os.strerror(errno.EBADF))


def failure(stream: TextIO) -> OSError | None:
    """What kept a protected stream from being written; its number is EBADF where the shell closed it."""
    with contextlib.suppress(OSError):
        stream.flush()
    output = _output(stream)
    return output.failure if isinstance(output, _Output) else None


def write_bytes(stream: TextIO, data: bytes) -> None:
    """Write bytes as they are behind the text so far. A reader that has gone is a BrokenPipeError."""
    stream.flush()
    stream.buffer.write(data)
    stream.buffer.flush()
    raise_if_gone(stream)


def raise_if_gone(stream: TextIO) -> None:
    """Raises BrokenPipeError where whoever read a stream has gone, for work that is done for its output alone."""
    problem = failure(stream)
    if isinstance(problem, BrokenPipeError):
        raise problem


def _occupy_closed() -> set[int]:
    """Open the standard streams that were closed, so that no other file gets their numbers; returns which they were."""
    closed = set()
    while (number := os.open(os.devnull, os.O_RDWR)) <= max(_STREAMS.values()):
        os.set_inheritable(number, True)
        closed.add(number)
    os.close(number)
    return closed


def _protected(stream: TextIO | None, number: int) -> TextIO:
    """A stream over the same file. Characters that its encoding does not have are written as \\xe9, or \\u4f60."""
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.flush()
    return io.TextIOWrapper(
        _Output(number, getattr(stream, "name", os.devnull)),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=number == _STREAMS["stderr"] or getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )


def _output(stream: TextIO) -> Any:
    return getattr(stream, "buffer", None)
