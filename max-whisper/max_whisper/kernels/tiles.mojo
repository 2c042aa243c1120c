"""Matrix products of 32 x 32 results out of tiles of 1 KB, the one primitive on which the other kernels stand.

A tile is 16 lines of 64 bytes. On the left a line is a row's next 64 bytes along the depth: 64 values of 8 bits, or 32 of
16 bits. On the right a line belongs to the next 4 bytes of depth and holds them for 16 columns, one column after the
other. That is how AMX (amx.mojo) reads its operands, and AVX-512's dot products (VNNI, BF16) read the same lines one at a time.
"""

from std.memory import bitcast
from std.sys import inlined_assembly

from .amx import begin_tiles, end_tiles, multiply_tiles, store_tiles
from .dots import product_of_lines
from .instructions import has_avx512_bf16
from .work import RowWork, do_rows

comptime SIDE = 32  # rows and columns of a result
comptime LINE = 64  # bytes
comptime LINES = 16  # lines of a tile; rows or columns that one tile has
comptime TILE = LINE * LINES  # bytes

comptime Data[dtype: DType] = Pointer[Scalar[dtype], MutAnyOrigin]
comptime Floats = SIMD[DType.float32, 16]


@always_inline
def at[dtype: DType](address: Int) -> Data[dtype]:
    return Data[dtype](unsafe_from_address=address)


@always_inline
def load[dtype: DType, width: Int](address: Int) -> SIMD[dtype, width]:
    return at[dtype](address).unsafe_load[width=width]()


@always_inline
def store[dtype: DType, width: Int](address: Int, values: SIMD[dtype, width]):
    at[dtype](address).unsafe_store(values)


@always_inline
def store[dtype: DType, //](address: Int, value: Scalar[dtype]):
    at[dtype](address).unsafe_store(value)


@always_inline
def line_of(tiles: Int, row: Int, stride: Int) -> Int:
    """Where a row's first line is in tiles of 16 rows, `stride` bytes from those of 16 rows to those of the next."""
    return tiles + (row >> 4) * stride + (row & (LINES - 1)) * LINE


@always_inline
def values_in_line[weight: DType]() -> Int:
    """Values along the depth that a line on the left has."""
    return 64 if weight == DType.int8 else 32


@always_inline
def to_bfloat16[instructions: StaticString](values: Floats) -> SIMD[DType.uint16, 16]:
    """Values rounded to bfloat16, as their bits."""
    comptime if has_avx512_bf16[instructions]():
        return inlined_assembly[
            "vcvtneps2bf16 $1, $0", SIMD[DType.uint16, 16], constraints="=v,v", has_side_effect=False
        ](values)
    else:
        return bitcast[DType.uint16, 16](values.cast[DType.bfloat16]())


@always_inline
def begin_products[instructions: StaticString]():
    """What a thread does before its first product."""
    comptime if instructions == "amx":
        begin_tiles()


@always_inline
def end_products[instructions: StaticString]():
    """What a thread does after its last product."""
    comptime if instructions == "amx":
        end_tiles()


@always_inline
def product_beside[
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
    """The product of `rows` rows, at most 32, and 32 columns over a depth of `steps` lines, beside other work.

    weight int8: signed 8-bit values on the right, on the left too or unsigned ones (`zero_of_int8`), int32 sums.
    bfloat16: both sides, float32 sums. left_stride, right_stride: bytes from the tiles of 16 rows or columns to those of
    the next 16. result: [32, 32] of 32 bits, to which the product is added if it `adds`; rows from `rows` on have no
    meaning. The work, of so many rows, must not need the result.
    """
    comptime if instructions == "amx":
        multiply_tiles[weight, adds](rows, left, left_stride, right, right_stride, steps, result, work, work_rows)
        store_tiles(rows, result)
    else:
        product_of_lines[instructions, weight, adds](rows, left, left_stride, right, right_stride, steps, result)
        do_rows(work, 0, work_rows)
