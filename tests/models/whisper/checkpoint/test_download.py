"""Official models: fetched once from a server of the test's own, and every way in which that fails."""

import errno
import hashlib
import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from whisper.model import Whisper

from max_whisper.errors import CheckpointError
from max_whisper.models.whisper.checkpoint import Checkpoint, load_checkpoint
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS, OfficialModel
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.progress import Step
from max_whisper.runtime import file_digests


class Server(ThreadingHTTPServer):
    """Serves one body at any path, whole or not, and counts who asks."""

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.body = body
        self.announced: int | None = len(body)  # Content-Length
        self.status = 200
        self.together = threading.Barrier(1)  # how many requests wait for each other
        self.paths: list[str] = []


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.together.wait(timeout=20)
        self.send_response(self.server.status)
        if self.server.announced is not None:
            self.send_header("Content-Length", str(self.server.announced))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def body(dims: ModelDimensions, build_reference: Callable[[ModelDimensions], Whisper]) -> bytes:
    """A file as OpenAI publishes them, in float16."""
    model = build_reference(dims).half()
    file = io.BytesIO()
    torch.save({"dims": dict(model.dims.__dict__), "model_state_dict": model.state_dict()}, file)
    return file.getvalue()


@pytest.fixture
def server(body: bytes, dims: ModelDimensions, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Publishes a small model under the names large-v3-turbo and turbo."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(body) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        digest = hashlib.sha256(body).hexdigest()
        url = f"http://127.0.0.1:{server.server_port}/models"
        model = OfficialModel("large-v3-turbo", digest, dims, ((0, 1),), url)
        monkeypatch.setitem(OFFICIAL_MODELS, "large-v3-turbo", model)
        monkeypatch.setitem(OFFICIAL_MODELS, "turbo", model)
        yield server
        server.shutdown()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose bytes are read to hash them."""
    paths: list[Path] = []

    def note(path: Path) -> str:
        paths.append(path)
        return hash_file(path)

    hash_file = file_digests.hash_file
    monkeypatch.setattr(file_digests, "hash_file", note)
    return paths


def note_of(cache: Path) -> Path:
    """The one note of a digest in the cache."""
    (note,) = (cache / "digests").iterdir()
    return note


def files(cache: Path) -> list[str]:
    """Every file below the cache folder, hidden ones too; but locks, which stay."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_a_model_is_downloaded_once(server: Server, body: bytes, cache: Path) -> None:
    steps: list[Step] = []
    first = load_checkpoint("turbo", steps.append)
    digest = hashlib.sha256(body).hexdigest()
    assert server.paths == [f"/models/{digest}/large-v3-turbo.pt"]
    assert steps[0] == Step("downloading large-v3-turbo.pt", 0, len(body), "B")
    assert steps[-1] == Step("downloading large-v3-turbo.pt", len(body), len(body), "B")
    assert files(cache) == sorted(["large-v3-turbo.pt", note_of(cache).name])
    assert (cache / "checkpoints" / "large-v3-turbo.pt").read_bytes() == body

    state_dict = torch.load(io.BytesIO(body), weights_only=True)["model_state_dict"]
    for name, array in first.weights.items():
        assert np.array_equal(array, state_dict[name].float().numpy()), name
    assert first.alignment_heads is not None
    assert first.alignment_heads.dtype == np.int64
    assert first.alignment_heads.tolist() == [[0, 1]]

    count = len(steps)
    second = load_checkpoint("turbo", steps.append)
    alias = load_checkpoint("large-v3-turbo", steps.append)
    assert len(server.paths) == 1
    assert len(steps) == count
    assert (first.name, second.name, alias.name) == ("turbo", "turbo", "large-v3-turbo")
    assert first.path == second.path == alias.path


def test_a_file_is_hashed_once(
    server: Server, body: bytes, cache: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after a download, whose bytes are hashed as they come; and once where someone put the file there."""
    published = cache / "checkpoints" / "large-v3-turbo.pt"
    for _ in range(2):
        load_checkpoint("turbo")
    assert hashed == []
    note_of(cache).unlink()
    steps: list[Step] = []
    for _ in range(2):
        load_checkpoint("turbo", steps.append)
    assert hashed == [published]
    assert [step.message for step in steps] == ["checking large-v3-turbo.pt, once"]
    os.utime(published, ns=(0, 0))
    for _ in range(2):
        load_checkpoint("turbo")
    assert hashed == [published] * 2
    assert len(server.paths) == 1


@pytest.mark.parametrize("note", ["", "0" * 64, b"\xff\x00", None])
def test_a_note_of_another_file_is_not_believed(
    server: Server, body: bytes, cache: Path, hashed: list[Path], note: str | bytes | None
) -> None:
    load_checkpoint("turbo")
    path = note_of(cache)
    written = path.read_text()
    wrong = written.replace(f'"size": {len(body)}', '"size": 7') if note is None else note
    path.write_bytes(wrong if isinstance(wrong, bytes) else wrong.encode())
    load_checkpoint("turbo")
    assert len(hashed) == 1
    assert path.read_text() == written


def test_a_folder_that_cannot_be_written_to(
    server: Server, body: bytes, cache: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is already there is used, and hashed at each start."""
    (cache / "checkpoints").mkdir(parents=True)
    (cache / "checkpoints" / "large-v3-turbo.pt").write_bytes(body)

    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "write_text", refuse)
    for _ in range(2):
        load_checkpoint("turbo")
    assert len(hashed) == 2
    assert files(cache) == ["large-v3-turbo.pt"]
    assert server.paths == []


def test_a_file_that_was_put_in_the_cache_is_not_downloaded(server: Server, body: bytes, cache: Path) -> None:
    (cache / "checkpoints").mkdir(parents=True)
    (cache / "checkpoints" / "large-v3-turbo.pt").write_bytes(body)
    load_checkpoint("turbo")
    assert server.paths == []


def test_a_damaged_file_in_the_cache_is_downloaded_again(server: Server, body: bytes, cache: Path) -> None:
    (cache / "checkpoints").mkdir(parents=True)
    published = cache / "checkpoints" / "large-v3-turbo.pt"
    published.write_bytes(body[:-1])
    load_checkpoint("turbo")
    assert published.read_bytes() == body
    assert len(server.paths) == 1


def test_a_file_that_is_damaged_later_is_downloaded_again(server: Server, body: bytes, cache: Path) -> None:
    load_checkpoint("turbo")
    published = cache / "checkpoints" / "large-v3-turbo.pt"
    changed = published.stat().st_mtime_ns
    os.truncate(published, len(body) - 1)
    os.utime(published, ns=(changed, changed))
    load_checkpoint("turbo")
    assert published.read_bytes() == body
    assert len(server.paths) == 2


def test_a_server_that_does_not_tell_the_length(server: Server, body: bytes) -> None:
    server.announced = None
    steps: list[Step] = []
    load_checkpoint("turbo", steps.append)
    assert steps[0].total is None


WAITING = "waiting for another process, which is downloading large-v3-turbo.pt"


@pytest.mark.parametrize("damaged", [False, True])
def test_several_at_once_download_it_once(server: Server, body: bytes, cache: Path, damaged: bool) -> None:
    """The first answer comes when the other thread waits for it, or asks as well."""
    if damaged:
        (cache / "checkpoints").mkdir(parents=True)
        (cache / "checkpoints" / "large-v3-turbo.pt").write_bytes(body[:-1])
    server.together = threading.Barrier(2)
    steps: list[str] = []
    loaded: list[Checkpoint] = []

    def hear(step: Step, /) -> None:
        steps.append(step.message)
        if step.message == WAITING:
            server.together.wait(timeout=20)

    threads = [threading.Thread(target=lambda: loaded.append(load_checkpoint("turbo", hear))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(server.paths) == 1
    assert steps.count(WAITING) == 1
    assert len(loaded) == 2
    assert loaded[0].files == loaded[1].files  # neither was replaced
    assert np.array_equal(loaded[0].weights["decoder.ln.bias"], loaded[1].weights["decoder.ln.bias"])
    assert len(files(cache)) == 2


def test_a_damaged_file_that_another_process_replaces_while_it_is_checked(
    server: Server, body: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = cache / "checkpoints" / "large-v3-turbo.pt"
    published.parent.mkdir(parents=True)
    published.write_bytes(body[:-1])
    hash_file = file_digests.hash_file

    def replace(path: Path) -> str:
        digest = hash_file(path)
        if path.stat().st_size < len(body):
            path.with_name("whole").write_bytes(body)
            path.with_name("whole").replace(path)
        return digest

    monkeypatch.setattr(file_digests, "hash_file", replace)
    load_checkpoint("turbo")
    assert server.paths == []


def test_a_wrong_hash(server: Server, body: bytes, cache: Path) -> None:
    server.body = body[:-1] + b"?"
    assert_one_line(r"wrong SHA-256 \([0-9a-f]{64}, should be [0-9a-f]{64}\); nothing of it was kept; ", cache)


def test_a_body_that_is_cut_short(server: Server, body: bytes, cache: Path) -> None:
    server.body = body[:1000]
    assert_one_line(r"the download stopped", cache)
    server.announced = None
    assert_one_line(r"wrong SHA-256", cache)


def test_a_refusal(server: Server, cache: Path) -> None:
    server.status = 404
    assert_one_line(r"the server answers 404 Not Found; ", cache)
    server.status = 503
    assert_one_line(r"the server answers 503 Service Unavailable; ", cache)


def test_no_connection(server: Server, dims: ModelDimensions, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setitem(OFFICIAL_MODELS, "turbo", OfficialModel("turbo", "0" * 64, dims, (), url))
        assert_one_line(r"cannot be reached \(.*refused\); ", cache)
    assert server.paths == []


def test_a_name_that_does_not_resolve(dims: ModelDimensions, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    for variable in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    model = OfficialModel("turbo", "0" * 64, dims, (), "http://models.invalid")
    monkeypatch.setitem(OFFICIAL_MODELS, "turbo", model)
    assert_one_line(r"cannot be reached \(.*Name or service not known\); ", cache)


def test_an_interruption_leaves_nothing(server: Server, cache: Path) -> None:
    def interrupt(step: Step, /) -> None:
        if step.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_checkpoint("turbo", interrupt)
    assert files(cache) == []


def test_a_full_disk(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, _: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", lambda self, mode: Full(self, mode))
    with pytest.raises(CheckpointError, match=r"^cannot write .*large-v3-turbo\.pt \(No space left on device\); "):
        load_checkpoint("turbo")
    assert files(cache) == []


def assert_one_line(fault: str, cache: Path) -> None:
    """Loading turbo fails with one line that names the address and the fault, and leaves nothing in the cache."""
    with pytest.raises(
        CheckpointError, match=rf"^http://[^ ]*/[0-9a-f]{{64}}/[\w-]*turbo\.pt: {fault}[^\n]*$"
    ) as caught:
        load_checkpoint("turbo")
    assert str(caught.value).endswith("fetch that file on another machine and give its path as the model")
    assert files(cache) == []
