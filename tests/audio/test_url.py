"""Recordings at an address: read by Python's client, kept like a pipe, with errors of one line."""

import base64
import io
import socket
import ssl
import threading
import urllib.parse
import warnings
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from max_whisper.audio import AudioWarning, Samples, load_audio, open_recording
from max_whisper.audio.url import is_url, no_such_file, shown_url, url_file_name
from max_whisper.cli import program
from max_whisper.errors import AudioError
from tests.audio.containers import noise, write

SAMPLES = Path(__file__).resolve().parents[2] / "audio_samples"
NAMES = ["digits.flac", "directions.mp3", "greeting.ogg", "kitchen.wav", "reminder.m4a"]

# Of a server that answers to https://127.0.0.1, for this test alone.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgfrF7hdkMnDRZhnVP
lL5vy2NqOvkTMsJlolUuOV1xTqqhRANCAATErA6t9yiL/S1qWw+1uL9YQ239jXal
BRc7LKp3y8whko8vOux3P4SJ9/YQONgydiqqVMf8viu6MgSf/Ew09qVV
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUJUWLTBWL8Wn5sA7aTYzUKyqo2EkwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTIwMTEzMzEyMloYDzIxMjYxMTA3
MTMzMTIyWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATErA6t9yiL/S1qWw+1uL9YQ239jXalBRc7LKp3y8whko8vOux3P4SJ
9/YQONgydiqqVMf8viu6MgSf/Ew09qVVo28wbTAdBgNVHQ4EFgQUqZAiXTdDoHGV
s1Yg5fVA3RD4fOkwHwYDVR0jBBgwFoAUqZAiXTdDoHGVs1Yg5fVA3RD4fOkwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwCgYIKoZI
zj0EAwIDSQAwRgIhAPLykRv2QvBOm93koax/D5tuTmFw5SZt1xzdOa4JILAXAiEA
wzu50p3hVw3tpcO0E2h76GIsBBDQ6J11bkaGXgRy58w=
-----END CERTIFICATE-----
"""


class Server(ThreadingHTTPServer):
    """What is asked for, and how often."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.scheme = "http"

    def at(self, path: str, user: str = "") -> str:
        return f"{self.scheme}://{user}127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        first, _, rest = path.lstrip("/").partition("/")
        getattr(self, f"give_{first}".replace("-", "_"), self.give_nothing)(rest)

    def answer(self, content: bytes, *, length: int | None = None, kind: str = "application/octet-stream") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def give_nothing(self, _: str) -> None:
        self.send_error(404)

    def give_file(self, name: str) -> None:
        self.answer((SAMPLES / name).read_bytes())

    def give_half(self, name: str) -> None:
        content = (SAMPLES / name).read_bytes()
        self.answer(content[: len(content) // 2], length=len(content))

    def give_chunks(self, name: str, whole: bool = True) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        content = (SAMPLES / name).read_bytes()
        for start in range(0, len(content) if whole else len(content) // 2, 5000):
            chunk = content[start : start + 5000]
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        if whole:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def give_half_chunks(self, name: str) -> None:
        self.give_chunks(name, whole=False)

    def give_live(self, _: str) -> None:
        """Ogg without a length, which stops in its middle until the server is closed."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(half_of_a_program())
        self.wfile.flush()
        while not stopped.wait(0.02):
            pass

    def give_elsewhere(self, target: str) -> None:
        self.send_response(302)
        self.send_header(
            "Location", target.replace(":/", "://", 1) if "://" not in target and ":/" in target else target
        )
        self.end_headers()

    def give_round(self, _: str) -> None:
        self.give_elsewhere("/round/")

    def give_secret(self, name: str) -> None:
        expected = "Basic " + base64.b64encode("ž user:p@ss/word".encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.end_headers()
        else:
            self.give_file(name)

    def give_page(self, _: str) -> None:
        self.answer(b"\n<!DOCTYPE html><html><body>Listen here</body></html>", kind="text/html; charset=utf-8")

    def give_playlist(self, name: str) -> None:
        self.answer(f"#EXTM3U\n#EXTINF:3,\nfile://{SAMPLES / name}\n#EXT-X-ENDLIST\n".encode())

    def give_script(self, name: str) -> None:
        """A list of FFmpeg's, which names a file of this machine."""
        self.answer(f"ffconcat version 1.0\nfile '{SAMPLES / name}'\n".encode())

    def give_empty(self, _: str) -> None:
        self.answer(b"")


@cache
def half_of_a_program() -> bytes:
    target = io.BytesIO()
    write(target, noise(60, 48_000), "libopus", rate=48_000, format="ogg")
    return target.getvalue()[: len(target.getvalue()) // 2]


stopped = threading.Event()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield from served(running)


def served(running: Server) -> Iterator[Server]:
    stopped.clear()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    stopped.set()
    running.shutdown()
    running.server_close()
    thread.join()


def quietly(source: str) -> Samples:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_audio(source)


def message(source: str) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestRead:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("way", ["file", "chunks", "elsewhere//file"])
    def test_as_the_file(self, server: Server, name: str, way: str) -> None:
        assert np.array_equal(quietly(server.at(f"/{way}/{name}")), load_audio(SAMPLES / name))

    def test_once_for_all_passes(self, server: Server) -> None:
        recording = open_recording(server.at("/file/directions.mp3"))
        assert server.asked == []
        first, second = (np.concatenate(list(recording.blocks())) for _ in range(2))
        assert np.array_equal(first, second)
        assert server.asked == ["/file/directions.mp3"]
        assert recording.name == f"'{server.at('/file/directions.mp3')}'"

    def test_who_asks(self, server: Server) -> None:
        quietly(server.at("/file/digits.flac"))
        assert server.headers[0]["user-agent"].startswith("max-whisper/")

    @pytest.mark.parametrize("case", ["HTTP", "Http"])
    def test_scheme_in_capitals(self, server: Server, case: str) -> None:
        assert len(quietly(server.at("/file/digits.flac").replace("http", case, 1))) > 0

    def test_query_and_letters(self, server: Server) -> None:
        url = server.at("/file/digits.flac?title=tři čísla&b=%20#t=5")
        assert np.array_equal(quietly(url), load_audio(SAMPLES / "digits.flac"))
        assert server.asked == ["/file/digits.flac?title=t%C5%99i%20%C4%8D%C3%ADsla&b=%20"]

    def test_user_and_password(self, server: Server) -> None:
        url = server.at("/secret/digits.flac", "%C5%BE%20user:p%40ss%2Fword@")
        assert len(quietly(url)) > 0
        line = message(server.at("/secret/digits.flac", "me:hush@"))
        assert line == (
            f"'{server.at('/secret/digits.flac')}': the server answers 401 Unauthorized; "
            "give https://user:password@host/..., or download it first"
        )

    def test_password_is_not_told_to_others(self, server: Server) -> None:
        quietly(server.at("/elsewhere//file/digits.flac", "me:hush@"))
        assert [("authorization" in headers) for headers in server.headers] == [True, False]

    def test_decoding_begins_while_it_is_sent(self, server: Server) -> None:
        block = next(open_recording(server.at("/live/")).blocks())
        assert len(block) == 65_536

    def test_encrypted(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "certificate.pem"
        path.write_text(CERTIFICATE)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
        line = message(server.at("/file/digits.flac"))
        assert "cannot be fetched" in line
        assert "certificate" in line.lower()
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        assert np.array_equal(quietly(server.at("/file/digits.flac")), load_audio(SAMPLES / "digits.flac"))


class TestErrors:
    def test_absent(self, server: Server) -> None:
        url = server.at("/none.mp3")
        assert message(url) == f"'{url}': the server answers 404 Not Found; check the address"

    def test_nobody_listens(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/talk.mp3"
            assert message(url) == f"'{url}' cannot be fetched (Connection refused); check the address and the network"

    def test_silence(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("max_whisper.audio.url._PATIENCE", 1.0)
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            assert "cannot be fetched (timed out)" in message(f"http://127.0.0.1:{deaf.getsockname()[1]}/talk.mp3")
        half_of_a_program()
        with pytest.warns(AudioWarning, match=r"could not be read to its end \(timed out\); what came is used"):
            assert len(load_audio(server.at("/live/"))) > 20 * 16_000

    @pytest.mark.parametrize("way", ["half", "half_chunks"])
    def test_connection_that_ends(self, server: Server, way: str) -> None:
        with pytest.warns(AudioWarning, match=r"could not be read to its end \(the connection ended after \d+"):
            samples = load_audio(server.at(f"/{way}/kitchen.wav"))
        whole = load_audio(SAMPLES / "kitchen.wav")
        assert 0.4 * len(whole) < len(samples) < 0.6 * len(whole)
        length = len(samples) - 100  # the resampler hears silence after the end
        assert np.array_equal(samples[:length], whole[:length])

    def test_page(self, server: Server) -> None:
        url = server.at("/page/")
        assert message(url) == (
            f"'{url}' is a web page; give the address of the recording itself, or download it first"
        )

    def test_playlist(self, server: Server) -> None:
        url = server.at("/playlist/digits.flac")
        assert message(url) == (
            f"'{url}' is a playlist; save what it plays first: ffmpeg -i ADDRESS -vn -c copy talk.mka"
        )

    def test_files_of_this_machine(self, server: Server) -> None:
        assert "is not audio or video that FFmpeg can read" in message(server.at("/script/digits.flac"))
        line = message(server.at(f"/elsewhere/file://{SAMPLES}/digits.flac"))
        assert "the server answers 302 Found - Redirection to url 'file:" in line
        assert "cannot be fetched (unknown url type: ftp)" in message(server.at("/elsewhere/ftp://127.0.0.1/a.flac"))

    def test_round_and_round(self, server: Server) -> None:
        assert "the server answers 302" in message(server.at("/round/"))

    def test_empty(self, server: Server) -> None:
        assert "is empty (0 bytes); check the address" in message(server.at("/empty/"))

    @pytest.mark.parametrize(
        "url", ["http://", "http:///talk.mp3", "http://[::1/x", "http://a:port/x", "https://" + "a" * 70]
    )
    def test_no_address(self, url: str) -> None:
        line = message(url)
        assert line.startswith(f"'{url}' ")
        assert "address" in line

    def test_path_after_a_scheme(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only strings are addresses, and only of two schemes."""
        monkeypatch.chdir(tmp_path)
        for name in ("http:talk.wav", "https:", "12:30.wav", "rtmp:x.wav", "concat:a.wav|b.wav", "data:,x"):
            write(tmp_path / name, noise(1), format="wav")
            assert len(quietly(name)) == 16_000
        Path("http:").mkdir()
        write(tmp_path / "http:/talk.wav", noise(1))
        assert len(quietly("./http:/talk.wav")) == 16_000
        assert len(load_audio(Path("http://talk.wav"))) == 16_000
        for name in ("ftp://host/a.wav", "s3://bucket/a.wav", "file:///a.wav", "rtsp://host/a"):
            assert message(name).startswith("no such file: ")
            assert message(name).endswith("; an address begins with http:// or https://")


@pytest.mark.parametrize(
    ("url", "name", "shown"),
    [
        ("https://example.org/a/talk.mp3?id=3#t", "talk.mp3", "https://example.org/a/talk.mp3?id=3#t"),
        ("https://me:hush@example.org/a%20b.mp3", "a b.mp3", "https://example.org/a%20b.mp3"),
        ("https://example.org/a%2Fb.mp3", "b.mp3", "https://example.org/a%2Fb.mp3"),
        ("http://example.org/", "example.org", "http://example.org/"),
        ("http://example.org/listen/", "listen", "http://example.org/listen/"),
        ("http://", "recording", "http://"),
        ("http://[bad", "[bad", "http://[bad"),
    ],
)
def test_names(url: str, name: str, shown: str) -> None:
    assert is_url(url)
    assert url_file_name(url) == name
    assert shown_url(url) == shown
    assert shown_url("a:b@c.wav") == "a:b@c.wav"
    assert no_such_file("12:30.wav") == "no such file: '12:30.wav'; check the path"


def test_command_line(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [server.at("/file/digits.flac?id=5", "me:hush@"), server.at("/none.mp3", "me:hush@")]
    status = program.run(
        ["transcribe", "--model", "nano", "--output-format", "txt", "--output-dir", str(tmp_path), *files]
    )
    assert status == 1
    assert (tmp_path / "digits.txt").read_text().split()
    assert [path.name for path in tmp_path.iterdir()] == ["digits.txt"]
    error = capsys.readouterr().err
    assert f"'{server.at('/none.mp3')}': the server answers 404" in error
    assert "hush" not in error
