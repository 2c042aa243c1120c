"""A file object of somebody else's, which may be anything that has `read`."""

from __future__ import annotations

import os
from typing import Any


class ForeignFile:
    """A binary file object whose methods do what they should, or raise OSError once; from then on it is at its end.

    PyAV writes past its buffer where `read` gives more bytes than were asked for, and prints the traceback of an error
    that comes before it has raised the one before.
    """

    def __init__(self, file: Any) -> None:
        self.name = getattr(file, "name", "<none>")
        self._file = file
        self._has_failed = False

    @property
    def closed(self) -> bool:
        return bool(getattr(self._file, "closed", False))

    def readable(self) -> bool:
        """Whether it says so, or does not say."""
        return not hasattr(self._file, "readable") or self._says_yes("readable")

    def seekable(self) -> bool:
        return hasattr(self._file, "seekable") and self._says_yes("seekable")

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        if self._has_failed:
            return b""
        chunk = self._asked("read", size)
        if not isinstance(chunk, (bytes, bytearray, memoryview)):
            raise self._failure(f"its read gives {_kind(chunk)}")
        if len(chunk) > size:
            raise self._failure(f"its read gives {len(chunk)} bytes for {size}")
        return bytes(chunk)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self._has_failed:
            return max(0, offset)
        self._asked("seek", offset, whence)
        position = self.tell()
        if whence == os.SEEK_SET and position != offset:
            raise self._failure(f"its seek goes to {position} in place of {offset}")
        return position

    def tell(self) -> int:
        if self._has_failed:
            return 0
        position = self._asked("tell")
        if not isinstance(position, int) or position < 0:
            raise self._failure(f"its tell gives {_kind(position)}")
        return position

    def _says_yes(self, question: str) -> bool:
        try:
            return bool(getattr(self._file, question)())
        except Exception:
            return False

    def _asked(self, method: str, *arguments: int) -> Any:
        try:
            return getattr(self._file, method)(*arguments)
        except OSError:
            self._has_failed = True
            raise
        except Exception as error:  # one over a network has errors of its own
            raise self._failure(f"{type(error).__name__}: {error}") from error

    def _failure(self, reason: str) -> OSError:
        self._has_failed = True
        return OSError(reason)


def _kind(value: object) -> str:
    return repr(value) if value is None or isinstance(value, int) else f"a {type(value).__name__}"
