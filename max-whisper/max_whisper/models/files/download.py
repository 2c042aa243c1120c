"""A published file, fetched once, checked while it comes, in place only when it is whole.

A file of gigabytes takes seconds to hash, so it is hashed once. A note beside it, `NAME.verified`, has the SHA-256 that
was found and the size and time of last change of the file that it was found in.
"""

import contextlib
import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError, DownloadError
from max_whisper.progress import Progress, Step
from max_whisper.runtime.files import replacing_in_cache

_CHUNK = 1 << 20  # bytes read at a time
_TIMEOUT = 30.0  # seconds without a byte
_ADVICE = "try again, or fetch that file on another machine and give its path as the model"


def fetch_once(url: str, sha256: str, target: Path, progress: Progress) -> None:
    """Make `target` the file at `url` whose content has this SHA-256: it is downloaded unless it is that already.

    Raises CheckpointError as `download` does.
    """
    if target.is_file():
        state, note = _state(target, sha256), _note_of(target)
        if note.is_file() and note.read_bytes() == state.encode():
            return
        progress(Step(f"checking {target.name}, once"))
        if _has_sha256(target, sha256):
            _write_note(target, state)
            return
    download(url, sha256, target, progress)
    _write_note(target, _state(target, sha256))


def _write_note(target: Path, state: str) -> None:
    """Keep what was found out. In a folder that cannot be written to, it is found out again at each start."""
    with contextlib.suppress(CheckpointError), replacing_in_cache(_note_of(target)) as unfinished:
        unfinished.write_text(state)


def download(url: str, sha256: str, target: Path, progress: Progress) -> None:
    """Fetch `url` to `target`, with progress in bytes.

    Raises CheckpointError, and leaves nothing behind, where there is no network, the server refuses, the body is cut
    short, its SHA-256 is not `sha256` or the disk is full.
    """
    with replacing_in_cache(target) as partial:
        digest = hashlib.sha256()
        done = 0
        with _open(url) as response, partial.open("wb") as file:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
            progress(Step(f"downloading {target.name}", done, total, "B"))
            while chunk := _read(response, url):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                progress(Step(f"downloading {target.name}", done, total, "B"))
        if total is not None and done < total:
            raise DownloadError(f"{url}: the download stopped after {done} of {total} bytes; {_ADVICE}")
        if digest.hexdigest() != sha256:
            raise CheckpointError(
                f"{url}: wrong SHA-256 ({digest.hexdigest()}, should be {sha256}); nothing of it was kept; {_ADVICE}"
            )


def _open(url: str) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(url, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            raise DownloadError(f"{url}: the server answers {error.code} {error.reason}; {_ADVICE}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DownloadError(f"{url}: cannot be reached ({one_line(reason)}); {_ADVICE}") from None
    return response


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{url}: the download stopped ({one_line(error)}); {_ADVICE}") from None


def _has_sha256(path: Path, sha256: str) -> bool:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == sha256


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _state(path: Path, sha256: str) -> str:
    """What a note says of `path` as it is now."""
    stat = path.stat()
    return f"{sha256} {stat.st_size} bytes, changed {stat.st_mtime_ns}\n"
