"""Results [8, 8] of int8 or bfloat16 with Arm's products of 2 x 2 results (i8mm, bf16). See simd_gemm.mojo."""

from ..instructions.arm import matrix_dot
from ..memory.views import Bytes, View
from .tiles import PANEL, ROW_BYTES, TILE_BYTES

comptime PAIRS = 4  # of rows, and of columns, whose accumulators stay in registers


@always_inline
def matrix_block[
    weight: DType, accumulate: Bool
](a: Bytes, b: Bytes, k_tiles: Int, result: View[DType.float32]):
    """The product of 8 rows and 8 columns, which begin at the first byte of `a` and `b`: 32 bits [8, 8].

    Two rows of a B tile, interleaved, hold for each column the 8 bytes of k that a matrix product takes.
    """
    comptime accumulator = DType.int32 if weight == DType.int8 else DType.float32
    var target = result.bits[accumulator]()
    var accumulators = Array[SIMD[accumulator, 4], PAIRS * PAIRS](fill=SIMD[accumulator, 4](0))
    comptime if accumulate:
        comptime for pair in range(PAIRS):
            comptime for quad in range(2):
                var one = target.load[4](2 * pair, quad * 4)
                var other = target.load[4](2 * pair + 1, quad * 4)
                comptime for i in range(2):
                    accumulators[pair * PAIRS + 2 * quad + i] = one.slice[2, offset = 2 * i]().join(
                        other.slice[2, offset = 2 * i]()
                    )
    for k_tile in range(k_tiles):
        var tile = k_tile * TILE_BYTES
        for tile_row in range(0, PANEL, 4):
            var rows = Array[SIMD[DType.int64, 2], 2 * PAIRS](uninitialized=True)
            comptime for row in range(2 * PAIRS):
                rows[row] = a.load_as[DType.int64, 2](0, tile + row * ROW_BYTES + tile_row * 4)
            comptime for half in range(2):
                var columns = Array[SIMD[DType.int32, 4], PAIRS](uninitialized=True)
                comptime for quad in range(2):
                    var byte = tile + (tile_row + 2 * half) * ROW_BYTES + quad * 16
                    var one = b.load_as[DType.int32, 4](0, byte)
                    var both = one.interleave(b.load_as[DType.int32, 4](0, byte + ROW_BYTES))
                    comptime for i in range(2):
                        columns[2 * quad + i] = both.slice[4, offset = 4 * i]()
                comptime for pair in range(PAIRS):
                    var values = SIMD[DType.int64, 2](rows[2 * pair][half], rows[2 * pair + 1][half])
                    comptime for column in range(PAIRS):
                        comptime i = pair * PAIRS + column
                        accumulators[i] = matrix_dot[weight](accumulators[i], values, columns[column])
    comptime for pair in range(PAIRS):
        comptime for quad in range(2):
            var one = accumulators[pair * PAIRS + 2 * quad]
            var other = accumulators[pair * PAIRS + 2 * quad + 1]
            comptime for row in range(2):
                target.store(
                    2 * pair + row, quad * 4, one.slice[2, offset = 2 * row]().join(other.slice[2, offset = 2 * row]())
                )
