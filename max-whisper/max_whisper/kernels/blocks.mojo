"""A linear layer for some rows, each product beside the work on the results of the one before."""

from std.math import ceildiv, min

from .attention import kind_of, pack_key
from .floats import left_tile
from .linear import FinishRows, Linear
from .tiles import LINES, SIDE
from .window_attention import pack_window_key
from .work import NoWork, RowWork, do_rows

comptime MOST_ROWS = 128  # that a task takes at once: each weight that is read serves all of them


@fieldwise_init
struct Blocks[instructions: StaticString, weight: DType](ImplicitlyCopyable):
    """The results of a linear layer for some rows, 32 x 32 at a time; those of the same columns follow each other."""

    var rows_in_all: Int
    var linear: Linear[Self.instructions, Self.weight]
    var tiles: Int  # of the rows
    var all_scales: Int  # float32 [rows, 2], what `to_tiles` returned for each row
    var places: Int  # [2, 32, 32], where sums come in turn
    var first_step: Int  # along the depth
    var steps: Int  # that the tiles are of

    @staticmethod
    def of(
        rows: Int, linear: Linear[Self.instructions, Self.weight], tiles: Int, scales: Int, places: Int
    ) -> Self:
        """Those over the whole depth."""
        return Self(rows, linear, tiles, scales, places, 0, linear.steps())

    @always_inline
    def sides(self) -> Int:
        """Blocks of 32 rows, the last one perhaps in part."""
        return ceildiv(self.rows_in_all, SIDE)

    @always_inline
    def count(self) -> Int:
        return self.linear.columns // SIDE * self.sides()

    @always_inline
    def column(self, number: Int) -> Int:
        return number // self.sides() * SIDE

    @always_inline
    def first(self, number: Int) -> Int:
        return number % self.sides() * SIDE

    @always_inline
    def rows(self, number: Int) -> Int:
        return min(SIDE, self.rows_in_all - self.first(number))

    @always_inline
    def sums(self, number: Int) -> Int:
        return self.places + number % 2 * SIDE * SIDE * 4

    @always_inline
    def scales(self, number: Int) -> Int:
        return self.all_scales + self.first(number) * 8

    @always_inline
    def multiply(self, number: Int):
        """A product, which no work is beside."""
        var none = NoWork()
        self.multiply_beside(number, none, 0)

    @always_inline
    def multiply_beside[Work: RowWork, //](self, number: Int, work: Work, rows: Int):
        """A product, if there is one of this number, and beside it so many rows of work."""
        if number < self.count():
            comptime tile = left_tile[Self.instructions, Self.weight]()
            var tiles = self.tiles + self.first(number) // LINES * self.steps * tile
            self.linear.product_beside(
                self.rows(number),
                tiles,
                self.column(number),
                self.first_step,
                self.steps,
                self.sums(number),
                work,
                rows,
            )
        else:
            do_rows(work, 0, rows)


@fieldwise_init
struct PackKeys[weight: DType, //, instructions: StaticString, *, for_window: Bool](RowWork):
    """Lays out results of a linear layer as one half of a head's width of keys, for attention to a window or of tokens."""

    var finished: FinishRows[Self.weight]
    var half: Int
    var position: Int  # of the first
    var keys: Int

    comptime TOGETHER = 1

    @always_inline
    def rows[count: Int](self, first: Int):
        comptime kind = kind_of[Self.weight]()
        self.finished.rows[count](first)
        comptime for i in range(count):
            var key, position = self.finished.line(first + i), self.position + first + i
            comptime if Self.for_window:
                pack_window_key[Self.instructions, kind](key, self.half, position, self.keys)
            else:
                pack_key[Self.instructions, kind](key, self.half, position, self.keys)
