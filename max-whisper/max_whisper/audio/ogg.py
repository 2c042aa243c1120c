"""The links of an Ogg file: a chained one is several files, one after the other (RFC 3533, section 4).

Internet radio begins a link with every title, and `cat` makes links of files. FFmpeg reads the first link, and goes on
only where what follows is coded alike. So each link is read as a file of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

_CAPTURE = b"OggS"  # how a page begins
_HEADER = 27  # bytes of a page before the sizes of its segments
_BEGINS_STREAM = 0x02  # flag of the first page of a stream
_LONGEST_BEGINNING = 4096  # bytes: such a page holds one short packet
_POLYNOMIAL = 0x04C11DB7


class Readable(Protocol):
    """Bytes that are read forward."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, no more than `size`; none at the end."""


def is_ogg(beginning: bytes) -> bool:
    """Whether a file with these first four bytes is Ogg."""
    return beginning == _CAPTURE


class Links:
    """The links of a file, to be read one after the other. They have all of its bytes, damage included."""

    def __init__(self, file: Readable, name: str) -> None:
        self.name = name  # of the file: FFmpeg looks at its ending
        self.is_cut = False  # whether the last page read was incomplete
        self._file = file
        self._buffer = bytearray()
        self._page: bytes | None = None  # that was looked at

    def __iter__(self) -> Iterator[Link]:
        while self.page():
            link = Link(self)
            yield link
            while link.read(1 << 16):
                pass  # what the decoder left of it

    def page(self) -> bytes:
        """The next page, or bytes between pages; empty at the end. It stays the next one until it is taken."""
        if self._page is None:
            size = self._page_size()
            self._page = bytes(self._buffer[:size])
            del self._buffer[:size]
        return self._page

    def take(self) -> None:
        """Go on to the page after."""
        self._page = None

    def _page_size(self) -> int:
        """How many bytes at the buffer's beginning are a page, or no page."""
        self._has(_HEADER)
        if not self._buffer.startswith(_CAPTURE):
            following = self._buffer.find(_CAPTURE, 1)
            return following if following > 0 else max(len(self._buffer) - 3, min(len(self._buffer), 3))
        size = _HEADER
        if self._has(size):
            size += self._buffer[_HEADER - 1]
        if self._has(size):
            size += sum(self._buffer[_HEADER:size])
        self.is_cut = not self._has(size)
        return min(size, len(self._buffer))

    def _has(self, size: int) -> bool:
        """Read until the buffer has so many bytes, or to the end."""
        while len(self._buffer) < size and (chunk := self._file.read(size - len(self._buffer))):
            self._buffer += chunk
        return len(self._buffer) >= size


class Link:
    """One link as a file that is read forward: the first pages of its streams, and all up to those of the next link."""

    def __init__(self, links: Links) -> None:
        self.name = links.name
        self._links = links
        self._rest = memoryview(b"")  # of the page that is being read
        self._is_past_beginnings = False
        self.n_packets_first = 0  # packets that end in the first page with sound or pictures

    def read(self, size: int, /) -> bytes:
        if not self._rest:
            page = self._links.page()
            begins_stream = _begins_stream(page)
            if begins_stream and self._is_past_beginnings:
                return b""
            self._is_past_beginnings = not begins_stream
            self.n_packets_first = self.n_packets_first or _n_packets(page)
            self._links.take()
            self._rest = memoryview(page)
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return bytes(chunk)


def _begins_stream(page: bytes) -> bool:
    """Whether an undamaged page is the first one of a stream."""
    return (
        _HEADER < len(page) <= _LONGEST_BEGINNING
        and page[:4] == _CAPTURE
        and bool(page[5] & _BEGINS_STREAM)
        and int.from_bytes(page[22:26], "little") == _checksum(page[:22] + bytes(4) + page[26:])
    )


def _n_packets(page: bytes) -> int:
    """The packets that end in a page; 0 in one of headers, which has the time 0, and in one where none ends."""
    if len(page) < _HEADER or not page.startswith(_CAPTURE) or int.from_bytes(page[6:14], "little", signed=True) <= 0:
        return 0
    return sum(size < 255 for size in page[_HEADER : _HEADER + page[_HEADER - 1]])


def _checksum(data: bytes) -> int:
    """Ogg's CRC-32, which is not that of zlib: the highest bit comes first, and nothing is inverted."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (_POLYNOMIAL if value & 1 << 31 else 0)) & 0xFFFFFFFF
    return value
