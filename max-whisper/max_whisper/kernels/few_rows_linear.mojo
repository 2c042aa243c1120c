"""A linear layer for few rows, reading its weights in the precision in which they are stored.

A decoder step multiplies one row (one for each beam or window of a batch) with every weight of the model, so it is bound
by the bytes of the weights. Published checkpoints hold float16; widening a float16 to float32 in a register is exact and
reads half of what the same weight kept as float32 would.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv

comptime WIDTH = 16  # float32 lanes that are worked on together
comptime ROWS = 4  # rows of x in one register tile
comptime COLUMNS = 4  # rows of the weight, which are columns of the result, in one register tile
comptime WEIGHTS_A_TASK = 1 << 17  # fewer are not worth waking another thread


@extensibility.register("few_rows_linear")
struct FewRowsLinear:
    """The product x @ weight.T in float32; the depth is a multiple of 16, as every width of Whisper is."""

    @staticmethod
    def execute[
        dtype: DType, //, target: StaticString
    ](
        result: OutputTensor[dtype=DType.float32, rank=2, ...],
        x: InputTensor[dtype=DType.float32, rank=2, ...],
        weight: InputTensor[dtype=dtype, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        var n_rows = x.shape()[0]
        var depth = x.shape()[1]
        var n_columns = weight.shape()[0]
        var x_data = x.unsafe_ptr()
        var weight_data = weight.unsafe_ptr()
        var result_data = result.unsafe_ptr()

        @always_inline
        def tile[rows: Int, columns: Int](row: Int, column: Int) {imm}:
            var sums = Array[SIMD[DType.float32, WIDTH], rows * columns](fill=SIMD[DType.float32, WIDTH](0))
            for k in range(0, depth, WIDTH):
                var weights = Array[SIMD[DType.float32, WIDTH], columns](fill=SIMD[DType.float32, WIDTH](0))
                comptime for j in range(columns):
                    weights[j] = (
                        weight_data.unsafe_offset((column + j) * depth + k)
                        .unsafe_load[width=WIDTH]()
                        .cast[DType.float32]()
                    )
                comptime for i in range(rows):
                    var values = x_data.unsafe_offset((row + i) * depth + k).unsafe_load[width=WIDTH]()
                    comptime for j in range(columns):
                        sums[i * columns + j] = values.fma(weights[j], sums[i * columns + j])
            comptime for i in range(rows):
                comptime for j in range(columns):
                    result_data.unsafe_offset((row + i) * n_columns + column + j).unsafe_store(
                        sums[i * columns + j].reduce_add()
                    )

        @always_inline
        def all_rows[columns: Int](column: Int) {imm}:
            var row = 0
            while row + ROWS <= n_rows:
                tile[ROWS, columns](row, column)
                row += ROWS
            while row < n_rows:
                tile[1, columns](row, column)
                row += 1

        var n_tiles = ceildiv(n_columns, COLUMNS)
        var n_tasks = max(1, min(parallelism_level(None), n_columns * depth // WEIGHTS_A_TASK))

        def task(number: Int) {imm}:
            for tile_number in range(n_tiles * number // n_tasks, n_tiles * (number + 1) // n_tasks):
                var column = tile_number * COLUMNS
                if column + COLUMNS <= n_columns:
                    all_rows[COLUMNS](column)
                else:
                    for last in range(column, n_columns):
                        all_rows[1](last)

        sync_parallelize(task, n_tasks)
