"""A block of C = A * B, 32 x 32 results, with whatever the kind of CPU has: the primitive that all products stand on.

The layout of A and B is in tiles.mojo. Called by linear.mojo and attention/.
"""

from ..instructions.isa import Isa
from ..memory.views import Bytes, View
from .amx_gemm import amx_gemm, amx_split_gemm
from .epilogue import Epilogue, NoEpilogue, apply_rows
from .float_gemm import float_gemm
from .simd_gemm import simd_gemm
from .tiles import a_tile_bytes, b_tile_bytes, is_float, is_split, parts_of


@always_inline
def gemm[
    E: Epilogue, //, isa: Isa, weight: DType, *, accumulate: Bool = False
](rows: Int, a: Bytes, b: Bytes, k_tiles: Int, result: View[DType.float32], epilogue: E, epilogue_rows: Int):
    """The product of `rows` rows, at most 32, and 32 columns, beside the epilogue of another block.

    a, b: two panels each [2, at least k_tiles tiles]. result: 32 bits [32, 32], int32 for weights of int8, float32 for
    others; rows from `rows` on have no meaning. accumulate: add the product to what is there. weight int8: signed 8-bit
    values of B; of A those of `Isa.a_zero_point`. bfloat16: A and B. float16, float32: float32 A. epilogue_rows: how
    many rows the epilogue has; it must not need this result.
    """
    debug_assert(rows >= 1 and rows <= 32 and k_tiles >= 1, "gemm of ", rows, " rows and ", k_tiles, " tiles of k")
    debug_assert(
        a.columns >= k_tiles * a_tile_bytes[isa, weight]() and a.rows == 2,
        "gemm: A has ",
        a.columns,
        " bytes in a panel for ",
        k_tiles,
        " tiles",
    )
    debug_assert(
        b.columns >= k_tiles * b_tile_bytes[isa, weight]() and b.rows == 2,
        "gemm: B has ",
        b.columns,
        " bytes in a panel for ",
        k_tiles,
        " tiles",
    )
    comptime if is_split[isa, weight]():
        amx_split_gemm[parts_of[weight](), accumulate](rows, a, b, k_tiles, result, epilogue, epilogue_rows)
    elif isa.has_amx:
        amx_gemm[weight, accumulate](rows, a, b, k_tiles, result, epilogue, epilogue_rows)
    elif is_float[weight]():
        float_gemm[isa, weight, accumulate](rows, a, b, k_tiles, result)
        apply_rows(epilogue, 0, epilogue_rows)
    else:
        simd_gemm[isa, weight, accumulate](rows, a, b, k_tiles, result)
        apply_rows(epilogue, 0, epilogue_rows)


@always_inline
def gemm[
    isa: Isa, weight: DType
](rows: Int, a: Bytes, b: Bytes, k_tiles: Int, result: View[DType.float32]):
    """The same with nothing beside it."""
    var none = NoEpilogue()
    gemm[isa, weight](rows, a, b, k_tiles, result, none, 0)
