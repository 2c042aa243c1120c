"""PyTorch files made by hand, operation by operation, that torch.save does not write; and how they are refused."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from max_whisper.errors import CheckpointError
from max_whisper.models.files.torch_file import read_torch_file

SIX = np.arange(6, dtype="<f4").tobytes()  # the elements of `tensor` and `storage` by default
DAMAGED = "truncated, or not a PyTorch checkpoint"
OBJECTS = "holds Python objects, and reading them could run any code; it asks for "

PROTO = b"\x80\x02"
REDUCE_ONE = b"\x85R"  # TUPLE1, REDUCE: call with the value on top of the stack


def value(plain: object) -> bytes:
    """The operations that put a plain value onto the stack."""
    return pickle.dumps(plain, protocol=2)[2:-1]


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{attribute}\n".encode()


def storage(key: str = "0", length: object = 6, kind: str = "FloatStorage", view: bytes = b"") -> bytes:
    """A reference to a storage, as persistent id."""
    parts = [value("storage"), name("torch", kind), value(key), value("cpu"), value(length), view]
    return b"(" + b"".join(parts) + b"tQ"


def tensor(
    offset: object = 0,
    size: object = (2, 3),
    stride: object = (3, 1),
    of: bytes = storage(),
    rest: bytes = b"\x89" + name("collections", "OrderedDict") + b")R",
    function: str = "_rebuild_tensor_v2",
) -> bytes:
    """A tensor. `rest` are the arguments behind the strides: requires_grad and hooks."""
    return name("torch._utils", function) + b"(" + of + value(offset) + value(size) + value(stride) + rest + b"tR"


def write_zip(
    path: Path, operations: bytes, compression: int = zipfile.ZIP_STORED, folder: str = "archive", **records: bytes
) -> Path:
    """A zip file with this pickle and these records; `_0` is the record `data/0`."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{folder}/data.pkl", PROTO + operations + b".")
        for record, content in {"version": b"3\n", **records}.items():
            archive.writestr(f"{folder}/{record.replace('_', 'data/')}", content)
    return path


def write_legacy(path: Path, operations: bytes, *storages: tuple[str, int, bytes]) -> Path:
    """A legacy file with this pickle and these storages: key, number of elements, bytes."""
    header = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    parts = [pickle.dumps(part, protocol=2) for part in header]
    parts += [PROTO + operations + b".", pickle.dumps([key for key, _, _ in storages], protocol=2)]
    for _, length, content in storages:
        parts += [length.to_bytes(8, "little", signed=True), content]
    path.write_bytes(b"".join(parts))
    return path


TOUCH = value("touch ran")
SYSTEM = name("os", "system")


def assert_refused(path: Path, fault: str) -> None:
    """Reading fails with one line of bounded length that begins with the file and the fault."""
    with pytest.raises(CheckpointError) as caught:
        read_torch_file(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {fault}")
    assert "\n" not in message
    assert len(message) < 600


def in_zip(path: Path, operations: bytes) -> Path:
    """A zip file with this pickle and six elements as storage 0."""
    return write_zip(path, operations, byteorder=b"little", _0=SIX)


def in_legacy(path: Path, operations: bytes) -> Path:
    """A legacy file with this pickle and six elements as storage 0."""
    return write_legacy(path, operations, ("0", 6, SIX))


def plain(path: Path, operations: bytes) -> Path:
    """A bare pickle, which is read as a legacy file's first part."""
    path.write_bytes(PROTO + operations + b".")
    return path
