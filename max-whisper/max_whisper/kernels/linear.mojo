"""Linear layers over tiles: weights as one block of memory, results 32 x 32 at a time."""

from .instructions import zero_of_int8
from .rows import to_tiles
from .tiles import LINES, SIDE, TILE, Floats, load, product, store, values_in_line


@fieldwise_init
struct Linear[instructions: StaticString, weight: DType](ImplicitlyCopyable):
    """A linear layer's parameters one after the other, as `pack_linear` (graphs/packing.py) writes them.

    bias float32 [columns]; for int8 what each column's sums are to be times, float32 [columns], and what is to be taken
    from them first where values on the left are 128 too large (`zero_of_int8`), int32 [columns]; then the tiles.
    """

    var address: Int
    var columns: Int  # a multiple of 32
    var depth: Int

    @always_inline
    def steps(self) -> Int:
        """Lines of 64 bytes along the depth."""
        comptime in_line = values_in_line[Self.weight]()
        return (self.depth + in_line - 1) // in_line

    @always_inline
    def side_size(self) -> Int:
        """Bytes of 32 rows of tiles on the left."""
        return 2 * self.steps() * TILE

    @always_inline
    def tiles(self) -> Int:
        """Where the tiles begin."""
        comptime vectors = 3 if Self.weight == DType.int8 else 1
        return self.address + self.columns * 4 * vectors

    @always_inline
    def end(self) -> Int:
        """Where the parameters end."""
        return self.tiles() + self.columns // LINES * self.steps() * TILE

    @always_inline
    def block(self, rows: Int, left: Int, scales: Int, column: Int, result: Int):
        """Up to 32 rows of tiles times 32 columns from `column` on, plus bias: float32 [32, 32].

        scales: float32 [rows], what `to_tiles` returned for each row.
        """
        comptime is_int8 = Self.weight == DType.int8
        comptime sum_type = DType.int32 if is_int8 else DType.float32
        var steps = self.steps()
        var bias = self.address + column * 4
        var tiles = self.tiles() + column // LINES * steps * TILE
        product[Self.instructions, Self.weight](rows, left, steps * TILE, tiles, steps * TILE, steps, result)
        comptime for half in range(2):
            var added = load[DType.float32, 16](bias + half * 64)
            var factors = Floats(1)
            var excess = SIMD[DType.int32, 16](0)
            comptime if is_int8:
                factors = load[DType.float32, 16](bias + self.columns * 4 + half * 64)
            comptime if is_int8 and zero_of_int8[Self.instructions]() != 0:
                excess = load[DType.int32, 16](bias + self.columns * 8 + half * 64)
            for row in range(rows):
                var place = result + row * SIDE * 4 + half * 64
                var sums = load[sum_type, 16](place)
                comptime if is_int8:
                    var whole = (sums.cast[DType.int32]() - excess).cast[DType.float32]()
                    var factor = factors * load[DType.float32, 1](scales + row * 4)
                    store[DType.float32, 16](place, whole.fma(factor, added))
                else:
                    store[DType.float32, 16](place, sums.cast[DType.float32]() + added)

    def weights_of(self, column: Int, result: Int):
        """The weights of one column: float32 [depth], the depth a multiple of 16."""
        comptime is_int8 = Self.weight == DType.int8
        comptime together = 4 if is_int8 else 2
        comptime in_line = values_in_line[Self.weight]()
        var factor = Float32(1)
        comptime if is_int8:
            factor = load[DType.float32, 1](self.address + (self.columns + column) * 4)
        var tiles = self.tiles() + column // LINES * self.steps() * TILE + column % LINES * 4
        for i in range(0, self.depth, together):
            var place = tiles + i // in_line * TILE + i % in_line // together * 64
            var values = load[Self.weight, together](place).cast[DType.float32]() * factor
            store[DType.float32, together](result + i * 4, values)
