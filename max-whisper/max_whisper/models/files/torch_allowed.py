"""Everything that the pickle of a PyTorch file may name, and what is done in its place.

The names are those of `torch/_weights_only_unpickler.py` that weights and plain values need. Nothing is imported: a
name stands for a function or a marker of this module. A function accepts arguments of the few forms that PyTorch writes
and raises DamagedError at any others.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from max_whisper.models.files.tensors import StoredTensor
from max_whisper.models.files.torch_storage import DTYPES, DamagedError, Storage

_KEY_TYPES = (str, bytes, int, float, complex, type(None))  # bool is an int


class ForbiddenError(Exception):
    """The pickle asks for something that is not allowed; the text is its name, such as `os.system`."""


@dataclass(frozen=True, eq=False)
class Function:
    """An allowed function under the name that files know it by."""

    name: str
    call: Callable[[tuple[object, ...]], object]


@dataclass(frozen=True, eq=False)
class StorageType:
    """The class of a storage, which stands for the type of its elements."""

    name: str
    dtype: str


def checked_key(value: object) -> object:
    """`value`, where it may be a key of a dictionary or an element of a set."""
    parts = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(part, _KEY_TYPES) for part in parts):
        raise DamagedError(f"its pickle has a {type(value).__name__} as a key")
    return value


def allowed(module: str, name: str) -> object:
    """What a name in the file stands for."""
    if (module, name) not in _ALLOWED:
        raise ForbiddenError(f"{module}.{name}")
    return _ALLOWED[module, name]


def _wrong(name: str) -> DamagedError:
    return DamagedError(f"its pickle calls {name} with other arguments than torch.save writes")


def _ordered_dict(arguments: tuple[object, ...]) -> object:
    match arguments:
        case ():
            return OrderedDict()
        case (list(pairs),):  # Python 2
            items: OrderedDict[object, object] = OrderedDict()
            for pair in pairs:
                match pair:
                    case [key, value]:
                        items[checked_key(key)] = value
                    case _:
                        raise _wrong("collections.OrderedDict")
            return items
    raise _wrong("collections.OrderedDict")


def _set(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (list(items),):
            return {checked_key(item) for item in items}
    raise _wrong("set")


def _bytes(arguments: tuple[object, ...]) -> object:
    """Bytes, as protocol 2 spells them: `_codecs.encode(text, "latin1")`, and `bytes()` where there are none."""
    match arguments:
        case ():
            return b""
        case (str(text), "latin1"):
            return text.encode("latin-1")
    raise _wrong("_codecs.encode")


def _complex(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (float(real), float(imaginary)):
            return complex(real, imaginary)
    raise _wrong("complex")


def _size(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (tuple(lengths),) if all(isinstance(length, int) for length in lengths):
            return lengths
    raise _wrong("torch.Size")


def _device(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (str(kind),):
            return kind
        case (str(kind), int(index)):
            return f"{kind}:{index}"
    raise _wrong("torch.device")


def _rebuild_tensor(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (Storage() as storage, int(offset), tuple(size), tuple(stride)):
            return storage.tensor(storage.dtype, offset, size, stride)
    raise _wrong("torch._utils._rebuild_tensor")


def _rebuild_tensor_v2(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (storage, offset, size, stride, bool(), dict() | None, *metadata) if _is_plain(metadata):
            return _rebuild_tensor((storage, offset, size, stride))
    raise _wrong("torch._utils._rebuild_tensor_v2")


def _rebuild_tensor_v3(arguments: tuple[object, ...]) -> object:
    """A tensor of the types that came after typed storages, such as uint16."""
    match arguments:
        case (
            Storage() as storage,
            int(offset),
            tuple(size),
            tuple(stride),
            bool(),
            dict() | None,
            str(dtype),
            *metadata,
        ) if _is_plain(metadata) and dtype.removeprefix("torch.") in DTYPES:
            return storage.tensor(dtype.removeprefix("torch."), offset, size, stride)
    raise _wrong("torch._utils._rebuild_tensor_v3")


def _is_plain(metadata: list[object]) -> bool:
    """Whether a tensor is what its bits say: metadata mark one that is to be conjugated or negated when it is read."""
    return metadata in ([], [None], [{}])


def _rebuild_parameter(arguments: tuple[object, ...]) -> object:
    match arguments:
        case (StoredTensor() as tensor, bool(), dict() | None):
            return tensor
    raise _wrong("torch._utils._rebuild_parameter")


def _rebuild_parameter_with_state(arguments: tuple[object, ...]) -> object:
    """A Parameter with attributes that someone gave it; these are not kept."""
    return _rebuild_parameter(arguments[:3])


def _allowed_names() -> Iterator[tuple[tuple[str, str], object]]:
    """Everything that a pickle may name: module and name as GLOBAL has them, and what they stand for."""
    functions = {
        ("collections", "OrderedDict"): _ordered_dict,
        ("_codecs", "encode"): _bytes,
        ("__builtin__", "bytes"): _bytes,
        ("builtins", "bytes"): _bytes,
        ("__builtin__", "set"): _set,
        ("builtins", "set"): _set,
        ("__builtin__", "complex"): _complex,
        ("builtins", "complex"): _complex,
        ("torch", "Size"): _size,
        ("torch", "device"): _device,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
        ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter_with_state,
    }
    for name, function in functions.items():
        yield name, Function(".".join(name), function)
    storages = {
        ("torch", "HalfStorage"): "float16",
        ("torch", "BFloat16Storage"): "bfloat16",
        ("torch", "FloatStorage"): "float32",
        ("torch", "DoubleStorage"): "float64",
        ("torch", "CharStorage"): "int8",
        ("torch", "ShortStorage"): "int16",
        ("torch", "IntStorage"): "int32",
        ("torch", "LongStorage"): "int64",
        ("torch", "ByteStorage"): "uint8",
        ("torch", "BoolStorage"): "bool",
        ("torch", "ComplexFloatStorage"): "complex64",
        ("torch", "ComplexDoubleStorage"): "complex128",
        ("torch.storage", "UntypedStorage"): "uint8",
    }
    for name, dtype in storages.items():
        yield name, StorageType(".".join(name), dtype)
    for dtype in DTYPES:
        yield ("torch", dtype), f"torch.{dtype}"


_ALLOWED = dict(_allowed_names())
