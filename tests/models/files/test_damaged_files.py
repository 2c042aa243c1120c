"""Tensors, storages and archives that lie about their size or place, truncated files, and files with changed bytes.

Each is refused with one line; none crashes the reader or makes it fill memory.
"""

import copy
import io
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from max_whisper.errors import CheckpointError
from max_whisper.models.files.tensors import StoredTensor
from max_whisper.models.files.torch_file import read_torch_file
from tests.models.files.torch_files import (
    DAMAGED,
    OBJECTS,
    PROTO,
    REDUCE_ONE,
    SIX,
    SYSTEM,
    TOUCH,
    assert_refused,
    in_legacy,
    in_zip,
    storage,
    tensor,
    value,
    write_legacy,
    write_zip,
)

Write = Callable[..., Path]

BAD_TENSORS: dict[str, dict[str, object]] = {
    "one element too many": {"size": (7,), "stride": (1,)},
    "an offset too far": {"offset": 1},
    "an offset behind the end": {"offset": 7, "size": (1,), "stride": (1,)},
    "a negative offset": {"offset": -1},
    "a negative size": {"size": (-2, 3)},
    "two negative sizes": {"size": (-2, -3)},
    "a negative stride": {"offset": 5, "size": (6,), "stride": (-1,)},
    "a stride too long": {"stride": (4, 1)},
    "a stride that overflows": {"size": (2,), "stride": (2**62,)},
    "a stride that wraps around": {"size": (2,), "stride": (2**64,)},
    "sizes that overflow": {"size": (2**33, 2**33), "stride": (0, 0)},
    "an offset that overflows": {"offset": 2**63, "size": (1,), "stride": (1,)},
    "terabytes of one element": {"size": (2**40,), "stride": (0,)},
    "a size that is no number": {"size": ("2", 3)},
    "a size that is a fraction": {"size": (2.0, 3)},
    "a size that is a truth value": {"size": (True, 3)},
    "an offset that is no number": {"offset": "0"},
    "sizes and strides that differ in number": {"size": (2, 3, 1)},
    "too many dimensions": {"size": (1,) * 100, "stride": (1,) * 100},
    "nothing, in an impossible shape": {"size": (0, 2**62, 2**62), "stride": (1, 1, 1)},
    "nothing, in a shape that overflows": {"size": (0, 2**70), "stride": (1, 1)},
    "nothing, of a negative size": {"size": (0, -1), "stride": (1, 1)},
}


@pytest.mark.parametrize("write", [in_zip, in_legacy])
@pytest.mark.parametrize("case", BAD_TENSORS)
def test_tensors_outside_of_their_storage(tmp_path: Path, write: Write, case: str) -> None:
    assert_refused(write(tmp_path / "x.pt", tensor(**BAD_TENSORS[case])), DAMAGED)  # type: ignore[arg-type]


def test_the_last_element_of_a_storage_may_be_used(tmp_path: Path) -> None:
    """The bounds are no stricter than they must be: strides of dimensions of length 1 are never stepped over."""
    for case in ({"offset": 5, "size": (1, 1), "stride": (2**63, 2**70)}, {"offset": 5, "size": (), "stride": ()}):
        read = read_torch_file(in_zip(tmp_path / "x.pt", tensor(**case)))  # type: ignore[arg-type]
        assert isinstance(read, StoredTensor)
        assert read.data.reshape(-1).tolist() == [5.0]


@pytest.mark.parametrize("length", [5, 7, 2**31, 2**63, 2**200, -6, 0, "6", 6.0, None])
@pytest.mark.parametrize("write", [in_zip, in_legacy])
def test_storages_of_another_length(tmp_path: Path, write: Write, length: object) -> None:
    one = tensor(size=(1,), stride=(1,), of=storage(length=length))
    assert_refused(write(tmp_path / "x.pt", one), DAMAGED)


@pytest.mark.parametrize("write", [in_zip, in_legacy])
def test_storages_that_are_not_there_or_of_two_types(tmp_path: Path, write: Write) -> None:
    assert_refused(write(tmp_path / "x.pt", tensor(of=storage("1"))), DAMAGED)
    assert_refused(write(tmp_path / "x.pt", tensor(of=storage("../data.pkl"))), DAMAGED)
    two = b"(" + tensor() + tensor(of=storage(kind="IntStorage")) + b"t"
    assert_refused(write(tmp_path / "x.pt", two), DAMAGED)


@pytest.mark.parametrize(
    "view", [("1", 0, 7), ("1", 6, 1), ("1", -1, 2), ("1", 2, -1), ("1", 2**62, 2**62), (1, 0, 1), 5]
)
def test_views_of_storages_that_reach_outside(tmp_path: Path, view: object) -> None:
    one = tensor(size=(1,), stride=(1,), of=storage(view=value(view)))
    assert_refused(in_legacy(tmp_path / "x.pt", one), DAMAGED)


LEGACY_STORAGES: dict[str, list[tuple[str, int, bytes]]] = {
    "none": [],
    "too few bytes": [("0", 6, SIX[:-1])],
    "another length": [("0", 5, SIX)],
    "a negative length": [("0", -1, SIX)],
    "a huge length": [("0", 2**62, SIX)],
    "one too many": [("0", 6, SIX), ("1", 6, SIX)],
    "the same twice": [("0", 6, SIX), ("0", 6, SIX)],
    "another key": [("1", 6, SIX)],
}


@pytest.mark.parametrize("case", LEGACY_STORAGES)
def test_storages_of_legacy_files(tmp_path: Path, case: str) -> None:
    assert_refused(write_legacy(tmp_path / "x.pt", tensor(), *LEGACY_STORAGES[case]), DAMAGED)


@pytest.mark.parametrize("keys", ["0", {"0": 1}, [0], [["0"]], None])
def test_storage_keys_of_legacy_files(tmp_path: Path, keys: object) -> None:
    content = in_legacy(tmp_path / "x.pt", tensor()).read_bytes()
    (tmp_path / "x.pt").write_bytes(content.replace(pickle.dumps(["0"], 2), pickle.dumps(keys, 2)))
    assert_refused(tmp_path / "x.pt", DAMAGED)


def test_other_versions_and_formats(tmp_path: Path) -> None:
    path = in_legacy(tmp_path / "x.pt", tensor())
    path.write_bytes(path.read_bytes().replace(pickle.dumps(1001, 2), pickle.dumps(1002, 2)))
    assert_refused(path, f"{DAMAGED} (its version is 1002); ")
    path.write_bytes(pickle.dumps([1, 2], 2))
    assert_refused(path, f"{DAMAGED}; ")
    path.write_bytes(b"storages".ljust(257, b"\0") + b"ustar".ljust(600, b"\0"))
    assert_refused(path, f"{DAMAGED} (the tar format ")
    path.write_bytes(b"")
    assert_refused(path, f"{DAMAGED}; ")
    for order in (b"middle", b"", b"big\n" * 1000):
        assert_refused(write_zip(path, tensor(), byteorder=order, _0=SIX), f"{DAMAGED} (its byte order is ")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_archive(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "x.pt")
    assert_refused(tmp_path / "x.pt", OBJECTS + "__torch__.")


def change(path: Path, find: bytes, offset: int, new: bytes, last: bool = True) -> None:
    """Put `new` at `offset` from the last (or first) place where the file has `find`."""
    content = bytearray(path.read_bytes())
    start = (content.rindex if last else content.index)(find) + offset
    content[start : start + len(new)] = new
    path.write_bytes(content)


DIRECTORY, END = b"PK\x01\x02", b"PK\x05\x06"

# Where in the last entry of the central directory (that of data/0) or in the end record, and what is put there.
CHANGED_DIRECTORIES = {
    "an offset behind the end": (DIRECTORY, 42, struct.pack("<I", 2**31)),
    "an offset elsewhere": (DIRECTORY, 42, struct.pack("<I", 3)),
    "a size beyond the end": (DIRECTORY, 20, struct.pack("<II", 2**31, 2**31)),
    "two sizes": (DIRECTORY, 20, struct.pack("<II", 23, 24)),
    "a size of 64 bits that is not there": (DIRECTORY, 20, b"\xff" * 8),
    "encrypted": (DIRECTORY, 8, b"\x01\x00"),
    "compressed by bzip2": (DIRECTORY, 10, b"\x0c\x00"),
    "compressed by no method": (DIRECTORY, 10, b"\x63\x00"),
    "compressed, which it is not": (DIRECTORY, 10, b"\x08\x00"),
    "another version": (DIRECTORY, 6, b"\xff\x00"),
    "a directory elsewhere": (END, 16, struct.pack("<I", 5)),
    "a directory behind the end": (END, 16, struct.pack("<I", 2**32 - 2)),
    "a directory too long": (END, 12, struct.pack("<I", 2**31)),
    "a directory of nothing": (END, 12, struct.pack("<I", 0)),
    "no end": (END, 0, b"PK\x05\x07"),
}


@pytest.mark.parametrize("case", CHANGED_DIRECTORIES)
def test_damaged_archives(tmp_path: Path, case: str) -> None:
    path = in_zip(tmp_path / "x.pt", tensor())
    change(path, *CHANGED_DIRECTORIES[case])
    assert_refused(path, DAMAGED)


def test_archives_without_their_parts(tmp_path: Path) -> None:
    path = in_zip(tmp_path / "x.pt", tensor())
    change(path, b"PK\x03\x04", 0, b"PK\x03\x05")  # the head of data/0 itself
    assert_refused(path, f"{DAMAGED} (no entry of its zip archive where data/0 should be); ")
    path = in_zip(path, tensor())
    change(path, PROTO, 1, b"\x03", last=False)
    assert_refused(path, f"{DAMAGED} (Bad CRC-32 ")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/other", b"")
    assert_refused(path, f"{DAMAGED} (no data.pkl ")


def test_two_entries_of_one_name(tmp_path: Path) -> None:
    """One reader takes the first and another the last: what has been scanned would not be what is loaded."""
    path = in_zip(tmp_path / "x.pt", tensor())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("archive/data.pkl", PROTO + SYSTEM + TOUCH + REDUCE_ONE + b".")
    assert_refused(path, f"{DAMAGED} (two entries ")


def test_records_that_grow_without_end(tmp_path: Path) -> None:
    zeros = 40 << 20
    big = tensor(size=(zeros,), stride=(1,), of=storage(length=zeros, kind="ByteStorage"))
    path = write_zip(tmp_path / "x.pt", big, zipfile.ZIP_DEFLATED, _0=bytes(zeros))
    assert path.stat().st_size < 100_000
    assert_refused(path, f"{DAMAGED} (its records grow too much ")
    assert_refused(write_zip(path, b"N" * zeros, zipfile.ZIP_DEFLATED), f"{DAMAGED} (its pickle has ")


def test_records_that_lie_over_each_other(tmp_path: Path) -> None:
    """Views of one place cost nothing; copies of it, as another byte order needs them, are counted."""
    length, count = 2 << 20, 40
    storages = [storage(str(key), length, "ByteStorage") for key in range(count)]
    operations = b"(" + b"".join(tensor(size=(1,), stride=(1,), of=one) for one in storages) + b"t"
    path = tmp_path / "x.pt"
    for order in ("little", "big"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", PROTO + operations + b".")
            archive.writestr("x/byteorder", order)
            archive.writestr("x/data/0", bytes(length))
            for key in range(1, count):
                entry = copy.copy(archive.getinfo("x/data/0"))
                entry.filename = f"x/data/{key}"
                archive.filelist.append(entry)
        if order == "little":
            read: Any = read_torch_file(path)
            assert len(read) == count
        else:
            assert_refused(path, f"{DAMAGED} (its records grow too much ")


@pytest.fixture(scope="module")
def valid_files() -> dict[str, bytes]:
    """A small checkpoint in each format."""
    files = {}
    shared = torch.arange(24.0).reshape(4, 6)
    saved = {
        "dims": {"n_mels": 80},
        "model_state_dict": {"a": shared, "b": shared.T, "c": torch.ones(3).half(), "d": torch.nn.Parameter(shared[1])},
    }
    for key, archive in (("zip", True), ("legacy", False)):
        file = io.BytesIO()
        torch.save(saved, file, _use_new_zipfile_serialization=archive)
        files[key] = file.getvalue()
    deflated = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files["zip"])) as stored, zipfile.ZipFile(deflated, "w") as packed:
        for entry in stored.namelist():
            packed.writestr(entry, stored.read(entry), zipfile.ZIP_DEFLATED)
    return {**files, "deflated": deflated.getvalue()}


@pytest.mark.parametrize("key", ["zip", "legacy", "deflated"])
def test_truncated_files(tmp_path: Path, valid_files: dict[str, bytes], key: str) -> None:
    content = valid_files[key]
    path = tmp_path / "x.pt"
    for length in [*range(0, len(content), 7), *range(len(content) - 40, len(content))]:
        path.write_bytes(content[:length])
        assert_refused(path, DAMAGED)


def use(read: object) -> None:
    """Go through everything that was read, and read every byte of every tensor."""
    if isinstance(read, StoredTensor):
        np.array(read.data)
    for part in read.values() if isinstance(read, dict) else read if isinstance(read, list | tuple) else ():
        use(part)
    repr(read)


@pytest.mark.parametrize("key", ["zip", "legacy", "deflated", "pickle"])
def test_changed_bytes(tmp_path: Path, valid_files: dict[str, bytes], key: str) -> None:
    """Whatever the bytes: a value, or a refusal in one line; no other exception, no crash."""
    chance = random.Random(12)
    with zipfile.ZipFile(io.BytesIO(valid_files["zip"])) as archive:
        entries = {entry.removeprefix("archive/"): archive.read(entry) for entry in archive.namelist()}
    records = {entry.replace("data/", "_"): record for entry, record in entries.items()}
    content = records.pop("data.pkl")[2:-1] if key == "pickle" else valid_files[key]
    refusals = []
    for trial in range(600):
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 5, 20))):
            changed[chance.randrange(len(changed))] = chance.choice((chance.randrange(256), 0, 255))
        path = tmp_path / f"{trial}.pt"
        if key == "pickle":  # with the right checksum, so that the interpreter itself is reached
            write_zip(path, bytes(changed), zipfile.ZIP_STORED, "archive", **records)
        else:
            path.write_bytes(changed)
        try:
            use(read_torch_file(path))
        except CheckpointError as error:
            refusals.append(str(error))
        path.unlink()
    assert not [refusal for refusal in refusals if "\n" in refusal]
    assert 100 < len(refusals) < 600
