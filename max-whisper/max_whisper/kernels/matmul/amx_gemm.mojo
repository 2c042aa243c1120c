"""Blocks of C = A * B by AMX, with an epilogue's rows between its instructions.

Accumulators are tiles 0 and 1 for rows 0 to 15 of the block, 2 and 3 for rows 16 to 31. No two
products in a row go into the same tile, because the second would wait for the first. Called by gemm.mojo and
attention/window.mojo.
"""

from ..instructions.amx import (
    BLOCK,
    ROW_BYTES,
    TILE_BYTES,
    TILE_ROWS,
    TileOperands,
    load_results,
    store_results,
    store_right_results,
    zero_results,
)
from ..memory.views import Bytes, View
from .epilogue import Epilogue, apply_rows


@always_inline
def amx_gemm[
    E: Epilogue, //, weight: DType, accumulate: Bool
](rows: Int, a: Bytes, b: Bytes, k_tiles: Int, result: View[DType.float32], epilogue: E, epilogue_rows: Int):
    """As `gemm` of int8 or bfloat16."""
    comptime dot = "tdpbusd " if weight == DType.int8 else "tdpbf16ps "
    if rows > TILE_ROWS:
        comptime instructions: Array[StaticString, 4] = [
            "tileloadd ($0,$4,1), %tmm4\ntileloadd ($2,$4,1), %tmm6\n" + dot + "%tmm6, %tmm4, %tmm0",
            "tileloadd ($1,$4,1), %tmm5\n" + dot + "%tmm6, %tmm5, %tmm2",
            "tileloadd ($3,$4,1), %tmm7\n" + dot + "%tmm7, %tmm4, %tmm1",
            dot + "%tmm7, %tmm5, %tmm3",
        ]
        _begin[4, accumulate](result)
        _run[instructions, TILE_BYTES, TILE_BYTES, False](TileOperands.of(a, b), k_tiles, epilogue, epilogue_rows)
    else:
        comptime instructions: Array[StaticString, 2] = [
            "tileloadd ($0,$4,1), %tmm4\ntileloadd ($2,$4,1), %tmm6\n" + dot + "%tmm6, %tmm4, %tmm0",
            "tileloadd ($3,$4,1), %tmm7\n" + dot + "%tmm7, %tmm4, %tmm1",
        ]
        _begin[2, accumulate](result)
        _run[instructions, TILE_BYTES, TILE_BYTES, False](
            TileOperands.of(a.row(0), b), k_tiles, epilogue, epilogue_rows
        )
    store_results(rows, result)


@always_inline
def amx_split_gemm[
    E: Epilogue, //, parts: Int, accumulate: Bool
](rows: Int, a: Bytes, b: Bytes, k_tiles: Int, result: View[DType.float32], epilogue: E, epilogue_rows: Int):
    """As `gemm` where a value of A is the sum of three bfloat16, and one of B of `parts` (bfloat16_parts.mojo).

    Tiles 4 and 5 hold a part of 32 rows, 6 and 7 one of 32 columns; the smallest products come first.
    """
    comptime a_0 = "tileloadd ($0,$4,1), %tmm4\ntileloadd ($1,$4,1), %tmm5\n"
    comptime a_1 = "tileloadd 1024($0,$4,1), %tmm4\ntileloadd 1024($1,$4,1), %tmm5\n"
    comptime a_2 = "tileloadd 2048($0,$4,1), %tmm4\ntileloadd 2048($1,$4,1), %tmm5\n"
    comptime b_0 = "tileloadd ($2,$4,1), %tmm6\ntileloadd ($3,$4,1), %tmm7\n"
    comptime b_1 = "tileloadd 1024($2,$4,1), %tmm6\ntileloadd 1024($3,$4,1), %tmm7\n"
    comptime b_2 = "tileloadd 2048($2,$4,1), %tmm6\ntileloadd 2048($3,$4,1), %tmm7\n"
    comptime dots = (
        "tdpbf16ps %tmm6, %tmm4, %tmm0\n"
        "tdpbf16ps %tmm6, %tmm5, %tmm2\n"
        "tdpbf16ps %tmm7, %tmm4, %tmm1\n"
        "tdpbf16ps %tmm7, %tmm5, %tmm3\n"
    )
    _begin[4, accumulate](result)
    var operands = TileOperands.of(a, b)
    comptime if parts == 2:
        comptime instructions: Array[StaticString, 5] = [
            a_1 + b_1 + dots, a_0 + dots, b_0 + dots, a_1 + dots, a_2 + dots
        ]
        _run[instructions, 3 * TILE_BYTES, 2 * TILE_BYTES, True](operands, k_tiles, epilogue, epilogue_rows)
    else:
        comptime instructions: Array[StaticString, 6] = [
            a_0 + b_2 + dots, a_1 + b_1 + dots, a_0 + dots, b_0 + dots, a_1 + dots, a_2 + dots
        ]
        _run[instructions, 3 * TILE_BYTES, 3 * TILE_BYTES, True](operands, k_tiles, epilogue, epilogue_rows)
    store_results(rows, result)


@always_inline
def amx_scores[
    E: Epilogue, //
](keys: Bytes, result: View[DType.float32], epilogue: E, epilogue_rows: Int):
    """The product of the queries of `load_queries` and 32 columns of bfloat16, keys [2, 2048]: float32 [32, 32].

    It loads half of the tiles that `amx_gemm` would.
    """
    comptime instructions: Array[StaticString, 9] = [
        "tileloadd ($2,$4,1), %tmm2\ntilezero %tmm0\ntdpbf16ps %tmm2, %tmm4, %tmm0",
        "tilezero %tmm1\ntdpbf16ps %tmm2, %tmm6, %tmm1",
        "tileloadd 1024($2,$4,1), %tmm3\ntdpbf16ps %tmm3, %tmm5, %tmm0",
        "tdpbf16ps %tmm3, %tmm7, %tmm1",
        "tileloadd ($3,$4,1), %tmm2",
        "tilestored %tmm0, ($0,$5,1)\ntilezero %tmm0\ntdpbf16ps %tmm2, %tmm4, %tmm0",
        "tilestored %tmm1, ($1,$5,1)\ntilezero %tmm1\ntdpbf16ps %tmm2, %tmm6, %tmm1",
        "tileloadd 1024($3,$4,1), %tmm3\ntdpbf16ps %tmm3, %tmm5, %tmm0",
        "tdpbf16ps %tmm3, %tmm7, %tmm1",
    ]
    # What lies in the place of A's panels is the upper and the lower half of the result.
    var halves = result.bits[DType.uint8]().reshaped(2, TILE_ROWS * BLOCK * 4)
    _run[instructions, 0, 0, False](TileOperands.of(halves, keys), 1, epilogue, epilogue_rows)
    store_right_results(result)


@always_inline
def _begin[tiles: Int, accumulate: Bool](result: View[DType.float32]):
    """Accumulators from zero, or from the results that are there."""
    comptime if accumulate:
        load_results[tiles](result)
    else:
        zero_results[tiles]()


@always_inline
def _run[
    E: Epilogue, size: Int, //, instructions: Array[StaticString, size], a_bytes: Int, b_bytes: Int, ahead: Bool
](operands: TileOperands, k_tiles: Int, epilogue: E, epilogue_rows: Int):
    """Issue instructions for each tile of k, with rows of the epilogue between them.

    a_bytes, b_bytes: from a tile of k to the next. ahead: bring the next one into the first cache.
    """
    comptime a_rows = a_bytes // ROW_BYTES
    comptime b_rows = b_bytes // ROW_BYTES
    comptime to_fetch = 2 * (a_rows + b_rows) if ahead else 0
    # A quarter of the epilogue is left for while the last results are on their way.
    var pace = (epilogue_rows * 3 << 14) // (k_tiles * size * E.ROWS)
    var due = 0
    var done = 0
    for k_tile in range(k_tiles):
        var a, b = k_tile * a_bytes, k_tile * b_bytes
        comptime for i in range(size):
            comptime text = instructions[i]
            operands.issue[text](a, b)
            comptime for row in range(to_fetch * i // size, to_fetch * (i + 1) // size):
                comptime if row < a_rows:
                    operands.prefetch_a[False](a + a_bytes + row * ROW_BYTES)
                elif row < 2 * a_rows:
                    operands.prefetch_a[True](a + a_bytes + (row - a_rows) * ROW_BYTES)
                elif row < 2 * a_rows + b_rows:
                    operands.prefetch_b[False](b + b_bytes + (row - 2 * a_rows) * ROW_BYTES)
                else:
                    operands.prefetch_b[True](b + b_bytes + (row - 2 * a_rows - b_rows) * ROW_BYTES)
            due += pace
            while done < (due >> 16) * E.ROWS:
                epilogue.apply[E.ROWS](done)
                done += E.ROWS
    apply_rows(epilogue, done, epilogue_rows)
