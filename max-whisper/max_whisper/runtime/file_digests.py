"""What files hold, told by the SHA-256 of their content.

A file of gigabytes takes seconds to hash, so it is hashed once. A note in the cache has the digest, and the state of
the file that it was found in. A file that is touched, moved or copied is hashed once more, and what was made of its
content is found again.
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError
from max_whisper.progress import Progress, Step, silent
from max_whisper.runtime.cache_folder import cache_dir
from max_whisper.runtime.files import replacing_in_cache

_CHUNK = 1 << 20  # bytes read at a time


class ChangedFileError(CheckpointError):
    """A file that is no longer the one that was seen."""


@dataclass(frozen=True)
class FileState:
    """What changes when a file's content does.

    The size and the time of last change would not do: models of one shape have one size, and archives made to be the
    same at each build give all their files one time. The time of last change of status (`changed`) cannot be set.
    """

    size: int  # bytes
    modified: int  # nanoseconds
    changed: int  # nanoseconds
    inode: int

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """The state of a file as it is now. Raises OSError where it is not there."""
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@dataclass(frozen=True)
class SeenFile:
    """A file, and the state that it was in before it was read."""

    path: Path
    state: FileState

    @classmethod
    def see(cls, path: Path) -> "SeenFile":
        """A file that is about to be read. Raises CheckpointError where it is not there."""
        try:
            return cls(path, FileState.of(path))
        except OSError as error:
            raise _unreadable(path, error) from None

    def check_unchanged(self) -> FileState:
        """The state that it is in now. Raises ChangedFileError where another content may have come since it was seen.

        A link to the file, or other permissions, change its status and not its content.
        """
        try:
            now = FileState.of(self.path)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        if (now.size, now.modified, now.inode) != (self.state.size, self.state.modified, self.state.inode):
            raise ChangedFileError(f"{self.path}: was changed while it was loaded; load it again")
        return now


def sha256_of(file: SeenFile, progress: Progress = silent) -> str:
    """The SHA-256 of a file's content, from its note where the file is in the same state.

    In a cache that cannot be written to, it is found out again at each start. Raises CheckpointError where the file
    cannot be read, and ChangedFileError where it is no longer the one that was seen.
    """
    # The note tells of the file that was seen; what is read of the path from now on must be that one.
    file = SeenFile(file.path, file.check_unchanged())
    known = _noted(file)
    if known is not None:
        return known
    progress(Step(f"checking {file.path.name}, once"))
    try:
        digest = hash_file(file.path)
    except OSError as error:
        raise _unreadable(file.path, error) from None
    remember_sha256(SeenFile(file.path, file.check_unchanged()), digest)
    return digest


def remember_sha256(file: SeenFile, digest: str) -> None:
    """Note the SHA-256 of a file in the state in which it was seen."""
    note = {"path": str(file.path.absolute()), "state": asdict(file.state), "sha256": digest}
    with suppress(CheckpointError), replacing_in_cache(_note_of(file.path)) as unfinished:
        unfinished.write_text(json.dumps(note))


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's content, read to its end. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def is_note_of_a_file(note: Path) -> bool:
    """Whether the file that a note speaks of is still there."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return Path(json.loads(note.read_bytes())["path"]).exists()
    return False


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{path}: cannot be read ({one_line(error.strerror or error)})")


def _note_of(path: Path) -> Path:
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
    return cache_dir() / "digests" / f"{name}.json"


def _noted(file: SeenFile) -> str | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        note = json.loads(_note_of(file.path).read_bytes())
        if note["path"] == str(file.path.absolute()) and note["state"] == asdict(file.state):
            return str(note["sha256"])
    return None
