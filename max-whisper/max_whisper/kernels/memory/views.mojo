"""Typed views of memory: the only place, beside the assembly of instructions/, that computes addresses.

    var x = view_of(tensor)                  # View[float32] [rows, columns] of a graph's tensor
    var values = x.load[16](row, column)     # 16 values of a row
    x.store(row, column, 2 * values)
    var corner = x.part(0, 0, 32, 32)        # the same memory, with bounds of its own
    var tokens = row_of(tensor)              # a tensor of one dimension, or any as one row
    tokens[i], tokens[i] = ...               # of a view of one row
    var line = tiles.load_as[DType.uint16, 32](row, byte)   # of bytes, as another type

Every access states its bounds by `debug_assert`. A product's build has none of them; a session with
`set_mojo_assert_level(AssertLevel.ALL)` compiles them in, and then an access outside its view ends the process with a
message. A view does not own its memory: whoever has allocated it (memory/arena.mojo), or the graph, frees it later.
"""

from extensibility import ManagedTensorSlice
from std.sys import size_of
from std.sys.defines import get_defined_string

comptime HAS_ASSERTS = get_defined_string["ASSERT", "none"]() == "all"
"""Whether a session has set `AssertLevel.ALL`."""
comptime Data[dtype: DType] = Pointer[Scalar[dtype], MutUntrackedOrigin]
comptime Bytes = View[DType.uint8]
"""Bytes [rows, columns]: tiles, packed parameters, caches."""


@fieldwise_init
struct View[dtype: DType](ImplicitlyCopyable):
    """A matrix [rows, columns] in memory, `stride` elements from one row to the next."""

    var data: Data[Self.dtype]
    var rows: Int
    var columns: Int
    var stride: Int

    @staticmethod
    @always_inline
    def at(address: Int, rows: Int, columns: Int) -> Self:
        """A matrix without gaps at an address: of memory just allocated, of an array, or given by C."""
        return Self(Data[Self.dtype](unsafe_from_address=address), rows, columns, columns)

    @staticmethod
    @always_inline
    def empty() -> Self:
        """A view of nothing, where there is none."""
        return Self.at(64, 0, 0)

    @always_inline
    def load[width: Int = 1](self, row: Int, column: Int) -> SIMD[Self.dtype, width]:
        """Values of a row from `column` on."""
        self._check(row, column, 1, width)
        return self.data.unsafe_offset(row * self.stride + column).unsafe_load[width=width]()

    @always_inline
    def store(self, row: Int, column: Int, values: SIMD[Self.dtype, _]):
        """Set values of a row from `column` on."""
        self._check(row, column, 1, len(values))
        self.data.unsafe_offset(row * self.stride + column).unsafe_store(values)

    @always_inline
    def __getitem__(self, column: Int) -> Scalar[Self.dtype]:
        """A value of a view of one row."""
        debug_assert(self.rows == 1, "an element by one index of a view of ", self.rows, " rows")
        return self.load(0, column)

    @always_inline
    def __setitem__(self, column: Int, value: Scalar[Self.dtype]):
        debug_assert(self.rows == 1, "an element by one index of a view of ", self.rows, " rows")
        self.store(0, column, value)

    @always_inline
    def part(self, row: Int, column: Int, rows: Int, columns: Int) -> Self:
        """The rows from `row` on, of these the columns from `column` on."""
        self._check(row, column, rows, columns)
        return Self(self.data.unsafe_offset(row * self.stride + column), rows, columns, self.stride)

    @always_inline
    def rows_from(self, row: Int, rows: Int) -> Self:
        """Whole rows."""
        return self.part(row, 0, rows, self.columns)

    @always_inline
    def row(self, row: Int) -> Self:
        """One row."""
        return self.part(row, 0, 1, self.columns)

    @always_inline
    def columns_from(self, column: Int, columns: Int) -> Self:
        """Some columns of all rows."""
        return self.part(0, column, self.rows, columns)

    @always_inline
    def reshaped(self, rows: Int, columns: Int) -> Self:
        """The first elements of memory without gaps as other rows, without gaps too."""
        debug_assert(self.stride == self.columns or self.rows <= 1, "a view with gaps between its rows is reshaped")
        debug_assert(rows * columns <= self.rows * self.columns, "reshaped to [", rows, ", ", columns, "]")
        return Self(self.data, rows, columns, columns)

    @always_inline
    def known[rows: Int, columns: Int](self) -> Self:
        """The same memory without gaps, with a shape that is known at compile time: places in it cost no product."""
        debug_assert(
            self.rows == rows and self.columns == columns and (self.stride == columns or rows <= 1),
            "a view is not [", rows, ", ", columns, "] without gaps",
        )
        return Self(self.data, rows, columns, columns)

    @always_inline
    def bits[other: DType](self) -> View[other]:
        """The same memory as values of another type."""
        comptime size = size_of[Scalar[Self.dtype]]()
        comptime other_size = size_of[Scalar[other]]()
        debug_assert(
            self.columns * size % other_size == 0 and (self.stride * size % other_size == 0 or self.rows <= 1),
            "rows of ",
            self.columns * size,
            " bytes, ",
            self.stride * size,
            " apart, as values of ",
            other_size,
        )
        return View[other](
            self.data.unsafe_bitcast[Scalar[other]](),
            self.rows,
            self.columns * size // other_size,
            self.stride * size // other_size,
        )

    @always_inline
    def load_as[other: DType, width: Int](self, row: Int, byte: Int) -> SIMD[other, width]:
        """Of bytes, values of another type from a byte of a row on."""
        comptime assert Self.dtype == DType.uint8, "a view of bytes is read as another type"
        self._check(row, byte, 1, width * size_of[Scalar[other]]())
        var place = self.data.unsafe_offset(row * self.stride + byte)
        return place.unsafe_bitcast[Scalar[other]]().unsafe_load[width=width]()

    @always_inline
    def store_as[other: DType, //](self, row: Int, byte: Int, values: SIMD[other, _]):
        """Of bytes, set values of another type from a byte of a row on."""
        comptime assert Self.dtype == DType.uint8, "a view of bytes is written as another type"
        self._check(row, byte, 1, len(values) * size_of[Scalar[other]]())
        var place = self.data.unsafe_offset(row * self.stride + byte)
        place.unsafe_bitcast[Scalar[other]]().unsafe_store(values)

    @always_inline
    def pointer(self, row: Int, column: Int) -> Data[Self.dtype]:
        """An element's place, for atomic operations."""
        self._check(row, column, 1, 1)
        return self.data.unsafe_offset(row * self.stride + column)

    def fill(self, value: Scalar[Self.dtype]):
        """Give every element a value."""
        for row in range(self.rows):
            for column in range(self.columns):
                self.store(row, column, value)

    @always_inline
    def address(self, row: Int = 0, column: Int = 0) -> Int:
        """Where an element lies, for the assembly of instructions/."""
        return Int(self.data.unsafe_offset(row * self.stride + column))

    @always_inline
    def _check(self, row: Int, column: Int, rows: Int, columns: Int):
        comptime if HAS_ASSERTS:
            if not (row >= 0 and row + rows <= self.rows and column >= 0 and column + columns <= self.columns):
                _fail(row, column, rows, columns, self.rows, self.columns)


@no_inline
def _fail(row: Int, column: Int, rows: Int, columns: Int, all_rows: Int, all_columns: Int):
    """An assert that does not hold: out of line, since its message is many times the code of an access."""
    debug_assert(
        False,
        "rows ",
        row,
        " to ",
        row + rows,
        " and columns ",
        column,
        " to ",
        column + columns,
        " of a view [",
        all_rows,
        ", ",
        all_columns,
        "]",
    )


@always_inline
def view_of[dtype: DType, rank: Int, //](tensor: ManagedTensorSlice[dtype=dtype, rank=rank, ...]) -> View[dtype]:
    """A graph's tensor as [product of the first dimensions, last dimension]."""
    var shape = tensor.shape()
    var rows = 1
    comptime for i in range(rank - 1):
        rows *= shape[i]
    var columns = shape[rank - 1]
    return View[dtype].at(Int(tensor.unsafe_ptr()), rows, columns)


@always_inline
def row_of[dtype: DType, rank: Int, //](tensor: ManagedTensorSlice[dtype=dtype, rank=rank, ...]) -> View[dtype]:
    """A graph's tensor as one row."""
    var view = view_of(tensor)
    return view.reshaped(1, view.rows * view.columns)


@always_inline
def bytes_of[type: AnyType, //](pointer: Pointer[type, _], size: Int) -> Bytes:
    """So many bytes of an array in a function's own memory, as one row."""
    return Bytes.at(Int(pointer), 1, size)
