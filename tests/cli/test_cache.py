"""The command `max-whisper cache`."""

import errno
import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest

from max_whisper.cli import program
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS, OfficialModel
from max_whisper.progress import silent
from max_whisper.runtime import cache_upkeep
from max_whisper.runtime.cache_entries import EntryRecipe, cached

HUB_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
CONTENT = bytes(range(250)) * 10


@pytest.fixture(autouse=True)
def cache(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a download, two entries and a random model."""
    monkeypatch.delenv("MAX_WHISPER_CACHE_LIMIT", raising=False)
    for name in HUB_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for kind, label, model in (("packed", "384x4x4-int8", "tiny.en"), ("compiled", "384x4x4-int8-cpu", "")):
        recipe = EntryRecipe(cache_folder / kind, label, "file", {"source": label}, {"content": label}, model)
        cached(recipe, lambda path: path.write_bytes(CONTENT), Path.read_bytes, silent, "making it")
    for name in ("checkpoints/tiny.en.pt", "random/tiny-seed-0-recipe-1.pt"):
        (cache_folder / name).parent.mkdir()
        (cache_folder / name).write_bytes(CONTENT)
    official = OFFICIAL_MODELS["tiny.en"]
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setitem(OFFICIAL_MODELS, "tiny.en", OfficialModel("tiny.en", digest, official.dims, ()))
    return cache_folder


def files(cache: Path) -> set[str]:
    """What is in the cache, without locks and descriptions."""
    return {
        path.relative_to(cache).parts[0]
        for path in cache.rglob("*")
        if path.is_file() and path.suffix not in (".lock", ".json")
    }


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], str]:
    status = program.run(["cache", *arguments])
    printed = capsys.readouterr()
    return status, printed.out.splitlines(), printed.err


def test_it_shows_what_is_there(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, errors = run(capsys)
    assert (status, errors) == (0, "")
    assert lines[0] == f"cache folder: {cache} (MAX_WHISPER_CACHE moves it)"
    (download,) = [line for line in lines if line.startswith("downloaded model")]
    assert download.split()[2:5] == ["tiny.en.pt", "2", "kB"]
    (packed,) = [line for line in lines if line.startswith("packed weights")]
    assert packed.split()[2:4] == ["tiny.en", "384x4x4-int8"]
    assert any(line.startswith("compiled graphs") and "384x4x4-int8-cpu" in line for line in lines)
    assert any(line.startswith("random model") for line in lines)
    assert lines[-1] == "total: 11 kB; the limit is 20.0 GB (MAX_WHISPER_CACHE_LIMIT sets it)"


def test_the_limit_that_is_set(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WHISPER_CACHE_LIMIT", "1kB")
    _, lines, _ = run(capsys)
    assert "the limit is 1 kB" in lines[-2]
    assert lines[-1] == "downloaded models alone are 2 kB: max-whisper cache --clear --all removes them"
    monkeypatch.setenv("MAX_WHISPER_CACHE_LIMIT", "lots")
    status, _, errors = run(capsys)
    assert status == 1
    assert errors.count("\n") == 1
    assert "MAX_WHISPER_CACHE_LIMIT: a size such as" in errors


def test_an_empty_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path / "nothing"))
    for arguments in ([], ["--verify"], ["--clear", "--all"]):
        status, lines, errors = run(capsys, *arguments)
        assert (status, errors) == (0, "")
        assert lines
    assert not (tmp_path / "nothing").exists()


def test_it_clears_what_can_be_made_again(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, _ = run(capsys, "--clear")
    assert status == 0
    assert lines[0] == "freed: 8 kB"
    assert lines[1].startswith("kept: 2 kB of downloaded models")
    assert files(cache) == {"checkpoints"}


def test_it_clears_all(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """But not what others have put there, nor a lock that may be held."""
    (cache / "checkpoints" / "my-training.pt").write_bytes(CONTENT)
    (cache / "packed" / "my-luggage.zip").write_bytes(CONTENT)
    run(capsys, "--clear", "--all")
    left = {path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"}
    assert left == {"my-training.pt", "my-luggage.zip"}


WRITTEN = [
    "checkpoints/.12-abcdef.partial",
    "digests/.12-abcdef.partial",
    "packed/.small-0123456789abcdef.12-abcdef.partial/file",
    "huggingface/hub/models--owner--name/blobs/0123.abcd.incomplete",
]


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("age", [60, 2 * 3600])
def test_what_another_process_writes_is_not_cleared(
    cache: Path, capsys: pytest.CaptureFixture[str], name: str, age: float
) -> None:
    """Until an hour after it was written to last, when that process is no longer there."""
    written = cache / name
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_bytes(CONTENT)
    for path in (written, written.parent):
        os.utime(path, (time.time() - age,) * 2)
    status, lines, _ = run(capsys, "--clear", "--all")
    assert status == 0
    assert written.exists() == (age == 60)
    assert any(line.startswith("kept: 2 kB that another process may be writing") for line in lines) == (age == 60)


@pytest.mark.parametrize("age", [60, 2 * 3600, 2 * 86400])
def test_a_lock_is_cleared_when_nobody_can_hold_it(cache: Path, capsys: pytest.CaptureFixture[str], age: float) -> None:
    lock = cache / "packed" / ".small-0123456789abcdef.lock"
    lock.touch()
    os.utime(lock, (time.time() - age,) * 2)
    run(capsys, "--clear")
    assert lock.exists() == (age < 86400)


@pytest.fixture
def hub_model(cache: Path) -> Path:
    """A model that the Hub's library has put where there was no home: a file, and a link to it."""
    folder = cache / "huggingface" / "hub" / "models--owner--small-model"
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / "0123").write_bytes(CONTENT)
    (folder / "snapshots" / "abcd").mkdir(parents=True)
    (folder / "snapshots" / "abcd" / "model.safetensors").symlink_to("../../blobs/0123")
    (cache / "huggingface" / "token").write_text("hf_secret")
    return folder


def test_models_of_the_hub_are_downloads(cache: Path, hub_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys)[1]
    (shown,) = [line for line in lines if "owner/small-model" in line]
    assert shown.startswith("downloaded model")
    assert shown.split()[3:5] == ["2", "kB"]
    assert run(capsys, "--verify")[1][1] == "not checked: 2 items, of which no digest is known"
    assert run(capsys, "--clear")[1][1].startswith("kept: 5 kB of downloaded models")
    assert hub_model.exists()
    assert run(capsys, "--clear", "--all")[:2] == (0, ["freed: 5 kB"])
    assert not hub_model.exists()
    assert (cache / "huggingface" / "token").exists()


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME", *HUB_VARIABLES])
def test_the_hubs_own_folder_is_not_ours(
    cache: Path, hub_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Where MAX_WHISPER_CACHE is the folder of all caches, or the user has named the folder to the Hub's library."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if variable == "HOME":
        (cache.parent / "home").mkdir()
        (cache.parent / "home" / ".cache").symlink_to(cache)
    places = {"XDG_CACHE_HOME": cache, "HOME": cache.parent / "home", "HF_HOME": cache / "huggingface"}
    monkeypatch.setenv(variable, str(places.get(variable, cache / "huggingface" / "hub")))
    assert not any("owner/small-model" in line for line in run(capsys)[1])
    run(capsys, "--clear", "--all")
    assert hub_model.exists()


def test_a_cache_that_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, _ = run(capsys, "--verify")
    assert status == 0
    assert lines[0].startswith("whole: 3 items, ")
    assert lines[1] == "not checked: 1 item, of which no digest is known"


@pytest.mark.parametrize("name", ["packed/*/file", "compiled/*/file", "checkpoints/tiny.en.pt"])
@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"\0", None])
def test_what_is_damaged_is_found_and_removed(
    cache: Path, capsys: pytest.CaptureFixture[str], name: str, damage: object
) -> None:
    (path,) = cache.glob(name)
    if callable(damage):
        path.write_bytes(damage(CONTENT))
    elif name.startswith("checkpoints"):
        path.write_bytes(b"")
    else:
        path.unlink()
    status, lines, _ = run(capsys, "--verify")
    assert status == 1
    assert lines[0].startswith("damaged: ")
    assert lines[0].endswith("; removed")
    assert lines[1].startswith("whole: 2 items")
    assert not path.exists()
    assert run(capsys, "--verify")[0] == 0


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE])
def test_what_cannot_be_read_is_told_and_stays(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Another user's file may be whole, and one on a disk of the network is when that is there again."""

    def refuse(_: Path) -> str:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(cache_upkeep, "hash_file", refuse)
    before = files(cache)
    status, lines, errors = run(capsys, "--verify")
    assert (status, errors) == (1, "")
    assert all(line.startswith("cannot be read: ") and line.endswith(os.strerror(error)) for line in lines[:3])
    assert lines[3] == "whole: 0 items, 0 B"
    assert files(cache) == before


def test_an_entry_that_another_process_removes_is_not_damaged(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_file = cache_upkeep.hash_file

    def remove_before(path: Path) -> str:
        if path.name == "file":
            shutil.rmtree(path.parent)
        else:
            path.unlink()
        return hash_file(path)

    monkeypatch.setattr(cache_upkeep, "hash_file", remove_before)
    status, lines, _ = run(capsys, "--verify")
    assert status == 0
    assert lines[0] == "whole: 0 items, 0 B"


@pytest.mark.parametrize("arguments", [["--all"], ["--clear", "--verify"], ["--verify", "--all"], ["--clean"]])
def test_wrong_options(cache: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    before = files(cache)
    assert run(capsys, *arguments)[0] == 2
    assert files(cache) == before
