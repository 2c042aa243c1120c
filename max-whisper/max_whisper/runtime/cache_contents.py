"""What the cache holds: its entries, downloads and other files, each as one item.

Only names that max-whisper gives are counted. The cache may be a folder with files of others in it, which are not ours
to count or to remove.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from max_whisper.runtime.cache_folder import cache_dir, is_hub_ours

ABOUT = "about.json"  # in the folder of an entry
DOWNLOADS = "checkpoints"
TEMPORARY = "temporary"
HUB = ("huggingface/hub", "huggingface")

_NAMES = {
    "packed": r".+-[0-9a-f]{16}(\.bin)?",
    "compiled": r".+-[0-9a-f]{16}(\.mef)?",
    DOWNLOADS: r"[\w.-]+\.pt(\.verified)?",
    "random": r".+-recipe-[\d.]+\.pt",
    "peers": r".+-recipe-[\d.]+",
    "examples": r"mine\.pt",
    "digests": r"[0-9a-f]{64}\.json",
    "modular": r"\.\w+_cache",
    HUB[0]: r"models--.+",
    HUB[1]: r"xet",
}
"""The folders of the cache, and the names of the items in each. Items of packed and compiled are entries; those with an
ending are of max-whisper before 0.3, and so are notes called `.verified`."""
_FOLDERS = ("peers", "modular", *HUB)  # whose items are folders without a description
_TEMPORARY = re.compile(r"\..+\.(partial|lock)")
_RECIPE = re.compile(r"(.+)-recipe-([\d.]+?)(\.pt)?")


@dataclass(frozen=True)
class About:
    """What `about.json` says of an entry."""

    label: str  # its sizes and formats
    model: str  # that it was made for; empty where it serves all of its sizes
    file: str  # the name of its file
    size: int  # of the file, in bytes
    sha256: str  # of the file
    origin: str  # of entries of one origin only that which was used last is still of use


@dataclass(frozen=True)
class Item:
    """What is kept or removed as one."""

    kind: str  # one of the folders, or `temporary`
    path: Path
    size: int  # bytes
    last_used: float  # seconds since 1970
    about: About | None = None  # of an entry

    @property
    def is_download(self) -> bool:
        """Whether it came from a network, and is not made again without one."""
        return self.kind in HUB or (self.kind == DOWNLOADS and self.path.suffix == ".pt")

    @property
    def is_of_old_format(self) -> bool:
        """Whether only an earlier version of max-whisper reads it."""
        is_entry = self.kind in ("packed", "compiled")
        return (is_entry and self.about is None) or self.path.suffix == ".verified"

    @property
    def label(self) -> str:
        """Its name for a person."""
        if self.kind == HUB[0]:
            return self.path.name.removeprefix("models--").replace("--", "/")
        if self.about is None:
            return self.path.name
        return " ".join(part for part in (self.about.model, self.about.label) if part)

    @property
    def recipe(self) -> tuple[str, tuple[int, ...]] | None:
        """Of a file that is made by a recipe: its name without it, and the recipe's number."""
        match = _RECIPE.fullmatch(self.path.name) if self.kind in ("random", "peers") else None
        if match is None:
            return None
        return f"{self.kind}/{match[1]}", tuple(int(part) for part in match[2].split(".") if part)


def contents() -> list[Item]:
    """What the cache holds, in the order of its folders, then of names."""
    found = []
    for kind, names in _NAMES.items():
        if kind in HUB and not is_hub_ours():
            continue
        for path in _paths_in(cache_dir() / kind):
            with suppress(OSError):  # removed by another process just now
                if _TEMPORARY.fullmatch(path.name) and kind not in ("modular", *HUB):
                    found.append(_item(TEMPORARY, path))
                elif re.fullmatch(names, path.name):
                    item = _item(kind, path)
                    if item.about or not path.is_dir() or kind in _FOLDERS:
                        found.append(item)
    return found


def read_about(folder: Path) -> About | None:
    """What is said of the entry in a folder; None where it is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads((folder / ABOUT).read_bytes())
        about = About(*(said[name] for name in ("label", "model", "file", "size", "sha256", "origin")))
        if all(isinstance(text, str) for text in (about.label, about.model, about.file, about.sha256, about.origin)):
            return about
    return None


def remove(path: Path) -> bool:
    """Remove a file, or a folder with all in it; whether it is gone. What is mapped stays as long as it is in use."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return not path.exists()


def _paths_in(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _item(kind: str, path: Path) -> Item:
    about = read_about(path) if path.is_dir() else None
    size, newest = 0, path.stat().st_mtime
    for file in _files_of(path):
        with suppress(OSError):
            stat = file.stat()
            size += stat.st_size
            # Of an entry, the time of use is kept. Of others the system tells it, more or less exactly.
            newest = max(newest, stat.st_mtime if kind == TEMPORARY else max(stat.st_atime, stat.st_mtime))
    if about:
        newest = (path / ABOUT).stat().st_mtime
    return Item(kind, path, size, newest, about)


def _files_of(path: Path) -> Iterator[Path]:
    """The files of an item. A link in its folder is none: the Hub's library keeps a file once, with links to it."""
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    else:
        yield path
