"""The pickle inside a PyTorch file, read by an interpreter that can only build plain values and tensors.

A pickle is a program for a stack machine. Python's own `pickle.Unpickler` with a narrowed `find_class` would run nearly
all of that program: it calls any object on the stack, sets attributes of any object (BUILD), calls `append`, `extend`
and `__setitem__` of any object, takes cached classes by number without asking `find_class` (EXT1), and makes room for
2**32 entries of its memo at one operation's word (LONG_BINPUT). So the machine here is our own, as PyTorch's is in
`torch/_weights_only_unpickler.py`, and is smaller than that one:

- It knows the operations of protocol 2 that `torch.save` writes. Every other one ends the reading.
- It imports nothing. A name in the file (GLOBAL) is looked up in the list of torch_allowed.py, which gives functions
  and markers of that module; a name that is not there ends the reading with `ForbiddenError`.
- It calls these functions alone (REDUCE), and each accepts arguments of the few forms that PyTorch writes.
- It changes lists, dictionaries and ordered dictionaries that it made itself, and nothing else. Keys are strings,
  numbers and flat tuples of these: the hash of a deeply nested tuple overflows C's stack.
- Its memory grows with the pickle's length. No operation reserves memory by a number in the file, and calls that copy
  their argument may together copy no more than has been read.
- What comes out holds no function, class or storage, no value inside itself, and at most `_MAX_NESTING` levels, so that
  `repr` and comparison of it are safe.
"""

import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable
from io import BytesIO

from max_whisper.models.files.torch_allowed import ForbiddenError, Function, StorageType, allowed, checked_key
from max_whisper.models.files.torch_storage import DamagedError, Storage

OpenStorage = Callable[[str, str, int], Storage]  # key, dtype, number of elements

_MAX_NESTING = 100
_NAMES = {operation.code.encode("latin-1"): operation.name for operation in pickletools.opcodes}  # for messages


def load_pickle(stream: BytesIO, open_storage: OpenStorage) -> object:
    """The value of the pickle at the stream's position; the stream is left behind its last byte.

    The value is made of dict, OrderedDict, list, tuple (torch.Size too), set, str, bytes, numbers, bool, None and
    StoredTensor. `torch.device` and `torch.dtype` become strings: "cuda:0", "torch.float16". A Parameter becomes its
    tensor. Raises ForbiddenError or DamagedError.
    """
    value = _Machine(stream, open_storage).run()
    _check_plain(value)
    return value


class _Machine:
    """The stack machine that runs one pickle."""

    def __init__(self, stream: BytesIO, open_storage: OpenStorage) -> None:
        self._stream = stream
        self._start = stream.tell()
        self._open_storage = open_storage
        self._stack: list[object] = []
        self._below_marks: list[list[object]] = []  # the stacks that MARK operations have set aside
        self._memo: dict[int, object] = {}
        self._copied = 0  # elements and characters that calls were given so far

    def run(self) -> object:
        try:
            while (operation := self._read(1)) != pickle.STOP:
                self._step(operation)
            return self._stack.pop()
        except (IndexError, KeyError):  # an empty stack, an unknown entry of the memo
            raise DamagedError("its pickle takes what is not there") from None
        except UnicodeError:
            raise DamagedError("its pickle has text that cannot be decoded") from None

    def _step(self, operation: bytes) -> None:
        stack = self._stack
        match operation:
            case pickle.BINPUT:
                self._memo[self._number(1)] = stack[-1]
            case pickle.LONG_BINPUT:
                self._memo[self._number(4)] = stack[-1]
            case pickle.BINGET:
                stack.append(self._memo[self._number(1)])
            case pickle.LONG_BINGET:
                stack.append(self._memo[self._number(4)])
            case pickle.BININT1:
                stack.append(self._number(1))
            case pickle.BININT2:
                stack.append(self._number(2))
            case pickle.BININT:
                stack.append(int.from_bytes(self._read(4), "little", signed=True))
            case pickle.LONG1:
                stack.append(int.from_bytes(self._read(self._number(1)), "little", signed=True))
            case pickle.BINFLOAT:
                stack.append(struct.unpack(">d", self._read(8))[0])
            case pickle.BINUNICODE:
                stack.append(self._read(self._number(4)).decode("utf-8", "surrogatepass"))
            case pickle.SHORT_BINSTRING:  # a string of Python 2
                stack.append(self._read(self._number(1)).decode())
            case pickle.NONE:
                stack.append(None)
            case pickle.NEWTRUE | pickle.NEWFALSE:
                stack.append(operation == pickle.NEWTRUE)
            case pickle.EMPTY_TUPLE:
                stack.append(())
            case pickle.EMPTY_LIST:
                stack.append([])
            case pickle.EMPTY_DICT:
                stack.append({})
            case pickle.MARK:
                self._below_marks.append(stack)
                self._stack = []
            case pickle.TUPLE:
                items = self._pop_mark()
                self._stack.append(tuple(items))
            case pickle.TUPLE1:
                stack.append(tuple(self._pop(1)))
            case pickle.TUPLE2:
                stack.append(tuple(self._pop(2)))
            case pickle.TUPLE3:
                stack.append(tuple(self._pop(3)))
            case pickle.APPEND:
                self._extend(self._pop(1))
            case pickle.APPENDS:
                self._extend(self._pop_mark())
            case pickle.SETITEM:
                self._set_items(self._pop(2))
            case pickle.SETITEMS:
                self._set_items(self._pop_mark())
            case pickle.GLOBAL:
                stack.append(allowed(self._line(), self._line()))
            case pickle.REDUCE:
                function, arguments = self._pop(2)
                stack.append(self._call(function, arguments))
            case pickle.BUILD:
                self._build(stack.pop())
            case pickle.BINPERSID:
                stack.append(self._storage(stack.pop()))
            case pickle.PROTO:
                self._read(1)
            case pickle.INST:
                raise ForbiddenError(f"{self._line()}.{self._line()}")
            case pickle.STACK_GLOBAL:
                raise ForbiddenError(".".join(part if isinstance(part, str) else "?" for part in self._pop(2)))
            case _:
                raise DamagedError(
                    f"its pickle has the operation {_NAMES.get(operation, operation)}, which torch.save does not write"
                )

    def _read(self, count: int) -> bytes:
        content = self._stream.read(count)
        if len(content) < count:
            raise DamagedError("its pickle has no end")
        return content

    def _number(self, count: int) -> int:
        """An unsigned number of this many bytes."""
        return int.from_bytes(self._read(count), "little")

    def _line(self) -> str:
        line = self._stream.readline()
        if not line.endswith(b"\n"):
            raise DamagedError("its pickle has no end")
        return line[:-1].decode()

    def _pop(self, count: int) -> list[object]:
        if len(self._stack) < count:
            raise IndexError
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def _pop_mark(self) -> list[object]:
        items = self._stack
        self._stack = self._below_marks.pop()
        return items

    def _extend(self, items: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise DamagedError(f"its pickle appends to a {type(target).__name__}")
        target.extend(items)

    def _set_items(self, items: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise DamagedError(f"its pickle sets items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def _call(self, function: object, arguments: object) -> object:
        if not isinstance(function, Function) or not isinstance(arguments, tuple):
            raise DamagedError(f"its pickle calls a {type(function).__name__}")
        self._copied += sum(len(part) for part in arguments if isinstance(part, str | list | tuple))
        if self._copied > self._stream.tell() - self._start:
            raise DamagedError("its pickle copies more than it holds")
        return function.call(arguments)

    def _build(self, state: object) -> None:
        """Attributes of an object: only those of a state dict (`_metadata`: versions of its layers), and not kept."""
        if not isinstance(self._stack[-1], OrderedDict) or not isinstance(state, dict):
            raise DamagedError(f"its pickle sets attributes of a {type(self._stack[-1]).__name__}")

    def _storage(self, identity: object) -> Storage:
        match identity:
            case ("storage", StorageType() as kind, str(key), str(), int(length), *view):
                storage = self._open_storage(key, kind.dtype, length)
            case _:
                raise DamagedError("its pickle refers to something that is not a storage")
        match view:
            case [] | [None]:
                return storage
            case [(str(), int(offset), int(part))]:  # legacy format
                return storage.part(offset, part)
        raise DamagedError("its pickle refers to an unknown view of a storage")


def _check_plain(root: object) -> None:
    """Refuse functions, classes and storages as values, values inside themselves and deep nesting.

    It does not recurse. The height of a container is known once those of its parts are, whichever way leads to them.
    """
    heights: dict[int, int] = {}  # by id; every container is alive as long as `root` is
    entered: set[int] = set()
    path = _containers([root])
    while path:
        value = path[-1]
        if id(value) in heights:
            path.pop()
            continue
        parts = _containers(value.values() if isinstance(value, dict) else value)
        if id(value) not in entered:
            entered.add(id(value))
            if any(id(part) in entered and id(part) not in heights for part in parts):
                raise DamagedError("it holds a value that contains itself")
            path.extend(parts)
            continue
        heights[id(value)] = 1 + max((heights[id(part)] for part in parts), default=0)
        if heights[id(value)] > _MAX_NESTING:
            raise DamagedError(f"its values are nested more than {_MAX_NESTING} deep")
        path.pop()


def _containers(values: Iterable[object]) -> list[dict | list | tuple | set]:
    """Those of `values` that hold others. Raises ForbiddenError at what is no plain value."""
    containers: list[dict | list | tuple | set] = []
    for value in values:
        if isinstance(value, Function | StorageType):
            raise ForbiddenError(value.name)
        if isinstance(value, Storage):
            raise ForbiddenError("torch.storage.TypedStorage")
        if isinstance(value, dict | list | tuple | set):
            containers.append(value)
    return containers
