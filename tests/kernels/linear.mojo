"""A linear layer as functions with C's calling convention, for programs on another CPU than this one (linear.c)."""

from kernels.linear import Linear
from kernels.rows import to_tiles
from kernels.tiles import SIDE, load, store
from std.sys.defines import get_defined_string

comptime instructions = get_defined_string["instructions"]()


@export("linear_int8")
def linear_int8(rows: Int, columns: Int, depth: Int, x: Int, parameters: Int, memory: Int, result: Int) abi("C"):
    _linear[DType.int8](rows, columns, depth, x, parameters, memory, result)


@export("linear_bfloat16")
def linear_bfloat16(rows: Int, columns: Int, depth: Int, x: Int, parameters: Int, memory: Int, result: Int) abi("C"):
    _linear[DType.bfloat16](rows, columns, depth, x, parameters, memory, result)


@always_inline
def _linear[
    weight: DType
](rows: Int, columns: Int, depth: Int, x: Int, parameters: Int, memory: Int, result: Int):
    """Up to 32 rows x float32 [rows, depth] -> result float32 [rows, columns]; memory for tiles and 32 x 34 floats."""
    var linear = Linear[instructions, weight](parameters, columns, depth)
    var scales = memory + linear.side_size()
    var block = scales + SIDE * 8
    for row in range(rows):
        var scale = to_tiles[instructions, weight](x + row * depth * 4, depth, memory, row)
        store[DType.float32, 2](scales + row * 8, scale)
    for column in range(0, columns, SIDE):
        linear.block(rows, memory, scales, column, block)
        for row in range(rows):
            for i in range(0, SIDE, 16):
                var sums = load[DType.float32, 16](block + (row * SIDE + i) * 4)
                store[DType.float32, 16](result + (row * columns + column + i) * 4, sums)
