"""A linear layer for few rows, reading its weights in the precision in which they are stored.

result = x @ weight.T, in float32. A decoder step multiplies one row (one for each beam or window of a batch) with every
weight of the model, so it is bound by the bytes of the weights. Published checkpoints hold float16: widening a float16
to float32 in a register is exact and reads half of the bytes that the same weight kept as float32 would be.

graphs/layers.py calls this in the graphs of MAX's own operations.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min

from ..memory.views import view_of
from .checks import expect_equal, expect_multiple

comptime NAME = "few_rows_linear"
comptime LANES = 16  # float32 that are computed together
comptime ROWS = 4  # rows of x in one register tile
comptime COLUMNS = 4  # rows of the weight, which are columns of the result, in one register tile
comptime WEIGHTS_A_TASK = 1 << 17  # fewer are not worth waking another thread


@extensibility.register("few_rows_linear")
struct FewRowsLinear:
    """The product of x float32 [rows, k] and weight float16 or float32 [columns, k] -> float32 [rows, columns].

    k is a multiple of 16, as every width of Whisper is.
    """

    @staticmethod
    def execute[
        dtype: DType, //, target: StaticString
    ](
        result: OutputTensor[dtype=DType.float32, rank=2, ...],
        x: InputTensor[dtype=DType.float32, rank=2, ...],
        weight: InputTensor[dtype=dtype, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        comptime assert dtype == DType.float16 or dtype == DType.float32, "the weight is float16 or float32"
        var a = view_of(x)
        var b = view_of(weight)
        var c = view_of(result)
        var k = a.columns
        expect_multiple(NAME, "columns of x", k, LANES)
        expect_equal(NAME, "columns of weight", b.columns, k)
        expect_equal(NAME, "rows of the result", c.rows, a.rows)
        expect_equal(NAME, "columns of the result", c.columns, b.rows)

        @always_inline
        def multiply_tile[rows: Int, columns: Int](row: Int, column: Int) {imm}:
            var accumulators = Array[SIMD[DType.float32, LANES], rows * columns](fill=SIMD[DType.float32, LANES](0))
            for i in range(0, k, LANES):
                var weights = Array[SIMD[DType.float32, LANES], columns](fill=SIMD[DType.float32, LANES](0))
                comptime for n in range(columns):
                    weights[n] = b.load[LANES](column + n, i).cast[DType.float32]()
                comptime for m in range(rows):
                    var values = a.load[LANES](row + m, i)
                    comptime for n in range(columns):
                        accumulators[m * columns + n] = values.fma(weights[n], accumulators[m * columns + n])
            comptime for m in range(rows):
                comptime for n in range(columns):
                    c.store(row + m, column + n, accumulators[m * columns + n].reduce_add())

        @always_inline
        def multiply_columns[columns: Int](column: Int) {imm}:
            var row = 0
            while row + ROWS <= a.rows:
                multiply_tile[ROWS, columns](row, column)
                row += ROWS
            while row < a.rows:
                multiply_tile[1, columns](row, column)
                row += 1

        var n_tiles = ceildiv(b.rows, COLUMNS)
        var n_tasks = max(1, min(parallelism_level(None), b.rows * k // WEIGHTS_A_TASK))

        def multiply_tiles(task: Int) {imm}:
            for tile in range(n_tiles * task // n_tasks, n_tiles * (task + 1) // n_tasks):
                var column = tile * COLUMNS
                if column + COLUMNS <= b.rows:
                    multiply_columns[COLUMNS](column)
                else:
                    for last in range(column, b.rows):
                        multiply_columns[1](last)

        sync_parallelize(multiply_tiles, n_tasks)
