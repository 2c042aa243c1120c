"""An operation's own memory: one block, allocated once, of which views are taken one after the other."""

from std.math import ceildiv, max
from std.memory import alloc
from std.sys import size_of

from .views import Bytes, View

comptime ALIGNMENT = 64  # bytes: a line of the cache, and the widest register


@fieldwise_init
struct Arena(Copyable):
    """A block of memory and how much of it has been taken.

    A layout is written once, as a function that takes views from an arena. `Arena.measure` has no memory: the same
    function run on it tells how large the block must be.
    """

    var bytes: Bytes
    var used: Int
    var measures: Bool

    @staticmethod
    def measure() -> Self:
        """One whose views must not be read; after a layout `used` is the size it takes."""
        return Self(Bytes.at(ALIGNMENT, 1, 0), 0, True)

    @staticmethod
    def allocate(size: Int) -> Self:
        """One of at least so many bytes, of unknown content; `free` gives them back."""
        var whole = max(1, ceildiv(size, ALIGNMENT)) * ALIGNMENT
        return Self(Bytes.at(Int(alloc[UInt8](whole, alignment=ALIGNMENT)), 1, whole), 0, False)

    @staticmethod
    def of(bytes: Bytes) -> Self:
        """One in memory that somebody else frees: a row of bytes."""
        return Self(bytes.row(0), 0, False)

    @always_inline
    def take[dtype: DType](mut self, rows: Int, columns: Int, *, gap: Int = 0) -> View[dtype]:
        """A view [rows, columns] with so many elements between its rows, aligned to 64 bytes."""
        comptime size = size_of[Scalar[dtype]]()
        var stride = columns + gap
        var start = self.used
        self.used += ceildiv(rows * stride * size, ALIGNMENT) * ALIGNMENT
        debug_assert(
            self.measures or self.used <= self.bytes.columns,
            "views of ",
            self.used,
            " bytes are taken from an arena of ",
            self.bytes.columns,
        )
        var place = self.bytes.data.unsafe_offset(start)
        return View[dtype](place.unsafe_bitcast[Scalar[dtype]](), rows, columns, stride)

    def free(self):
        """Give the block back; no view of it may be used any more."""
        self.bytes.data.unsafe_free()
