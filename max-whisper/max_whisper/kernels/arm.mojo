"""Products of tiles with Arm's dot products (dotprod) and matrix products of 2 x 2 results (i8mm, bf16)."""

from std.sys import inlined_assembly

from .tiles import LINE, LINES, SIDE, TILE, load, store

comptime PAIRS = 4  # of rows, and of columns, whose sums stay in registers


# Instructions as text: LLVM knows a CPU by its model, and one that it does not know may have them all the same.


@always_inline
def dot_arm[
    weight: DType, sum_type: DType, lanes: Int
](sums: SIMD[sum_type, lanes], left: SIMD[DType.int32, lanes], right: SIMD[DType.int32, lanes]) -> SIMD[
    sum_type, lanes
]:
    """Adds to each sum the product of 4 bytes on both sides."""
    comptime int8_dot = ".arch_extension dotprod\nsdot $0.4s, $2.16b, $3.16b"
    comptime bfloat16_dot = ".arch_extension bf16\nbfdot $0.4s, $2.8h, $3.8h"
    return inlined_assembly[
        int8_dot if weight == DType.int8 else bfloat16_dot,
        SIMD[sum_type, lanes],
        constraints="=w,0,w,w",
        has_side_effect=False,
    ](sums, left, right)


@always_inline
def _matrix_dot[
    weight: DType, sum_type: DType
](sums: SIMD[sum_type, 4], left: SIMD[DType.int64, 2], right: SIMD[DType.int32, 4]) -> SIMD[sum_type, 4]:
    """Adds to the sums of 2 rows and 2 columns the products of 8 bytes of each."""
    comptime int8_dot = ".arch_extension i8mm\nsmmla $0.4s, $2.16b, $3.16b"
    comptime bfloat16_dot = ".arch_extension bf16\nbfmmla $0.4s, $2.8h, $3.8h"
    return inlined_assembly[
        int8_dot if weight == DType.int8 else bfloat16_dot,
        SIMD[sum_type, 4],
        constraints="=w,0,w,w",
        has_side_effect=False,
    ](sums, left, right)


@always_inline
def matrix_lines[weight: DType, adds: Bool](left: Int, right: Int, steps: Int, result: Int):
    """The product of 8 rows and 8 columns of the same tiles.

    Two lines on the right, interleaved, hold for each column the 8 bytes of depth that a matrix product takes.
    """
    comptime sum_type = DType.int32 if weight == DType.int8 else DType.float32
    var sums = Array[SIMD[sum_type, 4], PAIRS * PAIRS](fill=SIMD[sum_type, 4](0))
    comptime if adds:
        comptime for pair in range(PAIRS):
            comptime for quad in range(2):
                var place = result + 2 * pair * SIDE * 4 + quad * 16
                var one = load[sum_type, 4](place)
                var other = load[sum_type, 4](place + SIDE * 4)
                comptime for i in range(2):
                    sums[pair * PAIRS + 2 * quad + i] = one.slice[2, offset = 2 * i]().join(
                        other.slice[2, offset = 2 * i]()
                    )
    for k in range(steps):
        for line in range(0, LINES, 4):
            var rows = Array[SIMD[DType.int64, 2], 2 * PAIRS](uninitialized=True)
            comptime for row in range(2 * PAIRS):
                rows[row] = load[DType.int64, 2](left + k * TILE + row * LINE + line * 4)
            comptime for half in range(2):
                var columns = Array[SIMD[DType.int32, 4], PAIRS](uninitialized=True)
                comptime for quad in range(2):
                    var place = right + k * TILE + (line + 2 * half) * LINE + quad * 16
                    var both = load[DType.int32, 4](place).interleave(load[DType.int32, 4](place + LINE))
                    comptime for i in range(2):
                        columns[2 * quad + i] = both.slice[4, offset = 4 * i]()
                comptime for pair in range(PAIRS):
                    var values = SIMD[DType.int64, 2](rows[2 * pair][half], rows[2 * pair + 1][half])
                    comptime for column in range(PAIRS):
                        comptime i = pair * PAIRS + column
                        sums[i] = _matrix_dot[weight](sums[i], values, columns[column])
    comptime for pair in range(PAIRS):
        comptime for quad in range(2):
            var one = sums[pair * PAIRS + 2 * quad]
            var other = sums[pair * PAIRS + 2 * quad + 1]
            comptime for row in range(2):
                var place = result + (2 * pair + row) * SIDE * 4 + quad * 16
                store[sum_type, 4](place, one.slice[2, offset = 2 * row]().join(other.slice[2, offset = 2 * row]()))
