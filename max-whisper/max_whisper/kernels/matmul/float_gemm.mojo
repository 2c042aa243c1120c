"""Blocks of C = A * B of float32 with SIMD registers; B may be kept as float16. Called by gemm.mojo.

Each result is one sum in the order of k, so that it does not depend on the rows beside it: a batch gives every row what
it gets alone.
"""

from ..instructions.elementwise import Floats
from ..instructions.isa import Isa
from ..memory.views import Bytes, View
from .tiles import BLOCK, PANEL, ROW_BYTES, TILE_BYTES, b_tile_bytes


@always_inline
def float_gemm[
    isa: Isa, weight: DType, accumulate: Bool
](rows: Int, a: Bytes, b: Bytes, k_tiles: Int, result: View[DType.float32]):
    """As `gemm` of float32, without an epilogue."""
    # As many accumulators as registers hold: 32 of 16 floats, or of 4; with AVX2 16 of 8.
    comptime is_wide = isa.has_avx512
    comptime most = 8 if is_wide else 4
    var row = 0
    while row < rows:
        var start = row % PANEL * ROW_BYTES
        var a_rows = a.part(row // PANEL, start, 1, a.columns - start)
        var target = result.rows_from(row, BLOCK - row)
        if rows - row >= most:
            _block[isa, weight, accumulate, most, 2 if is_wide else 1](a_rows, b, k_tiles, target)
            row += most
        elif is_wide and rows - row >= 4:
            _block[isa, weight, accumulate, 4, 2](a_rows, b, k_tiles, target)
            row += 4
        else:
            _block[isa, weight, accumulate, 1, 2](a_rows, b, k_tiles, target)
            row += 1


@always_inline
def _block[
    isa: Isa, weight: DType, accumulate: Bool, rows: Int, halves: Int
](a: Bytes, b: Bytes, k_tiles: Int, result: View[DType.float32]):
    """The product of a few rows, which begin at the first byte of `a`, and 32 columns, `halves` of 16 at a time."""
    comptime tile_bytes = b_tile_bytes[isa, weight]()
    comptime for first in range(0, 2, halves):
        var accumulators = Array[Floats, rows * halves](fill=Floats(0))
        comptime if accumulate:
            comptime for row in range(rows):
                comptime for half in range(halves):
                    accumulators[row * halves + half] = result.load[16](row, (first + half) * 16)
        for k_tile in range(k_tiles):
            for tile_row in range(PANEL):
                var weights = Array[Floats, halves](fill=Floats(0))
                comptime for half in range(halves):
                    var byte = k_tile * tile_bytes + tile_row * (tile_bytes // PANEL)
                    weights[half] = b.load_as[weight, 16](first + half, byte).cast[DType.float32]()
                comptime for row in range(rows):
                    var value = a.load_as[DType.float32, 1](0, k_tile * TILE_BYTES + row * ROW_BYTES + tile_row * 4)
                    comptime for half in range(halves):
                        accumulators[row * halves + half] = Floats(value).fma(
                            weights[half], accumulators[row * halves + half]
                        )
        comptime for row in range(rows):
            comptime for half in range(halves):
                result.store(row, (first + half) * 16, accumulators[row * halves + half])
