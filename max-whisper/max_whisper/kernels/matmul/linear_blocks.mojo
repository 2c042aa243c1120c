"""A linear layer for up to 128 rows, block by block, each product beside the epilogue of the block before.

Called by the encoder, its convolutions and cross-attention's keys and values: wherever many rows share each weight.
"""

from std.math import ceildiv, min

from ..instructions.isa import Isa
from ..memory.arena import Arena
from ..memory.views import Bytes, View
from .epilogue import Epilogue, NoEpilogue, apply_rows
from .linear import Linear
from .tiles import BLOCK, PANEL

comptime MOST_ROWS = 128  # that a task takes at once: each weight that is read serves all of them


def take_accumulators(mut arena: Arena) -> View[DType.float32]:
    """Memory for two blocks, in which products and epilogues take turns: [2, 32 * 32]."""
    return arena.take[DType.float32](2, BLOCK * BLOCK)


@fieldwise_init
struct LinearBlocks[isa: Isa, weight: DType](ImplicitlyCopyable):
    """The results of a linear layer for some rows, 32 x 32 at a time; those of the same columns follow each other."""

    var rows: Int
    var linear: Linear[Self.isa, Self.weight]
    var a: Bytes  # the rows, packed [panels, bytes of `k_tiles`]
    var quantization: View[DType.float32]  # [rows, 2], what `pack_row` returned for each row
    var accumulators: View[DType.float32]  # of `take_accumulators`
    var first_k_tile: Int
    var k_tiles: Int  # that `a` has

    @staticmethod
    def of(
        rows: Int,
        linear: Linear[Self.isa, Self.weight],
        a: Bytes,
        quantization: View[DType.float32],
        accumulators: View[DType.float32],
    ) -> Self:
        """The results of the whole of k."""
        return Self(rows, linear, a, quantization, accumulators, 0, linear.k_tiles())

    @always_inline
    def row_blocks(self) -> Int:
        """Blocks of 32 rows, the last one perhaps in part."""
        return ceildiv(self.rows, BLOCK)

    @always_inline
    def count(self) -> Int:
        return self.linear.out_features() // BLOCK * self.row_blocks()

    @always_inline
    def column(self, number: Int) -> Int:
        """A block's first column."""
        return number // self.row_blocks() * BLOCK

    @always_inline
    def row(self, number: Int) -> Int:
        """A block's first row."""
        return number % self.row_blocks() * BLOCK

    @always_inline
    def rows_of(self, number: Int) -> Int:
        """How many rows a block has."""
        return min(BLOCK, self.rows - self.row(number))

    @always_inline
    def block(self, number: Int) -> View[DType.float32]:
        """A block's accumulators [32, 32]."""
        return self.accumulators.row(number % 2).reshaped(BLOCK, BLOCK)

    @always_inline
    def quantization_of(self, number: Int) -> View[DType.float32]:
        """That of a block's rows."""
        return self.quantization.rows_from(self.row(number), self.rows_of(number))

    @always_inline
    def multiply(self, number: Int):
        """Multiply a block, with nothing beside it."""
        var none = NoEpilogue()
        self.multiply_beside(number, none, 0)

    @always_inline
    def multiply_beside[E: Epilogue, //](self, number: Int, epilogue: E, rows: Int):
        """Multiply a block, if there is one of this number, beside an epilogue of so many rows."""
        if number < self.count():
            self.linear.multiply(
                self.rows_of(number),
                self.a.rows_from(self.row(number) // PANEL, 2),
                self.column(number),
                self.first_k_tile,
                self.k_tiles,
                self.block(number),
                epilogue,
                rows,
            )
        else:
            apply_rows(epilogue, 0, rows)
