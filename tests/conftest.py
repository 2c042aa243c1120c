"""Every test runs without a network: this machine's own addresses are all that can be reached."""

import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.allowed_skips import LIST, SkipsAreFailures, read_allowed_skips

# Read as the hub's library is imported, here and in the processes that tests start.
os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("MAX_WHISPER_CI"):
        allowed = read_allowed_skips(LIST.read_text(encoding="utf-8"))
        config.pluginmanager.register(SkipsAreFailures(allowed, LIST.parent))


@pytest.fixture(scope="session", autouse=True)
def only_this_machine() -> Iterator[None]:
    """Refuse every connection of this process that would leave the machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _refusing(getattr(socket.socket, name)))
        yield


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """pip's package index, for tests that install into environments of their own; without it they are skipped."""
    folder = str(tmp_path_factory.mktemp("index"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "0", "--dest", folder]
    if subprocess.run([*command, "mdurl"], capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no package index")


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own; it need not exist."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(folder))
    return folder


def _refusing(connect: Any) -> Any:
    def connect_here(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise AssertionError(f"a test reached for the network: {address[0]}")
        return connect(self, address)

    return connect_here


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
