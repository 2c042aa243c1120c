"""What a step of the decoder is given: tokens of hypotheses of windows, and where their texts lie in the caches."""

from std.math import ceildiv, max

from ..attention.packing import HEAD
from ..matmul.tiles import BLOCK
from ..memory.views import View
from .checks import expect_equal, expect_multiple, expect_range


@fieldwise_init
struct DecoderBatch(ImplicitlyCopyable):
    """`length` tokens for each of `beams` hypotheses of each window: rows [windows, beams].

    The caches have `slots` rows for each of their windows. A batch of as many beams as slots writes to all of them. A
    batch of one beam writes to the first slot; others of its window, if there are any, may go on from it later.
    """

    var windows: Int
    var beams: Int
    var slots: Int
    var length: Int
    var width: Int
    var cache_length: Int  # tokens that the caches hold before
    var padding: View[DType.int64]  # [1, windows of the caches], how many of the first tokens stand for nothing
    var active: View[DType.int64]  # [1, at least windows], which of the caches' windows each of the batch's is
    var cache_indirection: View[DType.uint16]  # [windows of the caches * slots, capacity]; not read with one slot

    @always_inline
    def rows(self) -> Int:
        """Hypotheses of all windows."""
        return self.windows * self.beams

    @always_inline
    def tokens(self) -> Int:
        return self.rows() * self.length

    @always_inline
    def heads(self) -> Int:
        return self.width // HEAD

    @always_inline
    def end(self) -> Int:
        """Tokens that the caches hold after the step."""
        return self.cache_length + self.length

    @always_inline
    def cached_window(self, window: Int) -> Int:
        """Which window of the caches one of the batch's is."""
        return Int(self.active[window])

    @always_inline
    def slot(self, row: Int) -> Int:
        """The row of the caches that a row of the batch writes to."""
        return self.cached_window(row // self.beams) * self.slots + row % self.beams

    @always_inline
    def first_visible(self, window: Int) -> Int:
        """The first position of a window that is no padding."""
        return Int(self.padding[self.cached_window(window)])

    def check(self, operation: StaticString, cache_rows: Int, cache_positions: Int) raises:
        """Raise an error unless the caches, of so many rows and positions, have room for what the batch names."""
        var windows = self.padding.columns  # of the caches
        expect_range(operation, "windows", self.windows, 1, windows)
        expect_range(operation, "tokens of a hypothesis", self.length, 1, cache_positions)
        expect_range(operation, "cache_length", self.cache_length, 0, cache_positions - self.length)
        if self.beams != 1:
            expect_equal(operation, "beams", self.beams, self.slots)
        expect_equal(operation, "rows of the caches", cache_rows, windows * self.slots)
        for window in range(windows):
            expect_range(operation, "padding of a window", Int(self.padding[window]), 0, cache_positions)
        if self.slots > 1:
            self._check_indirection(operation)

    def _check_indirection(self, operation: StaticString) raises:
        """As `check`, of the slots that the cache indirection names for the positions that are read."""
        var positions = ceildiv(self.end(), BLOCK) * BLOCK
        var table = self.cache_indirection
        expect_equal(operation, "rows of cache_indirection", table.rows, self.padding.columns * self.slots)
        expect_multiple(operation, "positions of cache_indirection", table.columns, BLOCK)
        expect_range(operation, "positions of cache_indirection", table.columns, positions, 1 << 20)
        for row in range(table.rows):
            var largest = SIMD[DType.uint16, 32](0)
            for position in range(0, positions, BLOCK):
                largest = max(largest, table.load[32](row, position))
            expect_range(operation, "a slot in cache_indirection", Int(largest.reduce_max()), 0, self.slots - 1)
