"""Products of tiles with SIMD registers: the sums of a few rows and columns stay in them for the whole depth.

One register takes a part of a line on the right, the same 4 bytes of depth of some columns; another takes these 4 bytes of
a row on the left once for each column. What kinds of instructions differ in is how many columns those are, and what `_dot`
makes of two registers. Where there is no product of such small values they are widened, those on the left once a tile.
"""

from std.math import max, min
from std.memory import bitcast
from std.sys import CompilationTarget, inlined_assembly, llvm_intrinsic

from .arm import dot_arm, matrix_lines
from .instructions import has_avx2, has_avx512, has_avx512_bf16, has_vnni, is_arm, lanes_of
from .tiles import LINE, LINES, SIDE, TILE, load, store


@always_inline
def product_of_lines[
    instructions: StaticString, weight: DType, adds: Bool
](rows: Int, left: Int, left_stride: Int, right: Int, right_stride: Int, steps: Int, result: Int):
    """As `product_beside` in tiles.mojo, alone."""
    comptime lanes = lanes_of[instructions]()
    comptime vectors = 4 if is_arm[instructions]() else 2
    comptime most = _most_rows[instructions, weight]()
    for tile in range(0, rows, LINES):
        var stop = min(rows, tile + LINES)
        var row = tile
        while row < stop:
            var lines = left + tile // LINES * left_stride + row % LINES * LINE
            var target = result + row * SIDE * 4
            if instructions == "i8mm" and stop - row >= 8:
                comptime for column in range(0, SIDE, 8):
                    var columns = right + column // LINES * right_stride + column % LINES * 4
                    matrix_lines[weight, adds](lines, columns, steps, target + column * 4)
                row += 8
            elif stop - row >= most:
                comptime for column in range(0, SIDE, vectors * lanes):
                    _lines[instructions, weight, adds, most, vectors, column](lines, right, right_stride, steps, target)
                row += most
            elif stop - row >= 4:
                comptime for column in range(0, SIDE, vectors * lanes):
                    _lines[instructions, weight, adds, 4, vectors, column](lines, right, right_stride, steps, target)
                row += 4
            else:
                _lines[instructions, weight, adds, 1, SIDE // lanes, 0](lines, right, right_stride, steps, target)
                row += 1


@always_inline
def _most_rows[instructions: StaticString, weight: DType]() -> Int:
    """Rows whose sums in two registers each (Arm: four) and what they are made of fit into all registers."""
    comptime if has_avx512[instructions]():
        return 8
    elif has_avx2[instructions]() and not _is_widened[instructions, weight]():
        return 6
    else:
        return 4


@always_inline
def _is_widened[instructions: StaticString, weight: DType]() -> Bool:
    """Whether values are brought to twice their size before they are multiplied."""
    comptime if weight == DType.int8:
        return not has_vnni[instructions]() and not is_arm[instructions]()
    else:
        return not has_avx512_bf16[instructions]() and instructions != "i8mm"


@always_inline
def _lines[
    instructions: StaticString, weight: DType, adds: Bool, rows: Int, vectors: Int, column: Int
](left: Int, right: Int, right_stride: Int, steps: Int, result: Int):
    """The product of a few rows and of `vectors` registers of columns from `column` on."""
    comptime lanes = lanes_of[instructions]()
    comptime sum_type = DType.int32 if weight == DType.int8 else DType.float32
    comptime is_widened = _is_widened[instructions, weight]()
    comptime parts = 2 if is_widened else 1
    # One row's sums wait for each other; so lines take turns with several of them.
    comptime turns = max(1, 8 // vectors) if rows == 1 else 1
    comptime n_sums = rows * vectors
    comptime in_line = LINES // lanes
    var sums = Array[SIMD[sum_type, lanes], turns * n_sums](fill=SIMD[sum_type, lanes](0))
    comptime if adds:
        comptime for i in range(n_sums):
            comptime place = i // vectors * SIDE + column + i % vectors * lanes
            sums[i] = load[sum_type, lanes](result + place * 4)
    var widened = Array[SIMD[DType.int32, lanes], parts * rows * in_line](uninitialized=True)
    for k in range(steps):
        comptime if is_widened:
            comptime for i in range(rows * in_line):
                var values = load[DType.int32, lanes](left + k * TILE + i * lanes * 4)
                comptime for part in range(parts):
                    widened[part * rows * in_line + i] = _half[weight, part, lanes](values)
        for first in range(0, LINES, turns):
            comptime for turn in range(turns):
                var line = first + turn
                comptime for part in range(parts):
                    var weights = Array[SIMD[DType.int32, lanes], vectors](uninitialized=True)
                    comptime for vector in range(vectors):
                        comptime start = column + vector * lanes
                        var tile = right + start // LINES * right_stride + k * TILE
                        weights[vector] = load[DType.int32, lanes](tile + line * LINE + start % LINES * 4)
                        comptime if is_widened:
                            weights[vector] = _half[weight, part, lanes](weights[vector])
                    comptime for row in range(rows):
                        var lines = Int(widened.unsafe_ptr()) if is_widened else left + k * TILE
                        var value = load[DType.int32, 1](lines + (part * rows + row) * LINE + line * 4)
                        comptime for vector in range(vectors):
                            comptime place = turn * n_sums + row * vectors + vector
                            sums[place] = _dot[instructions, weight](
                                sums[place], SIMD[DType.int32, lanes](value), weights[vector]
                            )
    comptime for row in range(rows):
        comptime for vector in range(vectors):
            comptime place = row * vectors + vector
            var total = sums[place]
            comptime for turn in range(1, turns):
                total += sums[turn * n_sums + place]
            store[sum_type, lanes](result + (row * SIDE + column + vector * lanes) * 4, total)


@always_inline
def _half[
    weight: DType, part: Int, lanes: Int
](values: SIMD[DType.int32, lanes]) -> SIMD[DType.int32, lanes]:
    """The first or the second of each two values, widened: int8 to int16; bfloat16 to float32, whose upper half it is."""
    comptime if weight == DType.int8:
        var pairs = bitcast[DType.int16, 2 * lanes](values)
        return bitcast[DType.int32, lanes]((pairs << 8 if part == 0 else pairs) >> 8)
    else:
        return values << 16 if part == 0 else values & SIMD[DType.int32, lanes](-0x10000)


@always_inline
def _dot[
    instructions: StaticString, weight: DType, sum_type: DType, lanes: Int
](sums: SIMD[sum_type, lanes], left: SIMD[DType.int32, lanes], right: SIMD[DType.int32, lanes]) -> SIMD[
    sum_type, lanes
]:
    """Adds to each sum the product of 4 bytes on both sides, of widened values where the kind widens them."""
    comptime if is_arm[instructions]() and not _is_widened[instructions, weight]():
        return dot_arm[weight](sums, left, right)
    elif weight == DType.int8:
        return _dot_int8[instructions](sums, left, right)
    else:
        return _dot_bfloat16[instructions](sums, left, right)


@always_inline
def _dot_int8[
    instructions: StaticString, sum_type: DType, lanes: Int
](sums: SIMD[sum_type, lanes], left: SIMD[DType.int32, lanes], right: SIMD[DType.int32, lanes]) -> SIMD[
    sum_type, lanes
]:
    comptime if has_avx512[instructions]() and has_vnni[instructions]():
        return llvm_intrinsic["llvm.x86.avx512.vpdpbusd.512", SIMD[sum_type, lanes]](
            sums, bitcast[DType.uint8, 4 * lanes](left), bitcast[DType.int8, 4 * lanes](right)
        )
    elif has_vnni[instructions]():
        return inlined_assembly[
            "{vex} vpdpbusd $3, $2, $0", SIMD[sum_type, lanes], constraints="=x,0,x,x", has_side_effect=False
        ](sums, left, right)
    else:
        var values = bitcast[DType.int16, 2 * lanes](left)
        var weights = bitcast[DType.int16, 2 * lanes](right)
        comptime if CompilationTarget.is_x86():
            comptime wide = "llvm.x86.avx512.pmaddw.d.512" if lanes == 16 else "llvm.x86.avx2.pmadd.wd"
            comptime name = wide if lanes > 4 else "llvm.x86.sse2.pmadd.wd"
            return sums + llvm_intrinsic[name, SIMD[sum_type, lanes]](values, weights)
        else:
            var first = (left << 16 >> 16) * (right << 16 >> 16)
            return ((left >> 16) * (right >> 16) + first).cast[sum_type]() + sums


@always_inline
def _dot_bfloat16[
    instructions: StaticString, sum_type: DType, lanes: Int
](sums: SIMD[sum_type, lanes], left: SIMD[DType.int32, lanes], right: SIMD[DType.int32, lanes]) -> SIMD[
    sum_type, lanes
]:
    comptime if has_avx512_bf16[instructions]():
        # Not as an intrinsic: LLVM knows a CPU by its model, and a virtual one may have more than its model tells.
        return inlined_assembly[
            "vdpbf16ps $3, $2, $0", SIMD[sum_type, lanes], constraints="=v,0,v,v", has_side_effect=False
        ](sums, left, right)
    else:
        # Not `fma`, which is a call where a CPU has no such instruction.
        return bitcast[sum_type, lanes](left) * bitcast[sum_type, lanes](right) + sums
