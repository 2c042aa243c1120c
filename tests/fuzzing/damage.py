"""Files that are cut, flipped, and put together wrongly: bytes -> bytes, drawn from a generator."""

from collections.abc import Callable

import numpy as np

Damage = Callable[[np.random.Generator, bytearray], str]
_HEADER = 512  # bytes at a file's beginning, where the most depends on each


def damaged(rng: np.random.Generator, content: bytes) -> tuple[bytes, list[str]]:
    """A file after one to four damages, and their names."""
    changed = bytearray(content)
    done = []
    for _ in range(rng.integers(1, 5)):
        if changed:
            done.append(DAMAGES[rng.integers(len(DAMAGES))](rng, changed))
    return bytes(changed), done


def _cut_end(rng: np.random.Generator, content: bytearray) -> str:
    length = int(rng.integers(len(content)))
    del content[length:]
    return f"cut after {length} bytes"


def _cut_start(rng: np.random.Generator, content: bytearray) -> str:
    length = _length(rng, content)
    del content[:length]
    return f"without its first {length} bytes"


def _flip_bits(rng: np.random.Generator, content: bytearray) -> str:
    end = min(len(content), _HEADER) if rng.random() < 0.5 else len(content)
    places = rng.integers(0, end, int(2 ** rng.integers(0, 8)))
    for place in places:
        content[place] ^= 1 << rng.integers(8)
    return f"{len(places)} bits flipped in the first {end} bytes"


def _extreme_number(rng: np.random.Generator, content: bytearray) -> str:
    """A size or a time becomes the least, the greatest or minus one."""
    values = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\0\x80")
    place = int(rng.integers(min(len(content), _HEADER)))
    value = values[rng.integers(len(values))]
    content[place : place + 4] = value
    return f"{value.hex()} at {place}"


def _overwrite(rng: np.random.Generator, content: bytearray) -> str:
    start, length = _range(rng, content)
    content[start : start + length] = rng.bytes(length) if rng.random() < 0.5 else bytes(length)
    return f"{length} bytes overwritten at {start}"


def _delete(rng: np.random.Generator, content: bytearray) -> str:
    start, length = _range(rng, content)
    del content[start : start + length]
    return f"{length} bytes lost at {start}"


def _repeat(rng: np.random.Generator, content: bytearray) -> str:
    start, length = _range(rng, content)
    content[start:start] = content[start : start + length]
    return f"{length} bytes twice at {start}"


def _insert(rng: np.random.Generator, content: bytearray) -> str:
    start, length = int(rng.integers(len(content) + 1)), int(rng.integers(1, 3000))
    content[start:start] = rng.bytes(length)
    return f"{length} foreign bytes at {start}"


def _swap(rng: np.random.Generator, content: bytearray) -> str:
    """Two parts in the other order, as of packets that overtook each other."""
    start, length = _range(rng, content)
    half = length // 2
    part = content[start : start + length]
    content[start : start + length] = part[half:] + part[:half]
    return f"two halves of {length} bytes swapped at {start}"


def _twice(rng: np.random.Generator, content: bytearray) -> str:
    content.extend(bytes(content))
    return "the file twice"


def _length(rng: np.random.Generator, content: bytearray) -> int:
    """A length that is short as often as it is long."""
    return int(min(len(content), 2 ** rng.uniform(0, np.log2(len(content) + 1))))


def _range(rng: np.random.Generator, content: bytearray) -> tuple[int, int]:
    length = _length(rng, content)
    return int(rng.integers(len(content) - length + 1)), length


DAMAGES: tuple[Damage, ...] = (
    _cut_end,
    _cut_start,
    _flip_bits,
    _extreme_number,
    _overwrite,
    _delete,
    _repeat,
    _insert,
    _swap,
    _twice,
)
