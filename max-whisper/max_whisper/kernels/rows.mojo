"""Rows of float32 made ready for products: normalized, quantized and laid out as tiles."""

from std.math import fma, max, min, round, sqrt

from .instructions import zero_of_int8
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
def to_tiles[instructions: StaticString, weight: DType](row: Int, depth: Int, tiles: Int, number: Int) -> Float32:
    """Lay a row float32 [depth] out as row `number` of the left side's tiles; returns what its values are to be times.

    For weights of int8 the values are 127 times the row over its largest magnitude, rounded, from `zero_of_int8` on. For
    bfloat16 they are rounded to that. The depth is a multiple of 16; the last line is filled with zeros.
    """
    comptime in_line = values_in_line[weight]()
    var steps = (depth + in_line - 1) // in_line
    var line = tiles + (number // LINES) * steps * TILE + (number % LINES) * LINE
    comptime if weight == DType.int8:
        var magnitude = Floats(0)
        for i in range(0, depth, 16):
            magnitude = max(magnitude, abs(load[DType.float32, 16](row + 4 * i)))
        var largest = magnitude.reduce_max()
        var factor = 127 / largest if largest > 0 else Float32(0)
        for i in range(0, steps * in_line, 16):
            var values = Floats(0)
            if i < depth:
                values = load[DType.float32, 16](row + 4 * i)
            var quantized = (round(values * factor).cast[DType.int32]() + zero_of_int8[instructions]()).cast[DType.uint8]()
            store[DType.uint8, 16](line + (i // in_line) * TILE + i % in_line, quantized)
        return largest / 127
    else:
        for i in range(0, steps * in_line, 16):
            var values = Floats(0)
            if i < depth:
                values = load[DType.float32, 16](row + 4 * i)
            store[DType.uint16, 16](line + (i // in_line) * TILE + (i % in_line) * 2, to_bfloat16[instructions](values))
        return 1

