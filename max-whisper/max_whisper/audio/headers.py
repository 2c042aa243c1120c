"""How long a recording is by the headers of WAV, RF64, Wave64, CAF and AVI.

FFmpeg knows it too, but where the file is shorter than its header says it gives the length of what is there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

Peek = Callable[[int, int], bytes]  # (position, size) -> the bytes of a file that are there

_MOST_CHUNKS = 1000
_FARTHEST = 1 << 62  # bytes; no file reaches so far
_PCM_TAGS = {1, 3, 6, 7, 0xFFFE}  # of the `fmt ` chunk: integers, floats, A-law, mu-law, and those with a longer header
_W64_REST = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # how the names of Wave64's chunks end


def declared_seconds(peek: Peek) -> float | None:
    """Seconds according to a file's header; None where it does not say, or is of another kind.

    A program that writes to a pipe cannot know: it gives 0, or about 2 or 4 GiB, the largest sizes that there are.
    """
    beginning = peek(0, 12)
    if beginning[:4] in (b"RIFF", b"RF64", b"BW64") and beginning[8:] == b"WAVE":
        return _wave_seconds(peek, _riff_chunks(peek))
    if beginning == b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb":
        return _wave_seconds(peek, _w64_chunks(peek))
    if beginning[:4] == b"RIFF" and beginning[8:] == b"AVI ":
        return _avi_seconds(peek)
    return _caf_seconds(peek) if beginning[:4] == b"caff" else None


def _riff_chunks(peek: Peek) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a WAV file: name, position and size of the content."""
    position = 12
    long_size = None
    while len(head := peek(position, 8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"ds64" and len(sizes := peek(position + 8, 16)) == 16:
            long_size = struct.unpack("<QQ", sizes)[1]
        if name == b"data" and size == 0xFFFFFFFF and long_size is not None:
            size = long_size
        yield name, position + 8, size
        position += 8 + size + size % 2


def _w64_chunks(peek: Peek) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a Wave64 file, whose sizes count their heads."""
    position = 40
    while position < _FARTHEST and len(head := peek(position, 24)) == 24:
        name, rest, size = struct.unpack("<4s12sQ", head)
        yield name if rest == _W64_REST else b"", position + 24, size - 24
        position += max(size + -size % 8, 24)


def _wave_seconds(peek: Peek, chunks: Iterator[tuple[bytes, int, int]]) -> float | None:
    bytes_per_second = 0
    for (name, position, size), _ in zip(chunks, range(_MOST_CHUNKS), strict=False):
        if name == b"fmt " and len(fields := peek(position, 16)) == 16:
            tag, _, rate, _, bytes_per_sample = struct.unpack("<HHIIH", fields[:14])
            bytes_per_second = rate * bytes_per_sample if tag in _PCM_TAGS else 0
        if name == b"data":
            return size / bytes_per_second if bytes_per_second and _is_size(size) else None
    return None


def _caf_seconds(peek: Peek) -> float | None:
    position = 8
    seconds_per_byte = 0.0
    for _ in range(_MOST_CHUNKS):
        if position > _FARTHEST or len(head := peek(position, 12)) < 12:
            break
        name, size = struct.unpack(">4sq", head)
        if name == b"desc" and len(fields := peek(position + 12, 24)) == 24:
            rate, _, _, packet_bytes, packet_samples = struct.unpack(">d4sIII", fields)
            if rate > 0 and packet_bytes:
                seconds_per_byte = packet_samples / rate / packet_bytes
        if name == b"data":  # its first four bytes are a number of edits
            return (size - 4) * seconds_per_byte if seconds_per_byte and _is_size(size - 4) else None
        position += 12 + max(size, 0)
    return None


def _avi_seconds(peek: Peek) -> float | None:
    """The length of the pictures."""
    head = peek(24, 28)
    if len(head) < 28 or head[:4] != b"avih":
        return None
    microseconds, _, _, _, n_pictures = struct.unpack("<5I", head[8:])
    return microseconds * n_pictures / 1e6 or None


def _is_size(size: int) -> bool:
    """Whether a size is no stand-in for an unknown one."""
    return 0 < size < _FARTHEST and not any(bound - (1 << 16) <= size <= bound for bound in (1 << 31, 1 << 32))
