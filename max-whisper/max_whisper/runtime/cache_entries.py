"""Entries of the cache: what is made once of other content, and kept.

An entry is a folder with one file and `about.json`, which says what the file was made of and what it must hash to. Its
name changes with all that it depends on, and so an entry is never out of date, only no longer asked for. It appears
whole or not at all. The time of last change of its `about.json` is when it was last used.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from max_whisper.progress import Progress, Step
from max_whisper.runtime.cache_contents import ABOUT, read_about, remove
from max_whisper.runtime.cache_folder import fallback_notice
from max_whisper.runtime.cache_upkeep import cache_limit, keep_tidy
from max_whisper.runtime.file_digests import hash_file
from max_whisper.runtime.files import PARTIAL, locked, writing_in_cache

PACKAGE = Path(__file__).parents[1]

T = TypeVar("T")


@dataclass(frozen=True)
class EntryRecipe:
    """An entry, and all that it depends on."""

    parent: Path  # the cache's folder for entries of this kind
    label: str  # begins the entry's name, and follows from its content: `384x4x4-bfloat16x2`
    file: str  # the name of its file: `weights.bin`
    origin: Mapping[str, object]  # what it is made of, by name, as JSON can hold it: paths, sizes, parameters
    content: Mapping[str, object]  # the same by content: digests, versions
    model: str = ""  # that it was made for, for a person
    is_checked: bool = False  # whether its digest is checked at each use, as that of a small file may be

    @property
    def name(self) -> str:
        """A readable name that changes with the content that the entry depends on."""
        digest = hashlib.sha256(json.dumps(dict(self.content), sort_keys=True).encode()).hexdigest()
        return f"{self.label}-{digest[:16]}"

    @property
    def folder(self) -> Path:
        """The entry's folder; it need not exist."""
        return self.parent / self.name

    @property
    def path(self) -> Path:
        """The entry's file; it need not exist."""
        return self.folder / self.file

    def description(self, path: Path) -> dict[str, Any]:
        """The content of `about.json` for the finished file at `path`."""
        # By the installation as well: what another one makes in its own version is not out of date for that.
        origin = json.dumps([str(PACKAGE), self.parent.name, dict(self.origin)], sort_keys=True)
        return {
            "label": self.label,
            "model": self.model,
            "file": self.file,
            "size": path.stat().st_size,
            "sha256": hash_file(path),
            "origin": hashlib.sha256(origin.encode()).hexdigest(),
            "made_of": dict(self.origin),
        }


def cached(
    recipe: EntryRecipe,
    make: Callable[[Path], T],
    read: Callable[[Path], T | None],
    progress: Progress,
    purpose: str,
    duration: str = "once",
) -> T:
    """What `read` gives of the entry's file; where there is none, or it is damaged, it is made.

    make: writes the file to a path and gives what `read` would give of it. read: gives None for a damaged file.
    purpose, duration: what making it does and how long it takes, for a person: `packing the weights as int8`, `once`.

    Of several processes that need the same one makes it and the others wait. What is stale and what goes beyond the
    limit is removed. Raises CheckpointError where the cache cannot be written to or the disk is full, and OptionError
    where MAX_WHISPER_CACHE_LIMIT is no size.
    """
    cache_limit()  # what is wrong with it is told before anything is made
    found = _read(recipe, read)
    is_made = found is None
    if found is None:
        with (
            writing_in_cache(recipe.folder),
            locked(_lock_of(recipe), lambda: progress(Step(f"waiting for another process, which is {purpose}"))),
        ):
            found = _read(recipe, read)  # another process may have made it meanwhile
            if found is None:
                if notice := fallback_notice():
                    progress(Step(notice))
                progress(Step(f"{purpose}, {duration}"))
                found = _make(recipe, make)
    keep_tidy(recipe.folder, is_made=is_made)
    return found


def _read(recipe: EntryRecipe, read: Callable[[Path], T | None]) -> T | None:
    """What `read` gives of an entry that is there and whole; it is then used."""
    try:
        about = read_about(recipe.folder)
        if about is None or recipe.path.stat().st_size != about.size:
            return None
        if recipe.is_checked and hash_file(recipe.path) != about.sha256:
            return None
        found = read(recipe.path)
    except OSError:  # another process removes it just now, or the disk is damaged
        return None
    if found is not None:
        with suppress(OSError):  # a cache that can only be read
            os.utime(recipe.folder / ABOUT)
    return found


def _make(recipe: EntryRecipe, make: Callable[[Path], T]) -> T:
    """Make an entry, whole or not at all. The caller has its lock. Raises OSError."""
    folder = recipe.folder
    for leftover in folder.parent.glob(f".{recipe.name}.*{PARTIAL}"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished = folder.with_name(f".{recipe.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    unfinished.mkdir()
    try:
        made = make(unfinished / recipe.file)
        # On the disk before it has its name: after a power cut the file would else have its size and be empty.
        with (unfinished / recipe.file).open("rb+") as file:
            os.fsync(file.fileno())
        description = recipe.description(unfinished / recipe.file)
        (unfinished / ABOUT).write_text(json.dumps(description, indent=1))
        _take_its_place(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return made


def _take_its_place(unfinished: Path, folder: Path) -> None:
    """Give a finished folder its name. What has it is damaged, or was made at the same time."""
    for _ in range(3):
        remove(folder)
        with suppress(OSError):  # there again
            unfinished.rename(folder)
            return
    unfinished.rename(folder)


def _lock_of(recipe: EntryRecipe) -> Path:
    return recipe.folder.with_name(f".{recipe.name}.lock")
