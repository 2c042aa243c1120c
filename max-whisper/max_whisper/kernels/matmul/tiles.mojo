"""How the operands of a product C = A * B lie in memory: tiles of 1 KB, one layout for every kind of CPU.

C is computed in blocks of 32 x 32. A has panels of 16 rows, B of 16 columns, and a panel has a tile for each so many
values of k (`tile_k`):

    A tile     16 rows of 64 bytes, each a row's next values of k: 64 of 8 bits, 32 of bfloat16 or 16 of float32
    B tile     16 rows of 64 bytes, each the next 4 bytes of k of 16 columns, one column after the other

So AMX reads its operands, and so AVX-512's dot products (VNNI, BF16) read the same rows one at a time. A block of C
takes two panels of A and two of B: views of bytes [panels, bytes of a panel].

Weights that were published as float16 (`weight` float16) or float32 are multiplied with float32. With AMX, which
multiplies bfloat16 only, a float32 is the sum of three bfloat16 and a float16 that of two (bfloat16_parts.mojo); their
tiles lie one after the other in place of one. Without AMX a B tile of float16 or float32 has in each of its rows 16
columns' values at the same k; one of float16 has 512 bytes. graphs/packing.py packs B so.
"""

from std.math import ceildiv

from ..instructions.amx import BLOCK, ROW_BYTES, TILE_BYTES, TILE_ROWS
from ..instructions.isa import Isa

comptime PANEL = TILE_ROWS  # rows of A, or columns of B, in a panel


@always_inline
def panel_of(row: Int) -> Int:
    """The panel of a row of A or a column of B, at least 0. (`//` rounds down below 0 too: more instructions.)"""
    return row >> 4


@always_inline
def row_of_panel(row: Int) -> Int:
    """Which of its panel's 16 rows a row is; as `panel_of`, for rows of at least 0."""
    return row & (PANEL - 1)


@always_inline
def is_float[weight: DType]() -> Bool:
    """Whether products with such weights are of float32."""
    return weight == DType.float16 or weight == DType.float32


@always_inline
def is_split[isa: Isa, weight: DType]() -> Bool:
    """Whether operands are sums of bfloat16."""
    return is_float[weight]() and isa.has_amx


@always_inline
def parts_of[weight: DType]() -> Int:
    """How many bfloat16 a weight is the sum of, where it is."""
    return 2 if weight == DType.float16 else 3


@always_inline
def tile_k[isa: Isa, weight: DType]() -> Int:
    """Values of k in a tile."""
    comptime if weight == DType.int8:
        return 64
    elif is_float[weight]() and not is_split[isa, weight]():
        return 16
    else:
        return 32


@always_inline
def k_tiles_of[isa: Isa, weight: DType](k: Int) -> Int:
    """Tiles of a panel, the last one perhaps in part."""
    return ceildiv(k, tile_k[isa, weight]())


@always_inline
def a_tile_bytes[isa: Isa, weight: DType]() -> Int:
    """Bytes of a tile of A, with all of its parts."""
    return 3 * TILE_BYTES if is_split[isa, weight]() else TILE_BYTES


@always_inline
def b_tile_bytes[isa: Isa, weight: DType]() -> Int:
    """Bytes of a tile of B, with all of its parts."""
    comptime if is_split[isa, weight]():
        return parts_of[weight]() * TILE_BYTES
    else:
        return TILE_BYTES // 2 if weight == DType.float16 else TILE_BYTES
