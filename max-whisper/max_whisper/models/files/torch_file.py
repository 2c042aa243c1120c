"""PyTorch's files, `.pt`, `.pth` and `pytorch_model.bin`, read without PyTorch.

`torch.save` writes one of two formats (`_save` and `_legacy_save` of torch/serialization.py):

- A zip archive, since torch 1.6. In one folder of any name it has `data.pkl`, the pickle; `data/KEY`, the bytes of
  storage KEY; and `byteorder`, "little" or "big".
- The legacy format: five pickles one after the other (a magic number, a protocol version, facts on the machine, the
  object, the list of storage keys), then, for each key in that list's order, the number of elements as int64 and the
  elements. All of it is little-endian.

The file is mapped into memory. A tensor is a view of the map, and its bytes are read from the disk when it is used.
Pages are private to the process: writing into an array does not reach the file.
"""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError
from max_whisper.models.files.torch_allowed import ForbiddenError
from max_whisper.models.files.torch_pickle import load_pickle
from max_whisper.models.files.torch_storage import DTYPES, DamagedError, Storage

SAVE_TENSORS = "torch.save(model.state_dict(), path)"

_ZIP_MAGIC = b"PK\x03\x04"
_TAR_MAGIC = (257, b"ustar")  # where it stands
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

# A tensor takes about 120 bytes of the pickle: this is room for 70 000. A hostile pickle of the smallest values takes
# 100 times its length in memory.
_LARGEST_PICKLE = 8 << 20
# How many times larger than the file the copies of its records may be. Deflate packs zeros a thousandfold, weights
# hardly, and entries may lie over each other: an archive that grows more is made to fill memory.
_LARGEST_GROWTH = 16
_LOCAL_HEADER = 30  # bytes of a zip entry's own header, before its name and extra field


def read_torch_file(path: Path, how_to_save: str = SAVE_TENSORS) -> object:
    """The object in a file that `torch.save` wrote, its tensors as StoredTensor; see `load_pickle` for the others.

    how_to_save: the call of torch.save that a user is told to make, where the file holds more than tensors and plain
    values.

    Raises CheckpointError, one line that names the file, where it cannot be read, is damaged or is of another kind, and
    where its pickle asks for anything but tensors and plain values; nothing of the kind is imported or run.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({one_line(error.strerror or error)})") from None
    except ForbiddenError as error:
        raise CheckpointError(
            f"{path}: holds Python objects, and reading them could run any code; it asks for {one_line(error)};"
            f" save it with {how_to_save}"
        ) from None
    except DamagedError as error:
        detail = f" ({one_line(error)})" if str(error) else ""
        raise CheckpointError(
            f"{path}: truncated, or not a PyTorch checkpoint{detail}; download or copy it again"
        ) from None


def _read(file: BinaryIO) -> object:
    try:
        mapped = np.asarray(np.memmap(file, dtype=np.uint8, mode="c"))
    except ValueError:  # an empty file cannot be mapped
        raise DamagedError("") from None
    if mapped[: len(_ZIP_MAGIC)].tobytes() == _ZIP_MAGIC:
        return _read_zip(_Archive(file, mapped), len(mapped))
    start, magic = _TAR_MAGIC
    if mapped[start : start + len(magic)].tobytes() == magic:
        raise DamagedError("the tar format of PyTorch before 0.2 is not read: save it again with a newer one")
    return _read_legacy(mapped)


def _read_zip(archive: "_Archive", file_size: int) -> object:
    byteorder = archive.record("byteorder").tobytes().decode("latin-1") if "byteorder" in archive else "little"
    if byteorder not in ("little", "big"):
        raise DamagedError(f"its byte order is {byteorder!r}")
    storages: dict[str, Storage] = {}

    def open_storage(key: str, dtype: str, length: int) -> Storage:
        if key not in storages:
            data = archive.record(f"data/{key}")
            if byteorder == "big":
                archive.count_copy(data.size)
                data = _swapped(data, dtype)
            storages[key] = Storage(data, dtype, file_size)
        return _checked(storages[key], dtype, length)

    return load_pickle(BytesIO(archive.pickle()), open_storage)


def _swapped(data: np.ndarray, dtype: str) -> np.ndarray:
    """The bytes of a storage with those of each element in the opposite order."""
    element = DTYPES[dtype]
    if data.size % element.itemsize:
        raise DamagedError("a storage ends within an element")
    part = element.itemsize // (2 if element.kind == "c" else 1)  # a complex number is two floats
    return np.ascontiguousarray(data.reshape(-1, part)[:, ::-1]).reshape(-1)


def _checked(storage: Storage, dtype: str, length: int) -> Storage:
    """`storage`, where it is of this type and this number of elements."""
    if storage.dtype != dtype:
        raise DamagedError(f"a storage is of {storage.dtype} at one place and of {dtype} at another")
    if storage.data.size != length * DTYPES[dtype].itemsize:
        raise DamagedError(f"a storage of {length} elements has {storage.data.size} bytes")
    return storage


class _Archive:
    """The records of a zip archive: the files in its first entry's folder, as PyTorch's own reader has them."""

    def __init__(self, file: BinaryIO, mapped: np.ndarray) -> None:
        self._mapped = mapped
        self._copied = 0  # bytes of records that were copied into memory so far
        try:
            self._zip = zipfile.ZipFile(file)
        except Exception as error:  # zipfile shows a damaged archive as almost any exception
            raise DamagedError(str(error)) from None
        entries = self._zip.infolist()
        self._entries = {entry.filename: entry for entry in entries}
        if not entries:
            raise DamagedError("an empty zip archive")
        # Which of two entries is read differs between zip readers: a scanner may have seen the other one.
        if len(self._entries) < len(entries):
            raise DamagedError("two entries of its zip archive have one name")
        self._folder = entries[0].filename.split("/")[0]

    def __contains__(self, name: str) -> bool:
        return f"{self._folder}/{name}" in self._entries

    def pickle(self) -> bytes:
        """The bytes of `data.pkl`, checked by the archive's checksum."""
        entry = self._entry("data.pkl")
        if entry.file_size > _LARGEST_PICKLE:
            raise DamagedError(f"its pickle has {entry.file_size} bytes")
        return self._inflate(entry)

    def record(self, name: str) -> np.ndarray:
        """The bytes of a record, uint8: a view of the mapped file, unless the record is compressed."""
        entry = self._entry(name)
        if entry.compress_type != zipfile.ZIP_STORED:
            return np.frombuffer(bytearray(self._inflate(entry)), np.uint8)
        header = self._mapped[max(entry.header_offset, 0) :][:_LOCAL_HEADER].tobytes()
        if len(header) < _LOCAL_HEADER or not header.startswith(_ZIP_MAGIC):
            raise DamagedError(f"no entry of its zip archive where {name} should be")
        extra = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")  # name, extra field
        start = entry.header_offset + _LOCAL_HEADER + extra
        if entry.compress_size != entry.file_size or start + entry.file_size > len(self._mapped):
            raise DamagedError(f"{name} reaches beyond the file's end")
        return self._mapped[start : start + entry.file_size]

    def _entry(self, name: str) -> zipfile.ZipInfo:
        if name not in self:
            raise DamagedError(f"no {name} in its zip archive")
        entry = self._entries[f"{self._folder}/{name}"]
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DamagedError(f"{name} is encrypted or compressed by another method than deflate")
        return entry

    def count_copy(self, size: int) -> None:
        """Count a copy of `size` bytes, and refuse an archive whose copies are too much larger than itself."""
        self._copied += size
        if self._copied > max(_LARGEST_PICKLE, _LARGEST_GROWTH * len(self._mapped)):
            raise DamagedError("its records grow too much when they are read")

    def _inflate(self, entry: zipfile.ZipInfo) -> bytes:
        self.count_copy(entry.file_size)
        try:
            return self._zip.read(entry)
        except Exception as error:  # as above
            raise DamagedError(str(error)) from None


def _read_legacy(mapped: np.ndarray) -> object:
    """The object of a legacy file.

    The storages lie behind the object's pickle, and how long each of them is stands only in that pickle. So the pickle
    is read twice: first for the types and lengths, with storages of the right length at a wrong place, then for good.
    """
    stream = BytesIO(mapped[:_LARGEST_PICKLE].tobytes())
    try:
        magic = load_pickle(stream, _no_storage)
    except DamagedError:
        raise DamagedError("") from None
    if magic != _LEGACY_MAGIC:
        raise DamagedError("")
    if (version := load_pickle(stream, _no_storage)) != _LEGACY_PROTOCOL:
        raise DamagedError(f"its version is {one_line(version)}")
    load_pickle(stream, _no_storage)  # facts on the machine that wrote it; PyTorch does not use them either
    start = stream.tell()
    declared: dict[str, Storage] = {}

    def declare(key: str, dtype: str, length: int) -> Storage:
        end = length * DTYPES[dtype].itemsize
        if not 0 <= end <= len(mapped):
            raise DamagedError(f"a storage of {length} elements in a file of {len(mapped)} bytes")
        return _checked(declared.setdefault(key, Storage(mapped[:end], dtype, len(mapped))), dtype, length)

    load_pickle(stream, declare)
    keys = load_pickle(stream, _no_storage)
    storages = _find_storages(mapped, stream.tell(), declared, keys)
    stream.seek(start)
    return load_pickle(stream, lambda key, dtype, length: storages[key])


def _find_storages(mapped: np.ndarray, offset: int, declared: dict[str, Storage], keys: object) -> dict[str, Storage]:
    """The storages in the order of `keys`, the first of them at `offset`."""
    storages: dict[str, Storage] = {}
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(declared):
        raise DamagedError("its storages are not those of its tensors")
    for key in keys:
        kind = declared[key]
        length = int.from_bytes(mapped[offset : offset + 8].tobytes(), "little", signed=True)
        begin, end = offset + 8, offset + 8 + kind.data.size
        if end > len(mapped):
            raise DamagedError("its last storages are missing")
        storages[key] = _checked(Storage(mapped[begin:end], kind.dtype, kind.largest), kind.dtype, length)
        offset = end
    return storages


def _no_storage(key: str, dtype: str, length: int) -> Storage:
    raise DamagedError("a storage before its object")
