"""The cache kept tidy: what is stale is removed, what is damaged found, and its size kept below a limit.

Stale is what is no longer asked for: entries whose origin has had another content since, files of earlier versions of
max-whisper or of an earlier recipe, and what a process that was killed has left half-written.
"""

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from max_whisper.checks import one_line
from max_whisper.errors import OptionError
from max_whisper.runtime.cache_contents import HUB, TEMPORARY, Item, contents, remove
from max_whisper.runtime.file_digests import hash_file, is_note_of_a_file

LIMIT_VARIABLE = "MAX_WHISPER_CACHE_LIMIT"
DEFAULT_LIMIT = 20_000_000_000  # bytes
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", re.IGNORECASE | re.ASCII)
_DAY = 86400.0
_HOUR = 3600.0

_used: set[Path] = set()  # folders of the entries that this process uses


def cache_limit() -> float:
    """The bytes that the cache may have: `$MAX_WHISPER_CACHE_LIMIT`, else 20 GB. Raises OptionError for no size."""
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return DEFAULT_LIMIT
    if text.lower() == "none":
        return float("inf")
    match = _SIZE.fullmatch(text)
    if match is None or match[2].lower() not in _UNITS:
        raise OptionError(
            f"MAX_WHISPER_CACHE_LIMIT: a size such as 20GB, 500MB or 10GiB, or none, got {one_line(repr(text), 100)}"
        )
    return float(match[1]) * _UNITS[match[2].lower()]


def keep_tidy(entry: Path, *, is_made: bool) -> None:
    """Called with the folder of an entry that this process uses from now on.

    is_made: whether it was made just now. The cache is looked through then, and once in a process.
    """
    is_first = not _used
    _used.add(entry)
    if is_made or is_first:
        remove_stale()
        keep_limit(cache_limit())


def remove_stale() -> list[Item]:
    """Remove what is stale; what was removed. A file that is mapped serves the processes that have it to their end."""
    items = contents()
    last_used: dict[str, float] = {}
    recipes: dict[str, tuple[int, ...]] = {}
    for item in items:
        if item.about:
            last_used[item.about.origin] = max(last_used.get(item.about.origin, 0), item.last_used)
        if item.recipe:
            recipes[item.recipe[0]] = max(recipes.get(item.recipe[0], ()), item.recipe[1])
    now = time.time()

    def is_stale(item: Item) -> bool:
        if item.kind == TEMPORARY:
            return not may_be_written(item)
        if item.is_of_old_format:  # the version that reads it may still be in use
            return now - item.last_used > _DAY
        if item.kind == "digests":
            return now - item.last_used > _DAY and not is_note_of_a_file(item.path)
        if item.recipe:
            return item.recipe[1] < recipes[item.recipe[0]]
        return item.about is not None and item.last_used < last_used[item.about.origin]

    return [item for item in items if is_stale(item) and remove(item.path)]


def may_be_written(item: Item) -> bool:
    """Whether a process may be at it just now: what is being written is young, and a lock may be held long."""
    if item.kind == TEMPORARY:
        return time.time() - item.last_used <= (_DAY if item.path.suffix == ".lock" else _HOUR)
    if item.kind in HUB:
        for unfinished in item.path.rglob("*.incomplete"):
            with suppress(OSError):  # finished just now
                if time.time() - unfinished.stat().st_mtime <= _HOUR:
                    return True
    return False


def keep_limit(limit: float) -> list[Item]:
    """Remove what was used longest ago, until the cache is within the limit; what was removed.

    Downloads count, and are not removed; nor is what this process uses.
    """
    items = [item for item in contents() if item.kind != TEMPORARY]
    size = sum(item.size for item in items)
    an_hour_ago = time.time() - _HOUR

    def is_removable(item: Item) -> bool:
        if item.is_download or item.kind == "digests":
            return False
        # Of other files than entries this process does not know whether another program reads them just now.
        return item.about is not None or item.last_used < an_hour_ago

    removed = []
    for item in sorted(items, key=lambda item: item.last_used):
        if size <= limit:
            break
        if item.path not in _used and is_removable(item) and remove(item.path):
            size -= item.size
            removed.append(item)
    return removed


def checkable_file(item: Item, downloads: Mapping[str, str]) -> tuple[Path, str] | None:
    """The file of an item and the SHA-256 that it must have; None where nothing is known of that.

    downloads: the SHA-256 of each download, by the name of its file.
    """
    if item.about:
        return item.path / item.about.file, item.about.sha256
    if item.is_download and item.path.name in downloads:
        return item.path, downloads[item.path.name]
    return None


def damage(file: Path, sha256: str) -> str | None:
    """What is wrong with a file that must have this SHA-256; None where it has it. Raises OSError as reading does."""
    return None if hash_file(file) == sha256 else "its content has changed since it was written"
