"""Tensors as they lie in a mapped file, handed out as float32; those of safetensors files."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError

Shape = tuple[int, ...]

# NumPy has no bfloat16: its bits are the upper half of a float32's and are kept as integers until they are read.
_STORED_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}

# Values whose exponent has all bits set are infinite or NaN: from these bits on, the sign bit aside.
_NOT_FINITE = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor as it lies in its file."""

    data: np.ndarray  # in the file's own precision; bfloat16 as uint16
    is_bfloat16: bool = False

    @property
    def shape(self) -> Shape:
        return self.data.shape

    def read(self) -> np.ndarray:
        """The tensor in float32, C-contiguous: a view of the file where it holds that, else a new array."""
        if self.is_bfloat16:
            bits = self.data.astype(np.uint32, order="C")
            bits <<= 16
            return bits.view(np.float32)
        return np.require(self.data, np.float32, ["C", "ALIGNED"])

    def read_stored(self) -> np.ndarray:
        """The tensor as it is stored, a view of the file, where that is float16; otherwise as `read`."""
        return np.require(self.data, None, ["C", "ALIGNED"]) if self.data.dtype == np.float16 else self.read()

    def is_finite(self) -> bool:
        """Whether all values are finite in float32. The bits are compared where they lie, and nothing is widened."""
        stored = "bfloat16" if self.is_bfloat16 else self.data.dtype.name
        if stored not in _NOT_FINITE:
            with np.errstate(over="ignore"):
                return bool(np.isfinite(self.read()).all())
        size, least = self.data.itemsize, _NOT_FINITE[stored]
        greatest = self.data.view(f"<i{size}").max()  # of the values without a sign; those with one are negative here
        greatest_of_all = self.data.view(f"<u{size}").max()
        return bool(greatest < least and greatest_of_all < least + (1 << (8 * size - 1)))

    def rows(self, count: int) -> "StoredTensor":
        """The first rows, where they lie."""
        return StoredTensor(self.data[:count], self.is_bfloat16)


class Weights(Mapping[str, np.ndarray]):
    """Tensors by name, each read and widened to float32 when it is asked for.

    Nothing is kept: asking twice reads twice, so that a model in half precision is never wholly in memory here. Arrays
    are private to the process (a write into one does not reach the file).
    """

    def __init__(self, tensors: Mapping[str, StoredTensor], stored_names: Mapping[str, str] | None = None) -> None:
        """stored_names: what the file calls them, for messages, where that is something else."""
        self._tensors = dict(tensors)
        self._stored_names = stored_names or {}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[name].read()

    def stored(self, name: str) -> np.ndarray:
        """A tensor in float16 where the file holds that, else in float32."""
        return self._tensors[name].read_stored()

    @property
    def is_float16(self) -> bool:
        """Whether the file holds all tensors in float16."""
        return all(tensor.data.dtype == np.float16 for tensor in self._tensors.values())

    def check_finite(self, source: str) -> None:
        """Raise CheckpointError, naming `source` and the first tensor at fault, where a value is NaN or infinite."""
        faulty = [name for name, tensor in self._tensors.items() if not tensor.is_finite()]
        if not faulty:
            return
        with np.errstate(over="ignore"):
            values = self[faulty[0]]
        counts = {"NaN": np.count_nonzero(np.isnan(values)), "infinite": np.count_nonzero(np.isinf(values))}
        found = " and ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        others = f" (and {len(faulty) - 1} more tensors do)" if len(faulty) > 1 else ""
        raise CheckpointError(
            f"{source}: tensor {self._stored_names.get(faulty[0], faulty[0])} holds {found} of {values.size} values"
            f"{others}; download the file again, or, where the training went astray, take an earlier checkpoint"
        )

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def check_floating(path: Path, name: str, tensor: StoredTensor) -> None:
    """Raise CheckpointError where a tensor of a PyTorch file is of no floating type."""
    if not tensor.is_bfloat16 and tensor.data.dtype.kind != "f":
        raise CheckpointError(
            f"{path}: tensor {one_line(name)} is stored as torch.{tensor.data.dtype.name}; save the model in float32 or"
            " float16"
        )


def open_safetensors(path: Path) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """The tensors of a safetensors file, mapped into memory, and its metadata.

    The safetensors library checks the file; the arrays are our own views, because its NumPy interface copies and
    cannot give bfloat16. Raises CheckpointError where the file is damaged or a tensor is of no floating type.
    """
    try:
        with safe_open(path, framework="numpy") as checked:
            metadata = dict(checked.metadata() or {})
        mapped = np.memmap(path, dtype=np.uint8, mode="c")
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: truncated, or not a safetensors file ({one_line(error)}); download or copy it again"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({one_line(error)})") from None
    start = 8 + int.from_bytes(mapped[:8].tobytes(), "little")
    header = json.loads(mapped[8:start].tobytes())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in _STORED_DTYPES:
            raise CheckpointError(
                f"{path}: tensor {one_line(name)} is stored as {entry['dtype']}; save the model in float32, float16 or"
                " bfloat16, not quantized"
            )
        begin, end = entry["data_offsets"]
        data = np.asarray(mapped[start + begin : start + end]).view(_STORED_DTYPES[entry["dtype"]])
        tensors[name] = StoredTensor(data.reshape(entry["shape"]), is_bfloat16=entry["dtype"] == "BF16")
    return tensors, metadata
