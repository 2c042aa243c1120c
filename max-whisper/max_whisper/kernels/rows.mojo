"""Rows of float32 made ready for products: normalized, quantized and laid out as tiles."""

from std.math import round, sqrt
from std.sys import inlined_assembly, size_of

from .floats import depth_of_tile, is_float, is_split, left_tile, split
from .functions import larger, pack_words, smaller
from .instructions import has_avx512_bf16, zero_of_int8
from .tiles import LINE, LINES, TILE, Floats, load, store, to_bfloat16, values_in_line

comptime EPSILON = Float32(1e-5)  # PyTorch's, of layer normalization


@always_inline
def normalize(row: Int, width: Int, scale: Int, shift: Int, result: Int):
    """Layer normalization of one row: float32 [width] each, the width a multiple of 16."""
    var total = Floats(0)
    for i in range(0, width, 16):
        total += load[DType.float32, 16](row + 4 * i)
    var mean = total.reduce_add() / Float32(width)
    var squares = Floats(0)
    for i in range(0, width, 16):
        var difference = load[DType.float32, 16](row + 4 * i) - mean
        squares = difference.fma(difference, squares)
    var inverse = 1 / sqrt(squares.reduce_add() / Float32(width) + EPSILON)
    for i in range(0, width, 16):
        var normalized = (load[DType.float32, 16](row + 4 * i) - mean) * inverse
        var values = normalized.fma(load[DType.float32, 16](scale + 4 * i), load[DType.float32, 16](shift + 4 * i))
        store[DType.float32, 16](result + 4 * i, values)


@always_inline
def to_tiles[
    instructions: StaticString, weight: DType
](row: Int, depth: Int, tiles: Int, number: Int) -> SIMD[DType.float32, 2]:
    """Lay a row float32 [depth] out as row `number` of the left side's tiles; returns its step and its lowest value.

    For weights of int8 see `quantize`. For bfloat16 the values are rounded to that; for floats they are as floats.mojo has
    them. The depth is a multiple of 16; the last line is filled with zeros.
    """
    comptime if weight == DType.int8:
        var lowest = load[DType.float32, 16](row)
        var highest = lowest
        for i in range(16, depth, 16):
            var values = load[DType.float32, 16](row + 4 * i)
            lowest = smaller(lowest, values)
            highest = larger(highest, values)
        return quantize[instructions, DType.float32](
            row, depth, lowest.reduce_min(), highest.reduce_max(), tiles, number
        )
    else:
        comptime in_tile = depth_of_tile[instructions, weight]()
        comptime tile_size = left_tile[instructions, weight]()
        var steps = (depth + in_tile - 1) // in_tile
        var line = tiles + (number // LINES) * steps * tile_size + (number % LINES) * LINE
        for i in range(0, steps * in_tile, 16):
            var values = Floats(0)
            if i < depth:
                values = load[DType.float32, 16](row + 4 * i)
            var place = line + (i // in_tile) * tile_size
            comptime if is_float[weight]():
                store_floats[instructions](values, place, i % in_tile // 16)
            else:
                store[DType.uint16, 16](place + (i % in_tile) * 2, to_bfloat16[instructions](values))
        return SIMD[DType.float32, 2](1, 0)


@always_inline
def store_floats[instructions: StaticString](values: Floats, line: Int, half: Int):
    """16 values of a line on the left, as products of floats read them."""
    comptime if is_split[instructions, DType.float32]():
        var parts = split[instructions](values)
        comptime for part in range(3):
            store[DType.uint16, 16](line + part * TILE + half * 32, parts[part])
    else:
        store[DType.float32, 16](line, values)


@always_inline
def quantize[
    instructions: StaticString, source: DType
](row: Int, depth: Int, lowest: Float32, highest: Float32, tiles: Int, number: Int) -> SIMD[DType.float32, 2]:
    """As `to_tiles` for a row of values between two: 8 bits, 255 steps from the lowest to the highest.

    The bits are unsigned, or signed where the products on the left are of such (`zero_of_int8`). Returns the step and what
    a value of zero bits stands for: a value is about that + step * its 8 bits.
    """
    comptime is_signed = zero_of_int8[instructions]() == 0
    comptime in_line = values_in_line[DType.int8]()
    comptime size = size_of[Scalar[source]]()
    var steps = (depth + in_line - 1) // in_line
    var line = tiles + (number // LINES) * steps * TILE + (number % LINES) * LINE
    var factor = 255 / (highest - lowest) if highest > lowest else Float32(0)
    for i in range(0, steps * in_line, in_line):
        var values = Array[Floats, 4](fill=Floats(0))
        comptime for part in range(4):
            if i + part * 16 < depth:
                var some = load[source, 16](row + (i + part * 16) * size).cast[DType.float32]()
                values[part] = (some - lowest) * factor
        var bits = _to_bytes[instructions](values)
        comptime if is_signed:
            bits ^= 0x80  # less 128
        store[DType.uint8, 64](line + (i // in_line) * TILE, bits)
    var step = (highest - lowest) / 255
    return SIMD[DType.float32, 2](step, lowest + 128 * step if is_signed else lowest)


@always_inline
def _to_bytes[instructions: StaticString](values: Array[Floats, 4]) -> SIMD[DType.uint8, 64]:
    """Values from 0 to 255, rounded."""
    comptime if has_avx512_bf16[instructions]():
        var words = Array[SIMD[DType.uint16, 32], 2](fill=SIMD[DType.uint16, 32](0))
        comptime for i in range(2):
            words[i] = pack_words(values[2 * i], values[2 * i + 1])
        # Each quarter of the bytes has 4 of each of the values.
        var order = SIMD[DType.int32, 16](0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
        return inlined_assembly[
            "vpackuswb $2, $1, $0\nvpermd $0, $3, $0",
            SIMD[DType.uint8, 64],
            constraints="=&v,v,v,v",
            has_side_effect=False,
        ](words[0], words[1], order)
    else:
        var bytes = Array[SIMD[DType.uint8, 16], 4](fill=SIMD[DType.uint8, 16](0))
        comptime for i in range(4):
            bytes[i] = round(values[i]).cast[DType.int32]().cast[DType.uint8]()
        return bytes[0].join(bytes[1]).join(bytes[2].join(bytes[3]))
