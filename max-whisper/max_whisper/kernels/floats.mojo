"""Products of float32, 32 x 32 results at a time, like those of tiles.mojo.

Weights that were published as float16 (`weight` float16) or float32 are multiplied with float32. With AMX, which
multiplies bfloat16 only, a float32 is taken as the sum of three bfloat16: each is what is left of it rounded, and with 8
significant bits each they hold all 24. Of the nine products of the parts of two numbers the six largest are added up in
float32; the others are below 2^-24 of the whole, what rounding a float32 product may lose too (Henry, Tang and Heinecke
2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations"). A float16, with 11
significant bits, is the sum of two. The parts of 16 rows or columns over 32 values of the depth lie one after the other,
each a tile as tiles.mojo has it.

Otherwise a tile on the left has 16 values in each of its 16 lines, and on the right a line has 16 columns' values at the
same depth, float16 or float32.
"""

from std.memory import bitcast

from .amx import multiply_split, store_tiles
from .instructions import has_avx512
from .tiles import LINE, LINES, SIDE, TILE, Floats, load, product_beside, store, to_bfloat16, values_in_line
from .work import NoWork, RowWork, do_rows


@always_inline
def is_float[weight: DType]() -> Bool:
    """Whether products with such weights are of float32."""
    return weight == DType.float16 or weight == DType.float32


@always_inline
def is_split[instructions: StaticString, weight: DType]() -> Bool:
    """Whether values are sums of bfloat16."""
    return is_float[weight]() and instructions == "amx"


@always_inline
def parts_of[weight: DType]() -> Int:
    """How many bfloat16 a weight is the sum of."""
    return 2 if weight == DType.float16 else 3


@always_inline
def depth_of_tile[instructions: StaticString, weight: DType]() -> Int:
    """Values along the depth that a tile has, whatever the products are of."""
    comptime if is_float[weight]() and not is_split[instructions, weight]():
        return 16
    else:
        return values_in_line[weight]() if not is_float[weight]() else 32


@always_inline
def left_tile[instructions: StaticString, weight: DType]() -> Int:
    """Bytes of a tile on the left, with all of its parts."""
    return 3 * TILE if is_split[instructions, weight]() else TILE


@always_inline
def right_tile[instructions: StaticString, weight: DType]() -> Int:
    """Bytes of a tile on the right, with all of its parts."""
    comptime if is_split[instructions, weight]():
        return parts_of[weight]() * TILE
    else:
        return TILE // 2 if weight == DType.float16 else TILE


@always_inline
def any_product[
    instructions: StaticString, weight: DType
](rows: Int, left: Int, left_stride: Int, right: Int, right_stride: Int, steps: Int, result: Int):
    """`any_product_beside` with nothing beside it."""
    var none = NoWork()
    any_product_beside[instructions, weight](
        rows, left, left_stride, right, right_stride, steps, result, none, 0
    )


@always_inline
def any_product_beside[
    Work: RowWork, //, instructions: StaticString, weight: DType, *, adds: Bool = False
](
    rows: Int,
    left: Int,
    left_stride: Int,
    right: Int,
    right_stride: Int,
    steps: Int,
    result: Int,
    work: Work,
    work_rows: Int,
):
    """`product_beside`, also where weights are floats."""
    comptime if is_split[instructions, weight]():
        multiply_split[parts_of[weight](), adds](
            left, left_stride, right, right_stride, steps, result, work, work_rows
        )
        store_tiles(rows, result)
    elif is_float[weight]():
        _float_product[instructions, weight, adds](rows, left, left_stride, right, right_stride, steps, result)
        do_rows(work, 0, work_rows)
    else:
        product_beside[instructions, weight, adds=adds](
            rows, left, left_stride, right, right_stride, steps, result, work, work_rows
        )


@always_inline
def split[instructions: StaticString](values: Floats) -> Array[SIMD[DType.uint16, 16], 3]:
    """Three bfloat16, as their bits, whose sum is the value."""
    var parts = Array[SIMD[DType.uint16, 16], 3](fill=SIMD[DType.uint16, 16](0))
    var rest = values
    comptime for part in range(3):
        parts[part] = to_bfloat16[instructions](rest)
        rest -= bitcast[DType.float32, 16](parts[part].cast[DType.uint32]() << 16)
    return parts^


@always_inline
def _float_product[
    instructions: StaticString, weight: DType, adds: Bool
](rows: Int, left: Int, left_stride: Int, right: Int, right_stride: Int, steps: Int, result: Int):
    """As `product_beside` alone, over a depth of `steps` tiles."""
    # As many sums as registers hold: 32 of 16 floats, or of 4; with AVX2 16 of 8.
    comptime is_wide = has_avx512[instructions]()
    comptime most = 8 if is_wide else 4
    var row = 0
    while row < rows:
        var line = left + row // LINES * left_stride + row % LINES * LINE
        var target = result + row * SIDE * 4
        if rows - row >= most:
            _lines[weight, adds, most, 2 if is_wide else 1](line, right, right_stride, steps, target)
            row += most
        elif is_wide and rows - row >= 4:
            _lines[weight, adds, 4, 2](line, right, right_stride, steps, target)
            row += 4
        else:
            _lines[weight, adds, 1, 2](line, right, right_stride, steps, target)
            row += 1


@always_inline
def _lines[
    weight: DType, adds: Bool, rows: Int, halves: Int
](left: Int, right: Int, right_stride: Int, steps: Int, result: Int):
    """The product of a few rows, whose sums stay in registers: those of so many halves of the columns at a time.

    Each result is one sum in the order of the depth, so that it does not depend on the rows beside it: a batch gives every
    row what it gets alone.
    """
    comptime size = 2 if weight == DType.float16 else 4
    comptime for first in range(0, 2, halves):
        var sums = Array[Floats, rows * halves](fill=Floats(0))
        comptime if adds:
            comptime for row in range(rows):
                comptime for half in range(halves):
                    var place = result + row * SIDE * 4 + (first + half) * 64
                    sums[row * halves + half] = load[DType.float32, 16](place)
        for step in range(steps):
            for line in range(LINES):
                var weights = Array[Floats, halves](fill=Floats(0))
                comptime for half in range(halves):
                    var place = right + (first + half) * right_stride + (step * LINES + line) * 16 * size
                    weights[half] = load[weight, 16](place).cast[DType.float32]()
                comptime for row in range(rows):
                    var values = Floats(load[DType.float32, 1](left + row * LINE + step * TILE + line * 4))
                    comptime for half in range(halves):
                        sums[row * halves + half] = values.fma(weights[half], sums[row * halves + half])
        comptime for row in range(rows):
            comptime for half in range(halves):
                store[DType.float32, 16](result + row * SIDE * 4 + (first + half) * 64, sums[row * halves + half])
