"""PyTorch's files read without PyTorch: the same values as `torch.load(weights_only=True)`."""

import os
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from max_whisper.errors import CheckpointError
from max_whisper.models.files.tensors import StoredTensor
from max_whisper.models.files.torch_file import read_torch_file
from tests.models.files.torch_files import name, storage, tensor, value, write_legacy, write_zip

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT.parent / "shared" / "data" / "tiny.en.pt"

FORMATS = pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])

SIX = np.arange(6, dtype="<f4")


def assert_same(ours: Any, theirs: Any) -> None:
    """Both are the same value: types, order of entries, every bit, shape and stride of tensors."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, StoredTensor)
        assert ours.is_bfloat16 == (theirs.dtype == torch.bfloat16)
        expected = theirs.detach()
        expected = expected.view(torch.uint16) if theirs.dtype == torch.bfloat16 else expected
        assert ours.data.dtype == expected.numpy().dtype
        assert ours.shape == tuple(theirs.shape)
        steps = zip(ours.data.strides, theirs.stride(), theirs.shape, strict=True)
        assert all(ours == stride * theirs.element_size() for ours, stride, length in steps if length > 1) or not (
            theirs.numel()
        )
        assert ours.data.tobytes() == expected.numpy().tobytes()
    elif isinstance(theirs, torch.Size):
        assert ours == tuple(theirs)
    elif isinstance(theirs, torch.device | torch.dtype):
        assert ours == str(theirs)
    else:
        assert type(ours) is type(theirs)
        if isinstance(theirs, dict):
            assert list(ours) == list(theirs)
            for key in theirs:
                assert_same(ours[key], theirs[key])
        elif isinstance(theirs, list | tuple):
            assert len(ours) == len(theirs)
            for our, their in zip(ours, theirs, strict=True):
                assert_same(our, their)
        else:
            assert ours == theirs


def assert_read_as_torch_reads(path: Path) -> Any:
    """What the file holds, which is what PyTorch finds in it."""
    ours = read_torch_file(path)
    assert_same(ours, torch.load(path, weights_only=True))
    return ours


DTYPES = [
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128, torch.bool),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
]


def some(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random elements of any type."""
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))) * 50).to(dtype)


@FORMATS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_types(tmp_path: Path, archive: bool, dtype: torch.dtype) -> None:
    saved = {"matrix": some(5, 7, dtype=torch.int8).to(dtype), "scalar": torch.ones((), dtype=dtype)}
    saved["empty"] = torch.empty((0, 3), dtype=dtype)
    torch.save(saved, tmp_path / "x.pt", _use_new_zipfile_serialization=archive)
    assert_same(read_torch_file(tmp_path / "x.pt"), saved)
    if archive or dtype not in (torch.uint16, torch.uint32, torch.uint64):  # PyTorch writes such files and cannot read
        assert_read_as_torch_reads(tmp_path / "x.pt")


def views() -> dict[str, Any]:
    base = some(6, 8)
    shared = some(4, 4)
    return {
        "transposed": base.T,
        "part": base[1:4, 2:7],
        "strided": base[::2, ::3],
        "column": base[:, 3],
        "element": base[2, 3],
        "all": base,
        "expanded": some(1, 3).expand(4, 3),
        "long": some(1).expand(1, 1, 1),
        "channels_last": some(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "windows": some(10).as_strided((4, 3), (2, 1), 1),
        "tied": [shared, shared, shared.view(16), shared[1:]],
        "parameter": torch.nn.Parameter(some(3)),
        "frozen": torch.nn.Parameter(some(3, dtype=torch.float16), requires_grad=False),
        "needs_grad": some(3).requires_grad_(),
    }


@FORMATS
def test_views_and_shared_storages(tmp_path: Path, archive: bool) -> None:
    torch.save(views(), tmp_path / "x.pt", _use_new_zipfile_serialization=archive)
    ours = assert_read_as_torch_reads(tmp_path / "x.pt")
    assert np.shares_memory(ours["tied"][0].data, ours["tied"][3].data)
    assert np.shares_memory(ours["transposed"].data, ours["column"].data)
    assert not np.shares_memory(ours["all"].data, ours["tied"][0].data)


@FORMATS
def test_plain_values(tmp_path: Path, archive: bool) -> None:
    values = {
        "numbers": [0, -1, 255, 65536, 2**31, -(2**70), 1.5, float("inf"), 2j, True, False, None],
        "text": ["", "plain", "\u00fc\u4e2d\U0001f600", "x" * 300],
        "bytes": [b"\x00\xff", b"a", b"text"],
        "containers": ({}, [], (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {1, 2}, {"a", (1, "b")}, [[[]]]),
        "ordered": OrderedDict([("b", 1), ("a", OrderedDict())]),
        "size": some(2, 3).shape,
        "devices": [torch.device("cpu"), torch.device("cuda", 1)],
        "types": DTYPES,
        7: {(1, 2): "keys", None: 0, b"b": 1, True: 2},
        "many": list(range(2500)),
        "same": [shared := ["once"], shared],
    }
    torch.save(values, tmp_path / "x.pt", _use_new_zipfile_serialization=archive)
    ours = assert_read_as_torch_reads(tmp_path / "x.pt")
    assert ours["same"][0] is ours["same"][1]


@FORMATS
def test_a_state_dict_and_its_optimizer(tmp_path: Path, archive: bool) -> None:
    """A state dict has an attribute, `_metadata`; an optimizer's state has numbers as keys."""
    model = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 4), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters())
    model(some(2, 2, 9)).sum().backward()
    optimizer.step()
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3},
        tmp_path / "x.pt",
        _use_new_zipfile_serialization=archive,
    )
    assert_read_as_torch_reads(tmp_path / "x.pt")


def test_a_parameter_with_attributes(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(some(3))
    parameter.origin = "elsewhere"  # type: ignore[attr-defined]
    torch.save([parameter], tmp_path / "x.pt")
    assert_read_as_torch_reads(tmp_path / "x.pt")


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published weights are not here")
def test_published_weights() -> None:
    ours = assert_read_as_torch_reads(PUBLISHED)
    assert len(ours["model_state_dict"]) == 167


@pytest.mark.parametrize("folder", ["archive", "tiny.en", "a b", "."])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_archives_packed_by_another_program(tmp_path: Path, folder: str, compression: int) -> None:
    path = write_zip(tmp_path / "x.pt", tensor(), compression, folder, byteorder=b"little", _0=SIX.tobytes())
    ours: Any = read_torch_file(path)
    assert np.array_equal(ours.data, SIX.reshape(2, 3))
    if folder != ".":  # which PyTorch's reader does not find
        assert_read_as_torch_reads(path)


def test_an_archive_with_64_bit_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As archives of more than 4 GiB are."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    path = write_zip(tmp_path / "x.pt", tensor(), _0=SIX.tobytes())
    assert b"PK\x06\x06" in path.read_bytes()
    assert_read_as_torch_reads(path)


def test_without_a_byte_order(tmp_path: Path) -> None:
    torch.save([some(3)], tmp_path / "x.pt", _disable_byteorder_record=True)
    assert_read_as_torch_reads(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("HalfStorage", "f2"),
        ("BFloat16Storage", "u2"),
        ("FloatStorage", "f4"),
        ("LongStorage", "i8"),
        ("ComplexFloatStorage", "c8"),
        ("ByteStorage", "u1"),
    ],
)
def test_a_file_of_a_big_endian_machine(tmp_path: Path, kind: str, dtype: str) -> None:
    numbers = SIX.astype(dtype)
    content = numbers.byteswap().tobytes()
    path = write_zip(tmp_path / "x.pt", tensor(of=storage(kind=kind)), byteorder=b"big", _0=content)
    ours = assert_read_as_torch_reads(path)
    assert np.array_equal(ours.data.reshape(-1), numbers)


def test_views_of_storages_in_legacy_files(tmp_path: Path) -> None:
    """PyTorch before 0.4 wrote a storage that is part of another one."""
    part = storage(view=value(("1", 2, 4)))
    operations = b"(" + tensor(of=storage(view=b"N")) + tensor(0, (2,), (1,), of=part) + b"t"
    path = write_legacy(tmp_path / "x.pt", operations, ("0", 6, SIX.tobytes()))
    ours = assert_read_as_torch_reads(path)
    assert ours[1].data.tolist() == [2, 3]


def test_tensors_of_the_first_version(tmp_path: Path) -> None:
    operations = tensor(rest=b"", function="_rebuild_tensor")
    assert_read_as_torch_reads(write_zip(tmp_path / "x.pt", operations, _0=SIX.tobytes()))


def test_a_file_of_python_2(tmp_path: Path) -> None:
    """Byte strings, and ordered dictionaries that are made of a list of pairs."""
    pair = b"(U\x06weight" + tensor() + b"t"
    operations = name("collections", "OrderedDict") + b"](" + pair + b"e\x85R"
    ours = assert_read_as_torch_reads(write_zip(tmp_path / "x.pt", operations, _0=SIX.tobytes()))
    assert list(ours) == ["weight"]


@FORMATS
def test_nothing_is_copied(tmp_path: Path, archive: bool) -> None:
    """A tensor is a view of the mapped file; what is written into it does not reach the file."""
    path = tmp_path / "x.pt"
    torch.save([some(100, 100)], path, _use_new_zipfile_serialization=archive)
    before = path.read_bytes()
    saved: Any = read_torch_file(path)
    ours = saved[0]
    owner = ours.data
    while isinstance(owner.base, np.ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    assert isinstance(owner, np.memmap)
    ours.data[:] = 7
    assert path.read_bytes() == before


@FORMATS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_in_float32(tmp_path: Path, archive: bool, dtype: torch.dtype) -> None:
    saved = {"matrix": some(5, 7, dtype=dtype), "scalar": torch.ones((), dtype=dtype)}
    saved["transposed"] = saved["matrix"].T
    torch.save(saved, tmp_path / "x.pt", _use_new_zipfile_serialization=archive)
    ours: Any = read_torch_file(tmp_path / "x.pt")
    for key, expected in saved.items():
        read = ours[key].read()
        assert read.dtype == np.float32
        assert read.flags.c_contiguous
        assert read.flags.aligned
        assert np.array_equal(read, expected.float().numpy())


def test_without_pytorch(tmp_path: Path) -> None:
    """The reader neither imports PyTorch nor needs it."""
    torch.save({"x": some(2, 3), "p": torch.nn.Parameter(some(2))}, tmp_path / "zip.pt")
    torch.save({"x": some(2, 3)}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    code = """
import sys
sys.modules["torch"] = None
from pathlib import Path
from max_whisper.models.files.torch_file import read_torch_file
for name in ("zip.pt", "legacy.pt"):
    print(sorted(read_torch_file(Path(name))), read_torch_file(Path(name))["x"].shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "max-whisper")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["['p', 'x'] (2, 3)", "['x'] (2, 3)"]


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.pt", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(CheckpointError) as caught:
            read_torch_file(path)
        assert str(caught.value) == f"{path}: cannot be read ({reason})"


def test_the_advice_is_the_callers(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.pt", name("a.module", "Model") + b")R")
    for advice, expected in (((), "torch.save(model.state_dict(), path)"), (("some call",), "some call")):
        read: Callable[..., object] = read_torch_file
        with pytest.raises(CheckpointError) as caught:
            read(path, *advice)
        assert str(caught.value) == (
            f"{path}: holds Python objects, and reading them could run any code; it asks for a.module.Model;"
            f" save it with {expected}"
        )
