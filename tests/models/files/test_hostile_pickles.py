"""Pickles that are made to run code, to fill memory or to crash their reader.

Each is refused with one line, and none of what it asks for is done.
"""

import copyreg
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from max_whisper.models.files.torch_file import read_torch_file
from tests.models.files.torch_files import (
    DAMAGED,
    OBJECTS,
    PROTO,
    REDUCE_ONE,
    SYSTEM,
    TOUCH,
    assert_refused,
    in_legacy,
    in_zip,
    name,
    plain,
    storage,
    tensor,
    value,
)

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every attack makes the file `ran` in the current folder, which is the test's own."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "ran").exists()


WRITERS = pytest.mark.parametrize("write", [in_zip, in_legacy, plain])

STACK_GLOBAL = value("os") + value("system") + b"\x93"

# Operations that run `touch ran` when pickle.loads reads them, and the name that the refusal must have.
REAL_ATTACKS = {
    "global": (SYSTEM + TOUCH + REDUCE_ONE, "os.system"),
    "stack_global": (STACK_GLOBAL + TOUCH + REDUCE_ONE, "os.system"),
    "inst": (b"(" + TOUCH + b"ios\nsystem\n", "os.system"),
    "obj": (b"(" + name("subprocess", "getoutput") + TOUCH + b"o", "subprocess.getoutput"),
    "in a state": (
        name("collections", "OrderedDict") + b")R}" + value("x") + SYSTEM + TOUCH + REDUCE_ONE + b"sb",
        "os.system",
    ),
    "as an element": (b"](" + value(1) + SYSTEM + TOUCH + REDUCE_ONE + b"e", "os.system"),
    "as a key": (b"}" + SYSTEM + TOUCH + REDUCE_ONE + value(1) + b"s", "os.system"),
    "behind a memo": (SYSTEM + b"q\x000h\x00" + TOUCH + REDUCE_ONE, "os.system"),
    "eval": (
        name("__builtin__", "eval") + value("__import__('os').system('touch ran')") + REDUCE_ONE,
        "__builtin__.eval",
    ),
    "getattr": (
        name("__builtin__", "getattr")
        + b"("
        + name("__builtin__", "__import__")
        + value("os")
        + REDUCE_ONE
        + value("system")
        + b"tR"
        + TOUCH
        + REDUCE_ONE,
        "__builtin__.getattr",
    ),
    "dotted": (b"\x80\x04" + value("pathlib") + value("os.system") + b"\x93" + TOUCH + REDUCE_ONE, "pathlib.os.system"),
    "a method": (
        b"\x80\x04" + value("pathlib") + value("Path.touch") + b"\x93" + name("pathlib", "Path") + value("ran")
        + REDUCE_ONE + REDUCE_ONE,
        "pathlib.Path.touch",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", REAL_ATTACKS)
def test_the_attacks_are_real(tmp_path: Path, attack: str) -> None:
    operations, _ = REAL_ATTACKS[attack]
    pickle.loads(PROTO + operations + b".")
    (tmp_path / "ran").unlink()


@WRITERS
@pytest.mark.parametrize("attack", REAL_ATTACKS)
def test_code_is_not_run(tmp_path: Path, write: Write, attack: str) -> None:
    operations, asked = REAL_ATTACKS[attack]
    assert_refused(write(tmp_path / "x.pt", operations), f"{OBJECTS}{asked}; save it with ")


NAMES = [
    "torch.storage._load_from_bytes",
    "torch.load",
    "torch.hub.load",
    "torch.serialization.load",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_device_tensor_from_numpy",
    "torch._tensor._rebuild_from_type_v2",
    "torch.QInt8Storage",
    "torch.nn.modules.linear.Linear",
    "subprocess.Popen",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "collections.OrderedDict.__class__",
    "collections.OrderedDict.clear.__self__",
    "collections.defaultdict",
    "collections",
    "copyreg._reconstructor",
    "builtins.bytearray",
    "builtins.exec",
    "functools.partial",
    "max_whisper.models.files.torch_file.read_torch_file",
    "__torch__.whisper.Model",
    "",
]


@WRITERS
@pytest.mark.parametrize("asked", NAMES)
def test_names_that_are_not_allowed(tmp_path: Path, write: Write, asked: str) -> None:
    """Refused as they are named, before anything is called; whichever way module and attribute are divided."""
    parts = asked.split(".")
    for cut in range(1, len(parts) + 1):
        module, attribute = ".".join(parts[:cut]), ".".join(parts[cut:])
        assert_refused(write(tmp_path / "x.pt", name(module, attribute)), OBJECTS + asked)


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    assert_refused(in_zip(tmp_path / "x.pt", name("a" * 10_000, "b c")), OBJECTS + "aaa")


@pytest.mark.parametrize("extension", [b"\x82\x4d", b"\x83\x4d\x00", b"\x84\x4d\x00\x00\x00"])
@WRITERS
def test_registered_extensions(tmp_path: Path, write: Write, extension: bytes) -> None:
    """A class that this process knows by a number is taken without a question by pickle, even by a narrowed one."""
    copyreg.add_extension("os", "system", 77)
    try:
        assert pickle.loads(PROTO + extension + b".") is os.system
        assert_refused(write(tmp_path / "x.pt", extension + TOUCH + REDUCE_ONE), DAMAGED)
    finally:
        copyreg.remove_extension("os", "system", 77)
        copyreg.clear_extension_cache()


class Payload:
    """A call while it is read, in whatever way this protocol writes it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_every_protocol(tmp_path: Path, archive: bool, protocol: int) -> None:
    path = tmp_path / "x.pt"
    torch.save({"x": Payload()}, path, pickle_protocol=protocol, _use_new_zipfile_serialization=archive)
    assert_refused(path, OBJECTS if protocol == 2 else "")


FUNCTIONS_WITH_WRONG_ARGUMENTS = {
    "OrderedDict of a number": name("collections", "OrderedDict") + value(5) + REDUCE_ONE,
    "OrderedDict of words": name("collections", "OrderedDict") + value(["ab", "cd"]) + REDUCE_ONE,
    "OrderedDict of triples": name("collections", "OrderedDict") + value([[1, 2, 3]]) + REDUCE_ONE,
    "OrderedDict of lists as keys": name("collections", "OrderedDict") + value([[[], 1]]) + REDUCE_ONE,
    "arguments that are no tuple": name("collections", "OrderedDict") + value([]) + b"R",
    "a call of a string": value("collections.OrderedDict") + b")R",
    "a call of a storage's class": name("torch", "FloatStorage") + value(2**60) + REDUCE_ONE,
    "a call of a type": name("torch", "float32") + b")R",
    "bytes of a number": name("__builtin__", "bytes") + value(2**40) + REDUCE_ONE,
    "another encoding": name("_codecs", "encode") + value(("x", "rot13")) + b"R",
    "text that is not latin-1": name("_codecs", "encode") + value(("\u4e2d", "latin1")) + b"R",
    "a set of lists": name("__builtin__", "set") + value([[]]) + REDUCE_ONE,
    "a set of text": name("__builtin__", "set") + value("abc") + REDUCE_ONE,
    "complex of text": name("__builtin__", "complex") + value(("1", "2")) + b"R",
    "a size of text": name("torch", "Size") + value(("a",)) + REDUCE_ONE,
    "a device of a list": name("torch", "device") + value([]) + REDUCE_ONE,
    "a parameter of a number": name("torch._utils", "_rebuild_parameter") + value((1, True, {})) + b"R",
    "a tensor of nothing": name("torch._utils", "_rebuild_tensor_v2") + b")R",
    "a tensor of a number": tensor(of=value(1)),
    "a conjugated tensor": tensor(rest=b"\x89" + value({}) + value({"conj": True})),
    "a tensor of an unknown type": tensor(function="_rebuild_tensor_v3", rest=value((False, {}, "torch.qint8"))[1:-3]),
    "a class": name("collections", "OrderedDict"),
    "a class in a list": b"]" + name("collections", "OrderedDict") + b"a",
    "a storage": storage(),
    "a storage in a dictionary": b"}" + value("x") + storage() + b"s",
    "a new object": name("collections", "OrderedDict") + b")\x81",
}

DAMAGED_PICKLES = {
    "nothing": b"",
    "an empty stack": b"0",
    "a call without arguments": b"R",
    "a tuple of nothing": b"\x87",
    "a mark that is not there": b"t",
    "an unknown memo entry": b"h\x07",
    "an unknown operation": b"\xff",
    "a text that is longer than the file": b"X\xff\xff\xff\xffabc",
    "a text that is not UTF-8": b"X\x02\x00\x00\x00\xff\xfe",
    "a number that is longer than the file": b"\x8b\xff\xff\xff\x7f",
    "a name without its end": b"cos",
    "an odd number of items": b"}(" + value(1) + b"u",
    "items of a list": b"]" + value(0) + value(1) + b"s",
    "items of a tensor": tensor() + value(0) + value(1) + b"s",
    "items of a number": value(5) + value(0) + value(1) + b"s",
    "elements of a dictionary": b"}" + value(1) + b"a",
    "elements of a tuple": b")" + value(1) + b"a",
    "elements of a tensor": tensor() + value(1) + b"a",
    "a state of a list": b"]" + value({"x": 1}) + b"b",
    "a state of a tensor": tensor() + value((1, 2)) + b"b",
    "a state of a class": name("collections", "OrderedDict") + value({"__new__": 1}) + b"b",
    "a state of a function": name("torch._utils", "_rebuild_tensor_v2") + value({"call": 1}) + b"b",
    "a state that is no dictionary": name("collections", "OrderedDict") + b")R" + value((None, {"x": 1})) + b"b",
    "a list as a key": b"}]" + value(1) + b"s",
    "a tensor as a key": b"}" + tensor() + value(1) + b"s",
    "a persistent id by text": b"P0\n",
    "a persistent id that is a number": value(0) + b"Q",
    "a persistent module": value(("module", "os", "source", "text")) + b"Q",
    "a persistent id that is too short": value(("storage",)) + b"Q",
    "a storage of an unknown class": value(("storage", "FloatStorage", "0", "cpu", 6)) + b"Q",
    "more copies than there is": (
        b"](" + value(1) * 1000 + b"e" + b"q\x01" + (name("__builtin__", "set") + b"h\x01\x85R") * 200
    ),
    "more characters than there are": (
        value("x" * 10_000) + b"q\x01" + (name("_codecs", "encode") + b"(h\x01" + value("latin1") + b"tR") * 50
    ),
    "a list inside itself": b"]q\x01h\x01a",
    "a dictionary inside itself": b"}q\x01" + value(1) + b"h\x01s",
    "a tuple inside itself": b"]q\x01h\x01\x85a",
    "nested lists": b"]" * 200 + b"a" * 199,
    "nested tuples": b")" + b"\x85" * 200_000,
    "nested tuples as a key": b"})" + b"\x85" * 200_000 + value(1) + b"s",
}


@WRITERS
@pytest.mark.parametrize("case", [*FUNCTIONS_WITH_WRONG_ARGUMENTS, *DAMAGED_PICKLES])
def test_pickles_that_torch_does_not_write(tmp_path: Path, write: Write, case: str) -> None:
    operations = {**FUNCTIONS_WITH_WRONG_ARGUMENTS, **DAMAGED_PICKLES}[case]
    fault = "" if case.startswith(("a class", "a storage")) and case in FUNCTIONS_WITH_WRONG_ARGUMENTS else DAMAGED
    assert_refused(write(tmp_path / "x.pt", operations), fault)


def test_nesting_that_no_single_way_shows(tmp_path: Path) -> None:
    """All lists are elements of the first one, and each also of the one before it."""
    lists = b"".join(b"]q" + bytes([i]) for i in range(200))
    chain = b"".join(b"h" + bytes([i]) + b"h" + bytes([i + 1]) + b"a" for i in range(199))
    assert_refused(in_zip(tmp_path / "x.pt", b"(" + lists + chain + b"t"), f"{DAMAGED} (its values are nested ")


def test_a_memo_entry_of_a_high_number_takes_no_room(tmp_path: Path) -> None:
    """pickle.Unpickler makes a table of 2**32 entries for it."""
    assert read_torch_file(in_zip(tmp_path / "x.pt", b"]r\xff\xff\xff\xff")) == []


def test_a_pickle_without_end(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", PROTO + b"]")
    assert_refused(tmp_path / "x.pt", DAMAGED)
