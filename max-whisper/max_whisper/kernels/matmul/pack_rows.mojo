"""Rows of float32 made ready for products: normalized, quantized and packed as panels of A (tiles.mojo).

For weights of int8 a row is quantized by itself, dynamically: value = minimum + scale * q, q from 0 to 255. For
bfloat16 its values are rounded; for floats they are kept, as three bfloat16 where products are of these. Called by
every operation that has a linear layer.
"""

from std.math import sqrt

from ..instructions.elementwise import Floats, larger, pack_bytes, smaller, to_bfloat16
from ..instructions.isa import Isa
from ..memory.views import Bytes, View
from .bfloat16_parts import split
from .tiles import ROW_BYTES, TILE_BYTES, a_tile_bytes, is_float, is_split, panel_of, row_of_panel, tile_k

comptime EPSILON = Float32(1e-5)  # PyTorch's, of layer normalization


@always_inline
def layer_norm(row: View[DType.float32], gamma_beta: View[DType.float32], result: View[DType.float32]):
    """(row - mean) / sqrt(variance + 1e-5) * gamma + beta, each [1, width], the width a multiple of 16.

    gamma_beta: [2, width]. The result may be the row.
    """
    var width = row.columns
    var total = Floats(0)
    for i in range(0, width, 16):
        total += row.load[16](0, i)
    var mean = total.reduce_add() / Float32(width)
    var squares = Floats(0)
    for i in range(0, width, 16):
        var difference = row.load[16](0, i) - mean
        squares = difference.fma(difference, squares)
    var inverse = 1 / sqrt(squares.reduce_add() / Float32(width) + EPSILON)
    for i in range(0, width, 16):
        var normalized = (row.load[16](0, i) - mean) * inverse
        result.store(0, i, normalized.fma(gamma_beta.load[16](0, i), gamma_beta.load[16](1, i)))


@always_inline
def pack_row[
    isa: Isa, weight: DType
](row: View[DType.float32], tiles: Bytes, number: Int) -> SIMD[DType.float32, 2]:
    """Pack a row [1, k] as row `number` of panels of A; returns its scale and minimum, which are of use for int8 only.

    k is a multiple of 16; the last tile is filled up with zeros. tiles: [panels, tiles of k].
    """
    comptime if weight == DType.int8:
        var lowest = row.load[16](0, 0)
        var highest = lowest
        for i in range(16, row.columns, 16):
            var values = row.load[16](0, i)
            lowest = smaller(lowest, values)
            highest = larger(highest, values)
        return quantize_row[isa](row, lowest.reduce_min(), highest.reduce_max(), tiles, number)
    else:
        comptime k = tile_k[isa, weight]()
        comptime tile_bytes = a_tile_bytes[isa, weight]()
        var panel = panel_of(number)
        var start = row_of_panel(number) * ROW_BYTES
        for i in range(0, (row.columns + k - 1) // k * k, 16):
            var values = Floats(0)
            if i < row.columns:
                values = row.load[16](0, i)
            var byte = start + i // k * tile_bytes
            comptime if is_float[weight]():
                store_floats[isa](values, tiles, panel, byte, i % k // 16)
            else:
                tiles.store_as(panel, byte + i % k * 2, to_bfloat16[isa](values))
        return SIMD[DType.float32, 2](1, 0)


@always_inline
def store_floats[isa: Isa](values: Floats, tiles: Bytes, panel: Int, byte: Int, half: Int):
    """Store 16 values of float32 in a row of a tile of A, which begins at `byte`.

    half: with sums of bfloat16, of which a tile's row has 32 values, which half of it they are.
    """
    comptime if is_split[isa, DType.float32]():
        var parts = split[isa](values)
        comptime for part in range(3):
            tiles.store_as(panel, byte + part * TILE_BYTES + half * 32, parts[part])
    else:
        tiles.store_as(panel, byte, values)


@always_inline
def quantize_row[
    source: DType, //, isa: Isa
](row: View[source], minimum: Float32, maximum: Float32, tiles: Bytes, number: Int) -> SIMD[DType.float32, 2]:
    """Pack a row [1, k] of values from minimum to maximum as 8 bits: 255 steps from the one to the other.

    The bits are unsigned, or less 128 where A is signed (`Isa.a_zero_point`). Returns the scale, and the value that
    zero bits stand for: a value is about that + scale * its 8 bits.
    """
    comptime is_signed = isa.a_zero_point() == 0
    comptime k = tile_k[isa, DType.int8]()
    var panel = panel_of(number)
    var start = row_of_panel(number) * ROW_BYTES
    var factor = 255 / (maximum - minimum) if maximum > minimum else Float32(0)
    for i in range(0, (row.columns + k - 1) // k * k, k):
        var values = Array[Floats, 4](fill=Floats(0))
        comptime for part in range(4):
            if i + part * 16 < row.columns:
                var given = row.load[16](0, i + part * 16).cast[DType.float32]()
                values[part] = (given - minimum) * factor
        var bits = pack_bytes[isa](values)
        comptime if is_signed:
            bits ^= 0x80  # less 128
        tiles.store_as(panel, start + i // k * TILE_BYTES, bits)
    var scale = (maximum - minimum) / 255
    return SIMD[DType.float32, 2](scale, minimum + 128 * scale if is_signed else minimum)
