"""A linear layer as functions with C's calling convention, for programs on another CPU than this one (linear.c)."""

from kernels.instructions.isa import Isa
from kernels.matmul.linear import Linear
from kernels.matmul.pack_rows import pack_row
from kernels.matmul.tiles import BLOCK
from kernels.memory.arena import Arena
from kernels.memory.views import Bytes, View
from std.sys.defines import get_defined_string

comptime isa = Isa.named[get_defined_string["instructions"]()]()


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
    """Up to 32 rows x float32 [rows, depth] -> result float32 [rows, columns]; memory for all."""
    var source = View[DType.float32].at(x, rows, depth)
    var target = View[DType.float32].at(result, rows, columns)
    var bytes = Bytes.at(parameters, 1, Linear[isa, weight].size(columns, depth))
    var linear = Linear[isa, weight].of(bytes, columns, depth)
    var size = 2 * linear.a_panel_bytes() + BLOCK * (BLOCK + 2) * 4
    var arena = Arena.of(Bytes.at(memory, 1, size))
    var a = arena.take[DType.uint8](2, linear.a_panel_bytes())
    var quantization = arena.take[DType.float32](BLOCK, 2)
    var block = arena.take[DType.float32](BLOCK, BLOCK)
    for row in range(rows):
        quantization.store(row, 0, pack_row[isa, weight](source.row(row), a, row))
    for column in range(0, columns, BLOCK):
        linear.results(rows, a, quantization, column, block)
        for row in range(rows):
            for i in range(0, BLOCK, 16):
                target.store(row, column + i, block.load[16](row, i))
