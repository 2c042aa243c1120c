"""A published file, fetched once, checked while it comes, in place only when it is whole."""

import hashlib
import http.client
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError, DownloadError
from max_whisper.progress import Progress, Step
from max_whisper.runtime.file_digests import ChangedFileError, SeenFile, remember_sha256, sha256_of
from max_whisper.runtime.files import locked, replacing_in_cache, writing_in_cache

_CHUNK = 1 << 20  # bytes read at a time
_TIMEOUT = 30.0  # seconds without a byte
_ADVICE = "try again, or fetch that file on another machine and give its path as the model"


def fetch_once(url: str, sha256: str, target: Path, progress: Progress) -> None:
    """Make `target` the file at `url` whose content has this SHA-256: it is downloaded unless it is that already.

    Of several processes or threads that need the same one downloads it and the others wait, so that none replaces a
    file that another one is loading. Raises CheckpointError as `download` does.
    """

    def is_there() -> bool:
        return target.is_file() and sha256_of(SeenFile.see(target), progress) == sha256

    with suppress(ChangedFileError):  # another process replaces a damaged one just now
        if is_there():
            return
    waiting = Step(f"waiting for another process, which is downloading {target.name}")
    with (
        writing_in_cache(target),
        locked(target.with_name(f".{target.name}.lock"), lambda: progress(waiting)),
    ):
        if not is_there():  # another process may have downloaded it meanwhile
            download(url, sha256, target, progress)
            remember_sha256(SeenFile.see(target), sha256)


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
