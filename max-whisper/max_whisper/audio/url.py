"""Recordings at an address, `http://` or `https://`, read by Python's own client.

FFmpeg could connect too. But not every build of it checks certificates, a server could send it on to other protocols,
and each pass over a recording would fetch it again.
"""

from __future__ import annotations

import base64
import re
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

from max_whisper.checks import one_line
from max_whisper.errors import AudioError
from max_whisper.version import __version__

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.request import OpenerDirector

_SCHEMES = ("http://", "https://")
_PATIENCE = 30.0  # seconds for which a server may be silent
_BEGINNING = 1 << 12  # bytes in which a web page or a playlist shows itself
_AS_IT_IS = "%/:=&?~+!$,;'@()*[]"  # characters of an address that are not to be quoted, or are already


def is_url(name: str) -> bool:
    """Whether a name is an address. All others are paths: a colon is a letter like another."""
    return name.lower().startswith(_SCHEMES)


def no_such_file(name: str) -> str:
    """What is said of a path at which there is nothing."""
    is_address = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", name)
    return f"no such file: '{name}'; {'an address begins with http:// or https://' if is_address else 'check the path'}"


def url_file_name(url: str) -> str:
    """The last part of an address's path, or its host: `talk.mp3` of `https://example.org/talk.mp3?id=3`."""
    parts = re.split("[?#]", shown_url(url), maxsplit=1)[0].split("/")
    names = (unquote(part).rpartition("/")[2].replace("\0", "") for part in (*parts[:2:-1], parts[2]))
    return next((name for name in names if name not in ("", ".", "..")), "recording")


def shown_url(url: str) -> str:
    """An address without the password that may be in it; any other name as it is."""
    if not is_url(url):
        return url
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def opened_url(url: str) -> IO[bytes]:
    """What the server sends, to be read forward. A user and a password are given as in `https://user:password@host/`.

    Raises AudioError where it cannot be had, or is a web page or a playlist. Reading raises OSError, with what was
    promised and what came, where the connection ends before the recording does.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request

    name = f"'{shown_url(url)}'"
    try:
        parts = urlsplit(url)
        request = Request(_ascii(parts), headers={"User-Agent": f"max-whisper/{__version__}"})
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            # Of the servers to which this one may redirect, none is told the password.
            request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(secret.encode()).decode()}")
    except ValueError as error:
        raise AudioError(f"{name} is no valid address ({error}); check it") from error
    try:
        response = _Response(_opener().open(request, timeout=_PATIENCE))
        try:
            response.check_is_recording(name)
        except BaseException:
            response.close()
            raise
    except HTTPError as error:
        error.close()
        remedy = (
            "give https://user:password@host/..., or download it first"
            if error.code in (401, 403)
            else "check the address"
        )
        reason = f"{error.code} {one_line(error.reason)}".strip()
        raise AudioError(f"{name}: the server answers {reason}; {remedy}") from error
    except (OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        reason = one_line(getattr(cause, "strerror", None) or cause or type(cause).__name__)
        raise AudioError(f"{name} cannot be fetched ({reason}); check the address and the network") from error
    return cast("IO[bytes]", response)


class _Response:
    """The body of an answer. Bytes come as soon as they are there, so a live source is decoded as it goes on."""

    def __init__(self, response: HTTPResponse) -> None:
        self.name = url_file_name(response.url)  # FFmpeg looks at its ending
        self._response = response
        length = response.headers.get("Content-Length", "")
        self._length = int(length) if length.isdecimal() else None
        self._n_read = 0
        self._beginning = b""

    def check_is_recording(self, name: str) -> None:
        """Raises AudioError for what is often at an address in place of a recording."""
        while len(self._beginning) < _BEGINNING and (chunk := self._read_on(_BEGINNING)):
            self._beginning += chunk
        beginning = self._beginning.lstrip().lower()
        kind = self._response.headers.get_content_type()
        if beginning.startswith((b"<!doctype html", b"<html")) or (kind == "text/html" and beginning.startswith(b"<")):
            raise AudioError(f"{name} is a web page; give the address of the recording itself, or download it first")
        if beginning.startswith((b"#extm3u", b"<mpd", b"<?xml")):
            raise AudioError(f"{name} is a playlist; save what it plays first: ffmpeg -i ADDRESS -vn -c copy talk.mka")

    def read(self, size: int) -> bytes:
        chunk, self._beginning = self._beginning[:size], self._beginning[size:]
        return chunk or self._read_on(size)

    def close(self) -> None:
        self._response.close()

    def _read_on(self, size: int) -> bytes:
        from http.client import HTTPException

        try:
            chunk = self._response.read1(size)
        except HTTPException as error:
            raise OSError(f"the connection ended after {self._n_read} bytes") from error
        self._n_read += len(chunk)
        if not chunk and self._length is not None and self._n_read < self._length:
            raise OSError(f"the connection ended after {self._n_read} of {self._length} bytes")
        return chunk


def _ascii(parts: SplitResult) -> str:
    """The address as HTTP takes it: the user left out, other letters than ASCII's encoded. Raises ValueError."""
    if not parts.hostname:
        raise ValueError("no host")
    host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port is None else f":{parts.port}"
    query = f"?{quote(parts.query, _AS_IT_IS)}" if parts.query else ""
    return f"{parts.scheme}://{host}{port}{quote(parts.path, _AS_IT_IS) or '/'}{query}"


def _opener() -> OpenerDirector:
    """A client for HTTP and HTTPS alone, wherever a server redirects to, by the proxies that the system names."""
    from urllib import request

    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.UnknownHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPRedirectHandler,
        request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
