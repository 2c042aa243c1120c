"""Where the cache lies: with a home, without one, and where nothing can be written."""

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from max_whisper.errors import CheckpointError
from max_whisper.runtime import cache_folder
from max_whisper.runtime.cache_folder import (
    MAX_VARIABLE,
    cache_dir,
    fallback_notice,
    give_hub_a_folder,
    give_max_a_folder,
)

HUB_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
NOBODY = 65533  # a user whom no system knows


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MAX_WHISPER_CACHE", "XDG_CACHE_HOME", MAX_VARIABLE, *HUB_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cache_folder, "_is_told", False)


@pytest.fixture
def unknown_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither HOME nor the list of users says where the home is: `docker run --user 1234`, `env -u HOME`."""

    def refuse(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", refuse)


def as_nobody(work: Callable[[], str]) -> str:
    """What a function gives to a user without rights; an error as its text."""
    if os.getuid():
        return _text_of(work)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.write(writing, _text_of(work).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as file:
        return file.read()


def _text_of(work: Callable[[], str]) -> str:
    try:
        return work()
    except Exception as error:  # a test of errors
        return f"{type(error).__name__}: {error}"


def test_with_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "max-whisper"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "max-whisper"
    monkeypatch.setenv("MAX_WHISPER_CACHE", "~/mine")
    assert cache_dir() == tmp_path / "home" / "mine"
    assert fallback_notice() is None
    monkeypatch.delenv("MAX_WHISPER_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_dir() == tmp_path / "home" / "Library" / "Caches" / "max-whisper"


@pytest.mark.usefixtures("unknown_user")
def test_an_unknown_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cache_dir()
    assert folder == tmp_path / f"max-whisper-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    notice = f"there is no home folder that can be written to: the cache is {folder}; MAX_WHISPER_CACHE names another"
    assert fallback_notice() == notice
    assert fallback_notice() is None  # it is told once
    monkeypatch.setenv("MAX_WHISPER_CACHE", "~/mine")
    with pytest.raises(CheckpointError, match="MAX_WHISPER_CACHE: '~/mine' is in no home folder that is known"):
        cache_dir()
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    assert fallback_notice() is None


@pytest.mark.parametrize("home", ["/dev/null", "/proc/version/home", "FILE", "FILE/home"])
def test_a_home_that_cannot_be(home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As users of services have it."""
    (tmp_path / "FILE").touch()
    monkeypatch.setenv("HOME", home.replace("FILE", str(tmp_path / "FILE")))
    assert cache_dir() == tmp_path / f"max-whisper-{os.getuid()}"


@pytest.mark.parametrize("home", ["", "home", "home/not/there"])
def test_a_home_that_may_not_be_written_to(home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "closed" / "home").mkdir(parents=True)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    temporary.chmod(0o1777)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o755)
    for folder in (tmp_path / "closed" / "home", tmp_path / "closed"):
        folder.chmod(0o555)
    monkeypatch.setenv("HOME", str(tmp_path / "closed" / home))
    monkeypatch.setenv("TMPDIR", str(temporary))
    user = os.getuid() or NOBODY
    assert as_nobody(lambda: str(cache_dir())) == str(temporary / f"max-whisper-{user}")
    for folder in (tmp_path / "closed", tmp_path / "closed" / "home"):
        folder.chmod(0o755)


def test_a_cache_that_can_only_be_read_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that came with an image: what is in it need not be made."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o755)
    cache = tmp_path / ".cache" / "max-whisper"
    cache.mkdir(parents=True)
    cache.chmod(0o555)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert as_nobody(lambda: str(cache_dir())) == str(cache)
    cache.chmod(0o755)


@pytest.mark.usefixtures("unknown_user")
@pytest.mark.parametrize("made", ["others may write", "a link", "a file"])
def test_a_temporary_folder_that_may_be_anothers_is_not_taken(
    made: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Compiled code is loaded from it."""
    folder = tmp_path / f"max-whisper-{os.getuid()}"
    if made == "others may write":
        folder.mkdir()
        folder.chmod(0o777)
    elif made == "a link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.touch()
    taken = Path("/tmp") / folder.name
    was_there = taken.exists()
    assert cache_dir() == taken
    if not was_there:
        taken.rmdir()


@pytest.mark.usefixtures("unknown_user")
def test_no_folder_at_all_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CheckpointError, match="name a folder in MAX_WHISPER_CACHE"):
        cache_dir()


def test_max_gets_a_folder_where_it_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    give_max_a_folder()
    assert MAX_VARIABLE not in os.environ
    monkeypatch.delenv("HOME")
    monkeypatch.setenv(MAX_VARIABLE, "/chosen")
    give_max_a_folder()
    assert os.environ[MAX_VARIABLE] == "/chosen"
    for home in (None, "/dev/null"):
        monkeypatch.delenv(MAX_VARIABLE)
        if home:
            monkeypatch.setenv("HOME", home)
        monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path / "mine"))
        give_max_a_folder()
        assert os.environ[MAX_VARIABLE] == str(tmp_path / "mine" / "modular")


@pytest.mark.parametrize("name", HUB_VARIABLES)
def test_the_hub_keeps_the_folder_that_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setenv(name, "/chosen")
    give_hub_a_folder()
    assert {name: os.environ.get(name) for name in HUB_VARIABLES if name in os.environ} == {name: "/chosen"}


def test_the_hub_keeps_the_folder_of_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    give_hub_a_folder()
    assert not any(name in os.environ for name in HUB_VARIABLES)


@pytest.mark.usefixtures("unknown_user")
def test_the_hub_gets_a_folder_where_there_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    give_hub_a_folder()
    given = os.environ.pop("HF_HOME")
    assert given == str(cache_dir() / "huggingface")
    # What the library itself would take.
    code = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    environment = {**os.environ, "HF_HOME": given}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{given}/hub"
