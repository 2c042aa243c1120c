"""Files of the cache that are either whole or not there."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to, in `target`'s folder, that becomes `target` when the block ends well and else vanishes.

    The path is one that no other process has, so that two may write the same target: the last one stays.
    Raises CheckpointError where the folder cannot be written to or the disk is full.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {target} ({one_line(error.strerror or error)});"
            " free some space there or name another folder in MAX_WHISPER_CACHE"
        ) from None
