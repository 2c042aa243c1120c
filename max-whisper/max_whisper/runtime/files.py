"""Files that are either whole or not there, and work that one process does for all."""

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError

PARTIAL = ".partial"  # ends the name of what is not yet whole
_PATIENCE = 600.0  # seconds for which another process is waited for: it may have been stopped
_INTERVAL = 0.2  # seconds between two looks


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to, in `target`'s folder, that becomes `target` when the block ends well and else vanishes.

    The path is one that no other process has, so that two may write the same target: the last one stays. Raises
    OSError where the folder cannot be written to or the disk is full.
    """
    partial = target.with_name(f".{os.getpid()}-{secrets.token_hex(8)}{PARTIAL}")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_in_cache(target: Path) -> Iterator[Path]:
    """`replacing` for a file of the cache, whose folder is made where it is missing.

    Raises CheckpointError where the cache cannot be written to or the disk is full.
    """
    with writing_in_cache(target), replacing(target) as partial:
        yield partial


@contextmanager
def writing_in_cache(target: Path) -> Iterator[None]:
    """Around the writing of a file of the cache, whose folder is made. Raises CheckpointError in place of OSError."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise CheckpointError(
            f"cannot write {target} ({one_line(error.strerror or error)});"
            " free some space there or name another folder in MAX_WHISPER_CACHE"
        ) from None


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """A lock among processes and threads, for work that would else be done twice.

    path: the lock's file, which stays. waiting: called once where another one has it. Nothing wrong happens without the
    lock, only the work twice; so a file system without locks, and a process that was stopped while it had the lock, do
    not keep anybody from working.
    """
    with path.open("ab") as file:
        start = time.monotonic()
        is_told = False
        while time.monotonic() - start < _PATIENCE:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.utime(file.fileno())  # old ones are removed
                break
            except BlockingIOError:
                if not is_told:
                    waiting()
                is_told = True
                time.sleep(_INTERVAL)
            except OSError:  # a file system without locks
                break
        yield
