"""Entries of the cache: made once of each content, whole or not at all, one process for all."""

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from max_whisper.errors import CheckpointError
from max_whisper.models.whisper.checkpoint import Checkpoint, load_checkpoint, write_native
from max_whisper.models.whisper.checkpoint.huggingface import huggingface_name
from max_whisper.models.whisper.compiled import packed_file
from max_whisper.models.whisper.graphs.packing import Packing
from max_whisper.progress import Step, silent
from max_whisper.runtime.cache_contents import ABOUT, contents
from max_whisper.runtime.cache_entries import EntryRecipe, cached
from max_whisper.runtime.file_digests import SeenFile
from max_whisper.runtime.packed_weights import PackedArray, PackedFile, packed_weights
from tests.models.whisper.checkpoint.sizes import huggingface_sizes

PACKING = Packing.of("int8", is_float16=True, has_amx=False)


@pytest.fixture(autouse=True)
def cache(cache_folder: Path) -> Path:
    return cache_folder


@pytest.fixture(scope="session")
def nano() -> Checkpoint:
    return load_checkpoint("nano")


@pytest.fixture
def model(tmp_path: Path, nano: Checkpoint) -> Path:
    """A model's file, beside others in its folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text("A model.")
    return Path(shutil.copy(nano.path, folder / "model.safetensors"))


def pack(model: Path) -> int:
    """Load a model's weights as int8; how many packed files there are then."""
    packed_weights(packed_file(load_checkpoint(model), PACKING), silent)
    return len(packs())


def packs() -> list[Path]:
    """The packed files of the cache, in whatever way they are named."""
    folder = Path(os.environ["MAX_WHISPER_CACHE"]) / "packed"
    return [path for path in folder.rglob("*.bin") if path.is_file()]


def touched(model: Path) -> Path:
    os.utime(model, (0, 0))
    return model


def beside(model: Path) -> Path:
    (model.parent / "notes.txt").write_text("Nobody reads this.")
    return model


def linked(model: Path) -> Path:
    (model.parent / "other.safetensors").symlink_to(model)
    return model.parent / "other.safetensors"


def moved(model: Path) -> Path:
    return model.rename(model.with_name("renamed.safetensors"))


def copied(model: Path) -> Path:
    return shutil.copytree(model.parent, model.parents[1] / "copy") / model.name


def other_permissions(model: Path) -> Path:
    model.chmod(0o400)
    return model


@pytest.mark.parametrize("change", [touched, beside, linked, moved, copied, other_permissions])
def test_the_same_weights_are_packed_once(model: Path, change: Callable[[Path], Path]) -> None:
    assert pack(model) == 1
    before = packs()[0].stat().st_mtime_ns
    assert pack(change(model)) == 1
    assert packs()[0].stat().st_mtime_ns == before


@pytest.fixture
def folder(tmp_path: Path, nano: Checkpoint) -> Path:
    """The same model as a Hugging Face folder, with files in it that nobody reads."""
    folder = tmp_path / "folder"
    folder.mkdir()
    tensors = {f"model.{huggingface_name(name)}": nano.weights.stored(name) for name in nano.weights}
    save_file(tensors, folder / "model.safetensors")
    sizes = huggingface_sizes(nano.dims)
    config = {"model_type": "whisper", **sizes, "activation_function": "gelu", "scale_embedding": False}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("A model.")
    return folder


def readme_touched(folder: Path) -> Path:
    os.utime(folder / "README.md", (0, 0))
    return folder


def state_of_training_added(folder: Path) -> Path:
    (folder / "optimizer.pt").write_bytes(bytes(1000))
    return folder


def config_written_again(folder: Path) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "use_cache": False}, indent=2))
    return folder


def weights_touched(folder: Path) -> Path:
    touched(folder / "model.safetensors")
    return folder


def folder_renamed(folder: Path) -> Path:
    return folder.rename(folder.with_name("renamed"))


def in_the_cache_of_the_hub(folder: Path) -> Path:
    """There, files are links to others that are named by their content."""
    blob = (folder / "model.safetensors").rename(folder.parent / "blob")
    (folder / "model.safetensors").symlink_to(blob)
    return folder


FOLDER_CHANGES = [
    readme_touched,
    state_of_training_added,
    config_written_again,
    weights_touched,
    folder_renamed,
    in_the_cache_of_the_hub,
]


@pytest.mark.parametrize("change", FOLDER_CHANGES)
def test_a_folder_of_the_same_weights_is_packed_once(folder: Path, change: Callable[[Path], Path]) -> None:
    assert pack(folder) == 1
    before = packs()[0].stat().st_mtime_ns
    assert pack(change(folder)) == 1
    assert packs()[0].stat().st_mtime_ns == before


def test_other_weights_of_the_same_size_and_time_are_packed(model: Path, nano: Checkpoint) -> None:
    """Nothing that `ls` shows of the file is different; what was packed of the weights before is removed."""
    assert pack(model) == 1
    state, first = model.stat(), packs()
    weights = {name: nano.weights.stored(name) for name in nano.weights}
    weights["encoder.conv1.bias"] = weights["encoder.conv1.bias"] + np.float16(1)
    heads = None if nano.alignment_heads is None else nano.alignment_heads.tolist()
    write_native(model, weights, nano.dims, name="nano", alignment_heads=heads)
    os.utime(model, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert pack(model) == 1
    assert packs() != first


def replaced(model: Path) -> None:
    newer = Path(shutil.copy(model, model.with_name("newer")))
    newer.replace(model)


def overwritten(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-1] + b"?")


def removed(model: Path) -> None:
    model.unlink()


@pytest.mark.parametrize("before", ["never packed", "packed", "packed and cleared"])
@pytest.mark.parametrize("change", [replaced, overwritten, removed])
def test_a_checkpoint_that_changed_since_it_was_opened(
    model: Path, change: Callable[[Path], None], before: str
) -> None:
    """Weights of one content are never kept under the name of another, nor is a note about the file believed."""
    if before != "never packed":
        pack(model)
    if before == "packed and cleared":
        shutil.rmtree(packs()[0].parent)
    kept = [(path, path.stat().st_mtime_ns) for path in packs()]
    opened = load_checkpoint(model)
    change(model)
    fault = "cannot be read" if change is removed else "was changed while it was loaded; load it again"
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: {fault}"):
        packed_weights(packed_file(opened, PACKING), silent)
    assert [(path, path.stat().st_mtime_ns) for path in packs()] == kept


@pytest.mark.parametrize("change", [replaced, overwritten, removed])
def test_a_checkpoint_that_changes_while_it_is_packed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    source = tmp_path / "model.bin"
    source.write_bytes(bytes(1000))
    os.utime(source, (0, 0))

    def numbers(_: object) -> np.ndarray:
        change(source)
        return np.arange(10, dtype=np.uint8)

    file = replace(
        small_file(10, source), files=[SeenFile.see(source)], arrays={"numbers": PackedArray((10,), "uint8", numbers)}
    )
    with pytest.raises(CheckpointError, match=r"model\.bin: (was changed while it was loaded|cannot be read)"):
        packed_weights(file)
    assert packs() == []
    assert [item for item in contents() if item.kind == "packed"] == []


def small_file(size: int, source: Path) -> PackedFile:
    """Something to pack that is not a model."""

    def numbers(_: object) -> np.ndarray:
        return np.arange(size, dtype=np.uint8)

    arrays = {"numbers": PackedArray((size,), "uint8", numbers)}
    return PackedFile(
        "small", "a model", source, (), Path(__file__), {"size": size}, {}, lambda: None, arrays, "numbers"
    )


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    """The system refuses to write more than 100 kB into a file."""
    file = small_file(1_000_000, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CheckpointError) as raised:
            packed_weights(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot write" in str(raised.value)
    assert "MAX_WHISPER_CACHE" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [path.name for path in cache.rglob("*") if path.is_file() and not path.name.endswith(".lock")] == []
    assert packed_weights(file)["numbers"].sum() == np.arange(1_000_000, dtype=np.uint8).sum()


def entry(cache: Path, content: str = "one") -> EntryRecipe:
    return EntryRecipe(cache / "packed", "small", "weights.bin", {"source": "here"}, {"content": content})


def write(path: Path) -> bytes:
    path.write_bytes(b"content")
    return b"content"


def get(recipe: EntryRecipe, make: Callable[[Path], bytes] = write, steps: list[Step] | None = None) -> bytes:
    report = silent if steps is None else steps.append
    return cached(recipe, make, Path.read_bytes, report, "making it")


@pytest.mark.parametrize("about", [None, "", "[]", "{}", '{"size": "7"}', "\udcff"])
def test_what_is_not_described_is_made_again(cache: Path, about: str | None) -> None:
    recipe = entry(cache)
    get(recipe)
    path = recipe.folder / ABOUT
    path.unlink()
    if about is not None:
        path.write_bytes(os.fsencode(about))
    steps: list[Step] = []
    assert get(recipe, steps=steps) == b"content"
    assert steps == [Step("making it, once")]
    assert json.loads(path.read_text())["size"] == 7


def test_a_file_of_an_earlier_version_in_its_place(cache: Path) -> None:
    """What has the entry's name need not be a folder."""
    recipe = entry(cache)
    recipe.parent.mkdir(parents=True)
    recipe.folder.write_text("something else")
    assert get(recipe) == b"content"
    assert recipe.path.read_bytes() == b"content"


def test_leftovers_of_a_killed_process_are_removed_by_the_next(cache: Path) -> None:
    recipe = entry(cache)
    leftover = recipe.parent / f".{recipe.name}.123-abcdef.partial"
    leftover.mkdir(parents=True)
    (leftover / "weights.bin").write_bytes(bytes(1000))
    get(recipe)
    assert not leftover.exists()


def test_an_error_while_making_leaves_nothing(cache: Path) -> None:
    def fail(path: Path) -> bytes:
        path.write_bytes(b"half")
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        get(entry(cache), fail)
    assert [item for item in contents() if item.kind != "temporary" or item.path.suffix == ".partial"] == []


def test_several_threads_make_it_once(cache: Path) -> None:
    made: list[int] = []
    told: list[Step] = []

    def slowly(path: Path) -> bytes:
        made.append(1)
        time.sleep(0.3)
        return write(path)

    threads = [threading.Thread(target=get, args=(entry(cache), slowly, told)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert Step("waiting for another process, which is making it") in told


MAKING = """
import os, sys, time
from pathlib import Path
from max_whisper.progress import silent
from max_whisper.runtime.cache_entries import EntryRecipe, cached

def make(path):
    Path(sys.argv[2], str(os.getpid())).touch()
    time.sleep(0.5)
    path.write_bytes(b"content")
    return b"content"

recipe = EntryRecipe(Path(sys.argv[1]), "small", "weights.bin", {}, {})
assert cached(recipe, make, Path.read_bytes, silent, "making it") == b"content"
"""


def test_several_processes_make_it_once(cache: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    command = [sys.executable, "-c", MAKING, str(cache / "packed"), str(notes)]
    processes = [subprocess.Popen(command, env=dict(os.environ)) for _ in range(3)]  # not what max.nn has put there
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(list(notes.iterdir())) == 1


def test_a_process_that_was_killed_is_not_waited_for(cache: Path, tmp_path: Path) -> None:
    """Its lock goes with it, and what it has left half-written is removed."""
    notes = tmp_path / "notes"
    notes.mkdir()
    code = MAKING.replace("time.sleep(0.5)", "path.write_bytes(bytes(1000)); time.sleep(600)")
    process = subprocess.Popen([sys.executable, "-c", code, str(cache / "packed"), str(notes)], env=dict(os.environ))
    while not list(cache.glob("packed/.*/weights.bin")):
        time.sleep(0.05)
        assert process.poll() is None
    process.kill()
    process.wait()
    recipe = EntryRecipe(cache / "packed", "small", "weights.bin", {}, {})
    assert get(recipe) == b"content"
    assert [path.name for path in cache.rglob("*.partial")] == []


def test_an_entry_that_is_removed_stays_readable_where_it_is_in_use(tmp_path: Path, cache: Path) -> None:
    numbers = packed_weights(small_file(1_000_000, tmp_path))["numbers"]
    shutil.rmtree(cache)
    assert np.array_equal(numbers, np.arange(1_000_000, dtype=np.uint8))


def test_using_an_entry_is_noted(cache: Path) -> None:
    recipe = entry(cache)
    get(recipe)
    os.utime(recipe.folder / ABOUT, (0, 0))
    get(recipe, lambda _: pytest.fail("made again"))
    (item,) = [item for item in contents() if item.about]
    assert time.time() - item.last_used < 60
