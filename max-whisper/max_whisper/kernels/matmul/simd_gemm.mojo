"""Blocks of C = A * B of int8 or bfloat16 with SIMD registers, in which accumulators stay for all of k.

One register takes a part of a row of a B tile: the same 4 bytes of k of some columns. Another takes these 4 bytes of a
row of A once for each lane. `dot` (instructions/x86_dots.mojo) multiplies and adds the two. The kinds of CPU differ in
how many columns a register has, and in whether values are widened first; those of A are widened once a tile. Called by
gemm.mojo.
"""

from std.math import max, min

from ..instructions.x86_dots import dot, is_widened, widened_half
from ..instructions.isa import Isa
from ..memory.views import Bytes, View, bytes_of
from .arm_gemm import matrix_block
from .tiles import BLOCK, PANEL, ROW_BYTES, TILE_BYTES


@always_inline
def simd_gemm[
    isa: Isa, weight: DType, accumulate: Bool
](rows: Int, a: Bytes, b: Bytes, k_tiles: Int, result: View[DType.float32]):
    """As `gemm`, without an epilogue."""
    comptime vectors = 4 if isa.has_dotprod else 2
    comptime most = _most_rows[isa, weight]()
    for panel in range(0, rows, PANEL):
        var stop = min(rows, panel + PANEL)
        var row = panel
        while row < stop:
            var start = row % PANEL * ROW_BYTES
            var a_rows = a.part(row // PANEL, start, 1, a.columns - start)
            var target = result.rows_from(row, BLOCK - row)
            if isa.has_i8mm and stop - row >= 8:
                comptime for column in range(0, BLOCK, 8):
                    var byte = column % PANEL * 4
                    var b_columns = b.part(column // PANEL, byte, 1, b.columns - byte)
                    matrix_block[weight, accumulate](a_rows, b_columns, k_tiles, target.columns_from(column, 8))
                row += 8
            elif stop - row >= most:
                comptime for column in range(0, BLOCK, vectors * isa.lanes):
                    _block[isa, weight, accumulate, most, vectors, column](a_rows, b, k_tiles, target)
                row += most
            elif stop - row >= 4:
                comptime for column in range(0, BLOCK, vectors * isa.lanes):
                    _block[isa, weight, accumulate, 4, vectors, column](a_rows, b, k_tiles, target)
                row += 4
            else:
                _block[isa, weight, accumulate, 1, BLOCK // isa.lanes, 0](a_rows, b, k_tiles, target)
                row += 1


@always_inline
def _most_rows[isa: Isa, weight: DType]() -> Int:
    """Rows whose accumulators in two registers each (Arm: four) and their operands fit into all registers."""
    comptime if isa.has_avx512:
        return 8
    elif isa.lanes == 8 and not is_widened[isa, weight]():
        return 6
    else:
        return 4


@always_inline
def _block[
    isa: Isa, weight: DType, accumulate: Bool, rows: Int, vectors: Int, column: Int
](a: Bytes, b: Bytes, k_tiles: Int, result: View[DType.float32]):
    """The product of rows, which begin at the first byte of `a`, and `vectors` registers from `column` on."""
    comptime lanes = isa.lanes
    comptime accumulator = DType.int32 if weight == DType.int8 else DType.float32
    comptime widens = is_widened[isa, weight]()
    comptime halves = 2 if widens else 1
    # One row's accumulators wait for each other; so rows of a B tile take turns with several of them.
    comptime turns = max(1, 8 // vectors) if rows == 1 else 1
    comptime count = rows * vectors
    comptime vectors_of_row = PANEL // lanes
    var target = result.bits[accumulator]()
    var accumulators = Array[SIMD[accumulator, lanes], turns * count](fill=SIMD[accumulator, lanes](0))
    comptime if accumulate:
        comptime for i in range(count):
            accumulators[i] = target.load[lanes](i // vectors, column + i % vectors * lanes)
    var widened = Array[SIMD[DType.int32, lanes], halves * rows * vectors_of_row](uninitialized=True)
    for k_tile in range(k_tiles):
        comptime if widens:
            comptime for i in range(rows * vectors_of_row):
                var values = a.load_as[DType.int32, lanes](0, k_tile * TILE_BYTES + i * lanes * 4)
                comptime for half in range(halves):
                    widened[half * rows * vectors_of_row + i] = widened_half[weight, half, lanes](values)
        for first in range(0, PANEL, turns):
            comptime for turn in range(turns):
                var tile_row = first + turn
                comptime for half in range(halves):
                    var weights = Array[SIMD[DType.int32, lanes], vectors](uninitialized=True)
                    comptime for vector in range(vectors):
                        comptime start = column + vector * lanes
                        var byte = k_tile * TILE_BYTES + tile_row * ROW_BYTES + start % PANEL * 4
                        weights[vector] = b.load_as[DType.int32, lanes](start // PANEL, byte)
                        comptime if widens:
                            weights[vector] = widened_half[weight, half, lanes](weights[vector])
                    comptime for row in range(rows):
                        var value: Int32
                        comptime if widens:
                            var values = bytes_of(widened.unsafe_ptr(), halves * rows * ROW_BYTES)
                            value = values.load_as[DType.int32, 1](0, (half * rows + row) * ROW_BYTES + tile_row * 4)
                        else:
                            value = a.load_as[DType.int32, 1](0, k_tile * TILE_BYTES + row * ROW_BYTES + tile_row * 4)
                        comptime for vector in range(vectors):
                            comptime i = turn * count + row * vectors + vector
                            accumulators[i] = dot[isa, weight](
                                accumulators[i], SIMD[DType.int32, lanes](value), weights[vector]
                            )
    comptime for row in range(rows):
        comptime for vector in range(vectors):
            comptime i = row * vectors + vector
            var total = accumulators[i]
            comptime for turn in range(1, turns):
                total += accumulators[turn * count + i]
            target.store(row, column + vector * lanes, total)
