"""Linear layers over tiles: weights as one block of memory, results 32 x 32 at a time."""

from .floats import any_product_beside, depth_of_tile, is_float, left_tile, right_tile
from .functions import gelu, gelu_float32
from .tiles import LINES, SIDE, TILE, Floats, load, store
from .work import NoWork, RowWork, do_rows


@fieldwise_init
struct ColumnParameters[weight: DType](Copyable):
    """What makes results of the sums of 32 columns, in two halves."""

    var bias: Array[Floats, 2]
    var factors: Array[Floats, 2]  # what the columns' weights are to be times
    var totals: Array[Floats, 2]  # of the columns' weights

    @always_inline
    def finish[half: Int](self, sums: Int, scale: Int) -> Floats:
        """The results of half a row, whose 32 sums and float32 [2] of `to_tiles` are there.

        With values that are lowest + step * bits, and weights that are factor * integer, a product's sum is step * factor
        * (the sum of bits times integers) + lowest * (the sum of the weights).
        """
        comptime if Self.weight == DType.int8:
            var whole = load[DType.int32, 16](sums + half * 64).cast[DType.float32]()
            var step = load[DType.float32, 1](scale)
            var lowest = Floats(load[DType.float32, 1](scale + 4))
            return whole.fma(self.factors[half] * step, lowest.fma(self.totals[half], self.bias[half]))
        else:
            return load[DType.float32, 16](sums + half * 64) + self.bias[half]


@always_inline
def gelu_rows[
    weight: DType, //, count: Int
](parameters: ColumnParameters[weight], sums: Int, scales: Int, first: Int) -> SIMD[DType.float32, 32 * count]:
    """The GELU of a linear layer's results for a few rows: of each its 32 columns."""
    var values = SIMD[DType.float32, 32 * count](0)
    comptime for i in range(2 * count):
        var row = first + i // 2
        values = values.insert[offset=i * 16](parameters.finish[i % 2](sums + row * SIDE * 4, scales + row * 8))
    return gelu_float32(values) if is_float[weight]() else gelu(values)


@fieldwise_init
struct FinishRows[weight: DType](Copyable, RowWork):
    """Makes results of a linear layer's sums, in their place."""

    var parameters: ColumnParameters[Self.weight]
    var sums: Int
    var scales: Int

    @always_inline
    def line(self, number: Int) -> Int:
        return self.sums + number * SIDE * 4

    comptime TOGETHER = 1

    @always_inline
    def rows[count: Int](self, first: Int):
        comptime for i in range(count):
            var line = self.line(first + i)
            comptime for half in range(2):
                var result = self.parameters.finish[half](line, self.scales + (first + i) * 8)
                store[DType.float32, 16](line + half * 64, result)


@fieldwise_init
struct Linear[instructions: StaticString, weight: DType](ImplicitlyCopyable):
    """A linear layer's parameters one after the other, as `pack_linear` (graphs/packing.py) writes them.

    bias float32 [columns]; for int8 what each column's weights are to be times, float32 [columns], and the sum of the
    weights after that, float32 [columns]; then the tiles.
    """

    var address: Int
    var columns: Int  # a multiple of 32
    var depth: Int

    @always_inline
    def steps(self) -> Int:
        """Tiles along the depth."""
        comptime in_tile = depth_of_tile[Self.instructions, Self.weight]()
        return (self.depth + in_tile - 1) // in_tile

    @always_inline
    def side_size(self) -> Int:
        """Bytes of 32 rows of tiles on the left."""
        return 2 * self.steps() * left_tile[Self.instructions, Self.weight]()

    @always_inline
    def panel_size(self) -> Int:
        """Bytes of 16 columns of tiles on the right."""
        return self.steps() * right_tile[Self.instructions, Self.weight]()

    @always_inline
    def tiles(self) -> Int:
        """Where the tiles begin."""
        comptime vectors = 3 if Self.weight == DType.int8 else 1
        return self.address + self.columns * 4 * vectors

    @always_inline
    def end(self) -> Int:
        """Where the parameters end."""
        return self.tiles() + self.columns // LINES * self.panel_size()

    @always_inline
    def block(self, rows: Int, left: Int, scales: Int, column: Int, result: Int):
        """Up to 32 rows of tiles times 32 columns from `column` on, plus bias: float32 [32, 32].

        scales: float32 [rows, 2], what `to_tiles` returned for each row.
        """
        var none = NoWork()
        self.product_beside(rows, left, column, 0, self.steps(), result, none, 0)
        do_rows(FinishRows(self.parameters(column), result, scales), 0, rows)

    @always_inline
    def product_beside[
        Work: RowWork, //
    ](
        self,
        rows: Int,
        left: Int,
        column: Int,
        first_step: Int,
        steps: Int,
        result: Int,
        work: Work,
        work_rows: Int,
    ):
        """Up to 32 rows of tiles times 32 columns from `column` on, [32, 32], beside so many rows of work.

        Of the depth it takes some of the steps, which the tiles on the left are of. `ColumnParameters.finish` makes results
        of these sums.
        """
        comptime left_size = left_tile[Self.instructions, Self.weight]()
        comptime right_size = right_tile[Self.instructions, Self.weight]()
        var tiles = self.tiles() + column // LINES * self.panel_size() + first_step * right_size
        any_product_beside[Self.instructions, Self.weight](
            rows, left, steps * left_size, tiles, self.panel_size(), steps, result, work, work_rows
        )

    @always_inline
    def parameters(self, column: Int) -> ColumnParameters[Self.weight]:
        """Those of the 32 columns from `column` on."""
        var bias = Array[Floats, 2](fill=Floats(0))
        var factors = Array[Floats, 2](fill=Floats(1))
        var totals = Array[Floats, 2](fill=Floats(0))
        comptime for half in range(2):
            var place = self.address + column * 4 + half * 64
            bias[half] = load[DType.float32, 16](place)
            comptime if Self.weight == DType.int8:
                factors[half] = load[DType.float32, 16](place + self.columns * 4)
                totals[half] = load[DType.float32, 16](place + self.columns * 8)
        return ColumnParameters[Self.weight](bias^, factors^, totals^)

    def weights_of(self, column: Int, result: Int):
        """The weights of one column: float32 [depth], the depth a multiple of 16; not of sums of bfloat16."""
        var panel = self.tiles() + column // LINES * self.panel_size()
        comptime if is_float[Self.weight]():
            comptime size = 2 if Self.weight == DType.float16 else 4
            for i in range(self.depth):
                var place = panel + (i * LINES + column % LINES) * size
                store(result + i * 4, load[Self.weight, 1](place).cast[DType.float32]())
            return
        comptime is_int8 = Self.weight == DType.int8
        comptime together = 4 if is_int8 else 2
        comptime in_line = depth_of_tile[Self.instructions, Self.weight]()
        var factor = Float32(1)
        comptime if is_int8:
            factor = load[DType.float32, 1](self.address + (self.columns + column) * 4)
        var tiles = panel + column % LINES * 4
        for i in range(0, self.depth, together):
            var place = tiles + i // in_line * TILE + i % in_line // together * 64
            var values = load[Self.weight, together](place).cast[DType.float32]() * factor
            store[DType.float32, together](result + i * 4, values)
