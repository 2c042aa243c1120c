"""The command `cache`: what max-whisper keeps on this machine, whether it is whole, and its removal."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from max_whisper.checks import one_line
from max_whisper.cli.arguments import WrongOptionError
from max_whisper.cli.console import file_size

if TYPE_CHECKING:
    from max_whisper.runtime.cache_contents import Item

DAMAGED = 1  # the exit status where something damaged was found

# What each folder of the cache holds, for a person.
_KINDS = {
    "checkpoints": "downloaded model",
    "compiled": "compiled graphs",
    "packed": "packed weights",
    "random": "random model",
    "peers": "benchmark model",
    "examples": "example's model",
    "digests": "digests of files",
    "modular": "cache of MAX",
    "huggingface/hub": "downloaded model",
    "huggingface": "cache of the Hub",
    "temporary": "unfinished or lock",
}
_SMALL = ("digests", "temporary")  # shown as one line each


def cache(verify: bool, clear: bool, all: bool, **_: Any) -> int:
    """`max-whisper cache`: prints what is kept; returns the exit status."""
    from max_whisper.backends.factory import known_models
    from max_whisper.runtime.cache_contents import contents

    if all and not clear:
        raise WrongOptionError("--all: it is for --clear; add that")
    downloads = {model.file.name: model.sha256 for model in known_models() if model.file and model.sha256}
    if clear:
        return _clear(contents(), downloads, with_downloads=all)
    if verify:
        return _verify(contents(), downloads)
    _show(contents())
    return 0


def _show(items: Sequence[Item]) -> None:
    from max_whisper.runtime.cache_folder import cache_dir
    from max_whisper.runtime.cache_upkeep import cache_limit

    limit = cache_limit()
    rows = [(_KINDS[item.kind], item.label, item.size, _day(item.last_used)) for item in items if _has_line(item)]
    for kind in _SMALL:
        few = [item for item in items if item.kind == kind]
        if few:
            last = _day(max(item.last_used for item in few))
            rows.append((_KINDS[kind], f"{len(few)} of them", sum(item.size for item in few), last))
    print(f"cache folder: {cache_dir()} (MAX_WHISPER_CACHE moves it)")
    width = max([len("name"), *(len(row[1]) for row in rows)])
    if rows:
        print(f"\n{'kind':<20}{'name':<{width}}{'size':>10}  last used")
    for kind, name, size, used in rows:
        print(f"{kind:<20}{name:<{width}}{file_size(size):>10}  {used}")
    total = sum(item.size for item in items)
    allowed = "no limit" if math.isinf(limit) else f"the limit is {file_size(limit)}"
    print(f"\ntotal: {file_size(total)}; {allowed} (MAX_WHISPER_CACHE_LIMIT sets it)")
    fixed = sum(item.size for item in items if item.is_download)
    if fixed > limit:
        print(f"downloaded models alone are {file_size(fixed)}: max-whisper cache --clear --all removes them")


def _verify(items: Sequence[Item], downloads: Mapping[str, str]) -> int:
    from max_whisper.runtime.cache_contents import remove
    from max_whisper.runtime.cache_upkeep import checkable_file, damage

    status, whole, size = 0, 0, 0
    for item in items:
        if (known := checkable_file(item, downloads)) is None:
            continue
        try:
            fault = damage(*known)
        except FileNotFoundError:
            if not item.path.exists():  # removed by another process just now
                continue
            fault = "its file is missing"
        except OSError as error:  # of this user, or of the disk: the file may be whole
            status = DAMAGED
            print(f"cannot be read: {item.path}: {one_line(error.strerror or error)}", flush=True)
            continue
        if fault is None:
            whole += 1
            size += item.size
            continue
        status = DAMAGED
        is_gone = remove(item.path)
        print(f"damaged: {item.path}: {fault}; {'removed' if is_gone else 'it could not be removed'}", flush=True)
    print(f"whole: {_number(whole)}, {file_size(size)}")
    if unknown := sum(_has_line(item) and checkable_file(item, downloads) is None for item in items):
        print(f"not checked: {_number(unknown)}, of which no digest is known")
    return status


def _clear(items: Sequence[Item], downloads: Mapping[str, str], with_downloads: bool) -> int:
    """downloads: the names of the official models' files. with_downloads: whether these and the Hub's are removed."""
    from max_whisper.runtime.cache_contents import HUB, remove
    from max_whisper.runtime.cache_upkeep import may_be_written

    status, freed, kept, unfinished = 0, 0, 0, 0
    for item in items:
        is_removable = with_downloads and (item.kind in HUB or item.path.name in downloads)
        if item.is_download and not is_removable:
            kept += item.size
        elif may_be_written(item):
            unfinished += item.size
        elif remove(item.path):
            freed += item.size
        else:
            print(f"could not be removed: {item.path}", flush=True)
            status = 1
    print(f"freed: {file_size(freed)}")
    if kept:
        print(
            f"kept: {file_size(kept)} of downloaded models; max-whisper cache --clear --all removes the official ones"
            " and the Hub's"
        )
    if unfinished:
        print(f"kept: {file_size(unfinished)} that another process may be writing; an hour later it can be removed")
    return status


def _has_line(item: Item) -> bool:
    return item.kind not in _SMALL


def _number(count: int) -> str:
    return f"{count} item{'' if count == 1 else 's'}"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
