"""Bytes of recordings as FFmpeg reads them: a pipe whose bytes are kept, and views that do not meet.

FFmpeg reads a recording several times, and what it is given may be a file object that the caller uses too.
"""

from __future__ import annotations

import os
import sys
import tempfile
import weakref
from collections.abc import Callable
from typing import IO, BinaryIO, cast

from max_whisper.errors import AudioError

_PIPE_CHUNK = 1 << 16  # bytes of a pipe that are read at once
_IN_MEMORY = 16 << 20  # bytes of a pipe that are kept in memory; of a longer one all are in a temporary file


class KeptBytes:
    """The bytes of a pipe as a file that can go back. They are read as they are asked for, and kept.

    So a recording can be decoded while it is still being written.
    """

    def __init__(self, file: IO[bytes], name: str, warn_of_damage: Callable[[str], None]) -> None:
        self._file = file
        self._name = name
        self._warn_of_damage = warn_of_damage
        self._kept = cast(BinaryIO, tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115
        self._n_kept = 0
        self._is_whole = False
        weakref.finalize(self, self._kept.close)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            self._keep(sys.maxsize)
        return self._kept.seek(offset, whence)

    def tell(self) -> int:
        return self._kept.tell()

    def read(self, size: int) -> bytes:
        """The next bytes, `size` of them unless the pipe ends before."""
        position = self._kept.tell()
        self._keep(position + size)
        self._kept.seek(position)
        return self._kept.read(size)

    def _keep(self, length: int) -> None:
        """Read the pipe until so many of its bytes are kept, or to its end."""
        while not self._is_whole and self._n_kept < length:
            try:
                chunk = self._file.read(_PIPE_CHUNK)
            except OSError as error:
                reason = error.strerror or error
                if not self._n_kept:
                    raise AudioError(f"{self._name} cannot be read ({reason}); check what writes it") from error
                self._warn_of_damage(f"{self._name} could not be read to its end ({reason}); what came is used")
                chunk = b""
            self._is_whole = not chunk
            try:
                self._kept.seek(0, os.SEEK_END)
                self._kept.write(chunk)
            except OSError as error:
                reason = f"{error.strerror or error}; set TMPDIR to a folder with room for it"
                raise AudioError(f"cannot keep {self._name} in a temporary file: {reason}") from error
            self._n_kept += len(chunk)


class ForwardView:
    """A file object from `start` on, with a position of its own, so that several passes over it do not meet.

    It cannot go back, so FFmpeg reads it in order and no further than it must.
    """

    def __init__(self, file: BinaryIO | KeptBytes, start: int, named: object) -> None:
        self.name = str(getattr(named, "name", "<none>"))  # FFmpeg looks at its ending
        self._file = file
        self._start = start
        self._position = 0

    def read(self, size: int) -> bytes:
        chunk = self.peek(self._position, size)
        self._position += len(chunk)
        return chunk

    def peek(self, position: int, size: int) -> bytes:
        """Bytes of any place, which are not passed by this."""
        self._file.seek(self._start + position)
        return self._file.read(size)

    def tell(self) -> int:
        return self._position


class View(ForwardView):
    """A file object from `start` on that can go back."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            self._file.seek(offset, os.SEEK_END)
            self._position = self._file.tell() - self._start
        else:
            self._position = offset + (self._position if whence == os.SEEK_CUR else 0)
        return self._position
