"""The cache kept tidy: what is stale is removed, and the least recently used beyond the limit."""

import os
import time
from pathlib import Path

import pytest

from max_whisper.errors import OptionError
from max_whisper.progress import silent
from max_whisper.runtime import cache_folder, cache_upkeep
from max_whisper.runtime.cache_contents import ABOUT, contents
from max_whisper.runtime.cache_entries import EntryRecipe, cached
from max_whisper.runtime.cache_folder import give_hub_a_folder
from max_whisper.runtime.cache_upkeep import cache_limit, keep_limit, remove_stale
from max_whisper.runtime.file_digests import SeenFile, sha256_of

HOUR, DAY = 3600, 86400


@pytest.fixture(autouse=True)
def cache(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, in a process that has used none."""
    monkeypatch.delenv("MAX_WHISPER_CACHE_LIMIT", raising=False)
    monkeypatch.setattr(cache_upkeep, "_used", set())
    return cache_folder


def make(cache: Path, content: str, *, source: str | None = None, size: int = 1000, kind: str = "packed") -> Path:
    """An entry of some content and size; its folder."""
    recipe = EntryRecipe(cache / kind, "small", "file", {"source": source or content}, {"content": content})
    cached(recipe, lambda path: path.write_bytes(bytes(size)), lambda path: path.stat().st_size, silent, "making it")
    return recipe.folder


def put(path: Path, size: int = 1000, age: float = 0) -> Path:
    """A file of some size, last used so many seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age,) * 2)
    return path


def aged(folder: Path, age: float) -> Path:
    os.utime(folder / ABOUT, (time.time() - age,) * 2)
    return folder


def end_process() -> None:
    """From here on it is as in another process."""
    cache_upkeep._used.clear()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 20e9),
        (" ", 20e9),
        ("20GB", 20e9),
        ("1.5 TB", 1.5e12),
        ("500mb", 5e8),
        ("10GiB", 10 * 2**30),
        ("2G", 2e9),
        ("12345", 12345),
        ("0", 0),
        ("none", float("inf")),
    ],
)
def test_the_limit(text: str, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WHISPER_CACHE_LIMIT", text)
    assert cache_limit() == expected


@pytest.mark.parametrize("text", ["much", "-1GB", "20 GB of it", "GB", "1e9", "20XB", "٣GB", "nan", "5i"])
def test_a_limit_that_is_no_size_is_told_before_anything_is_made(
    text: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_WHISPER_CACHE_LIMIT", text)
    with pytest.raises(OptionError) as raised:
        make(cache, "one")
    assert str(raised.value) == (f"MAX_WHISPER_CACHE_LIMIT: a size such as 20GB, 500MB or 10GiB, or none, got {text!r}")
    assert not cache.exists()


def test_what_was_used_longest_ago_goes_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WHISPER_CACHE_LIMIT", "12kB")  # with what is written beside the files, room for three
    first, second, third = (make(cache, str(number), size=3000) for number in range(3))
    aged(first, 5), aged(second, 30), aged(third, 20)
    end_process()
    fourth = make(cache, "four", size=3000)
    assert [path.exists() for path in (first, second, third, fourth)] == [True, False, True, True]


def test_using_an_entry_keeps_it(cache: Path) -> None:
    first, second = make(cache, "one"), make(cache, "two")
    aged(first, 2 * HOUR), aged(second, HOUR)
    end_process()
    make(cache, "one")
    end_process()
    assert [item.path for item in keep_limit(1500)] == [second]
    assert first.exists()


def test_what_this_process_uses_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_WHISPER_CACHE_LIMIT", "0")
    mine = [make(cache, "one"), make(cache, "two", kind="compiled")]
    assert all(folder.exists() for folder in mine)
    end_process()
    make(cache, "three")
    assert not any(folder.exists() for folder in mine)


def test_downloads_count_and_stay(cache: Path) -> None:
    download = put(cache / "checkpoints" / "tiny.pt", 5000, age=30 * DAY)
    old = aged(make(cache, "old"), HOUR)
    end_process()
    assert [item.path for item in keep_limit(5100)] == [old]
    assert keep_limit(100) == []
    assert download.exists()


def test_models_of_the_hub_count_and_stay(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub's library keeps them in this folder where there is no home."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setenv(name, "")  # as where it is not set, and put back after the test
    monkeypatch.setattr(cache_folder, "_given_to_hub", "")
    model = cache / "huggingface" / "hub" / "models--owner--name"
    blob = put(model / "blobs" / "0123", 5000, age=30 * DAY)
    (model / "snapshots").mkdir()
    (model / "snapshots" / "model.safetensors").symlink_to(blob)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    give_hub_a_folder()
    assert os.environ["HF_HOME"] == str(cache / "huggingface")
    old = aged(make(cache, "old"), HOUR)
    end_process()
    assert [(item.path, item.size) for item in contents() if item.is_download] == [(model, 5000)]
    assert [item.path for item in keep_limit(5100)] == [old]
    assert keep_limit(0) == []
    assert remove_stale() == []
    assert blob.exists()


def test_models_of_benchmarks_count_and_go(cache: Path) -> None:
    random = put(cache / "random" / "tiny-seed-0-recipe-1.pt", 5000, age=DAY)
    peer = put(cache / "peers" / "random-tiny-recipe-1.2" / "model.bin", 5000, age=2 * DAY)
    os.utime(peer.parent, (time.time() - 2 * DAY,) * 2)
    just_read = put(cache / "random" / "base-seed-0-recipe-1.pt", 5000, age=60)
    assert {item.path for item in keep_limit(0)} == {random, peer.parent}
    assert just_read.exists()


def test_what_others_put_there_is_neither_counted_nor_removed(cache: Path) -> None:
    """`MAX_WHISPER_CACHE` may be a folder that one has used for more."""
    foreign = [
        put(cache / "notes.txt", age=99 * DAY),
        put(cache / "packed" / "holiday.zip", age=99 * DAY),
        put(cache / "packed" / "luggage-0123456789abcdef" / "socks", age=99 * DAY),
        put(cache / "checkpoints" / "epoch-7" / "model.pt", age=99 * DAY),
        put(cache / "random" / "numbers.pt", age=99 * DAY),
        put(cache / "examples" / "index.html", age=99 * DAY),
        put(cache / "huggingface" / "token", age=99 * DAY),
        put(cache / "huggingface" / "hub" / "model.safetensors", age=99 * DAY),
    ]
    assert contents() == []
    assert remove_stale() == []
    assert keep_limit(0) == []
    assert all(path.exists() for path in foreign)


def test_an_entry_replaces_that_of_the_earlier_content(cache: Path) -> None:
    """Weights that were trained on, kernels of another version: nobody asks for the earlier ones any more."""
    first = make(cache, "content 1", source="model.pt")
    other = make(cache, "content 1 of another", source="other.pt")
    second = make(cache, "content 2", source="model.pt")
    assert [path.exists() for path in (first, other, second)] == [False, True, True]


def test_what_another_installation_made_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("max_whisper.runtime.cache_entries.PACKAGE", Path("/another"))
        theirs = make(cache, "content 1", source="model.pt")
    mine = make(cache, "content 2", source="model.pt")
    assert theirs.exists()
    assert mine.exists()


def test_files_of_earlier_versions_go_when_nobody_has_used_them_for_a_day(cache: Path) -> None:
    names = [
        "packed/nano-int8-f4f0726106f46253.bin",
        "packed/my model-float16-05cba1399f246fe3.bin",
        "compiled/384x2x2-float16-cpu-3326498873f92260.mef",
        "checkpoints/tiny.pt.verified",
    ]
    old = [put(cache / name, age=2 * DAY) for name in names]
    young = put(cache / "compiled/384x2x2-float16-cpu-65695ce7650f79af.mef", age=HOUR)
    assert {item.path for item in remove_stale()} == set(old)
    assert young.exists()


def test_models_of_earlier_recipes_go(cache: Path) -> None:
    names = ["tiny-seed-0-recipe-9.pt", "tiny-2-layers-seed-0-recipe-9.pt", "tiny-seed-0-recipe-10.pt"]
    first, other, last = (put(cache / "random" / name) for name in names)
    peers = [put(cache / "peers" / f"random-tiny-recipe-{recipe}" / "model.bin") for recipe in ("1.9", "1.10")]
    remove_stale()
    assert [path.exists() for path in (first, other, last, *peers)] == [False, True, True, False, True]


def test_what_was_left_half_written_goes(cache: Path) -> None:
    names = ["checkpoints/.12-abcdef.partial", "packed/.small-0123456789abcdef.12-abcdef.partial/weights.bin"]
    left = [put(cache / name, age=2 * HOUR) for name in names]
    os.utime(left[1].parent, (time.time() - 2 * HOUR,) * 2)
    written = put(cache / "checkpoints/.13-abcdef.partial", age=60)
    lock, in_use = (put(cache / f"packed/.{name}.lock", 0, age=age) for name, age in (("a", 2 * DAY), ("b", HOUR)))
    remove_stale()
    assert [path.exists() for path in (*left, written, lock, in_use)] == [False, False, True, False, True]


def test_notes_of_files_that_are_gone_go(cache: Path, tmp_path: Path) -> None:
    kept, gone = (put(tmp_path / name) for name in ("kept", "gone"))
    for file in (kept, gone):
        sha256_of(SeenFile.see(file))
    gone.unlink()
    assert remove_stale() == []
    for note in (cache / "digests").iterdir():
        os.utime(note, (time.time() - 2 * DAY,) * 2)
    assert len(remove_stale()) == 1
    assert len(contents()) == 1


def test_stale_files_go_by_themselves_with_the_first_entry_that_a_process_uses(cache: Path) -> None:
    make(cache, "one")
    end_process()
    stale = put(cache / "packed/nano-int8-f4f0726106f46253.bin", age=2 * DAY)
    make(cache, "one")
    assert not stale.exists()
