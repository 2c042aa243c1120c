"""The command `max-whisper cache`."""

import hashlib
from pathlib import Path

import pytest

from max_whisper.cli import program
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS, OfficialModel
from max_whisper.progress import silent
from max_whisper.runtime.cache_entries import EntryRecipe, cached

CONTENT = bytes(range(250)) * 10


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a download, two entries and a random model."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(folder))
    monkeypatch.delenv("MAX_WHISPER_CACHE_LIMIT", raising=False)
    for kind, label, model in (("packed", "384x4x4-int8", "tiny.en"), ("compiled", "384x4x4-int8-cpu", "")):
        recipe = EntryRecipe(folder / kind, label, "file", {"source": label}, {"content": label}, model)
        cached(recipe, lambda path: path.write_bytes(CONTENT), Path.read_bytes, silent, "making it")
    for name in ("checkpoints/tiny.en.pt", "random/tiny-seed-0-recipe-1.pt"):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(CONTENT)
    official = OFFICIAL_MODELS["tiny.en"]
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setitem(OFFICIAL_MODELS, "tiny.en", OfficialModel("tiny.en", digest, official.dims, ()))
    return folder


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
    """But not what others have put there."""
    (cache / "checkpoints" / "my-training.pt").write_bytes(CONTENT)
    (cache / "packed" / "my-luggage.zip").write_bytes(CONTENT)
    run(capsys, "--clear", "--all")
    left = {path.name for path in cache.rglob("*") if path.is_file()}
    assert left == {"my-training.pt", "my-luggage.zip"}


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


@pytest.mark.parametrize("arguments", [["--all"], ["--clear", "--verify"], ["--verify", "--all"], ["--clean"]])
def test_wrong_options(cache: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    before = files(cache)
    assert run(capsys, *arguments)[0] == 2
    assert files(cache) == before
