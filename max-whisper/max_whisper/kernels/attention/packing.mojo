"""How queries, keys and values of one head lie in memory: operands of products, packed as matmul/tiles.mojo has them.

`kind` is bfloat16 or float32. A head is 64 wide. Positions come in blocks of 32, and a head's width in 4 quarters of
16.

    queries  A [2 panels of 16 rows, tiles of a head's width], of up to 32 rows
    keys     B [2 panels of 16 positions a block, tiles of a head's width]: scores = queries * keys
    values   B [4 quarters, tiles of all positions]: results = weights * values

All of a block take the same bytes, `block_bytes`. Queries are multiplied by log2(e) / sqrt(64) when they are packed,
because the softmax takes powers of two. Called by attention/ and by the operations that make queries, keys and values.
"""

from std.math import ceildiv

from ..instructions.elementwise import Floats, to_bfloat16
from ..instructions.isa import Isa
from ..matmul.bfloat16_parts import split
from ..matmul.pack_rows import store_floats
from ..matmul.tiles import BLOCK, ROW_BYTES, TILE_BYTES, a_tile_bytes, is_split, panel_of, row_of_panel, tile_k
from ..memory.views import Bytes, View

comptime HEAD = 64  # the width of a head, in every Whisper
comptime QUARTER = HEAD // 4
comptime LOWEST = Float32.MIN_FINITE  # the score of a position that is not seen


@always_inline
def kind_of[weight: DType]() -> DType:
    """The kind of attention in a model with such weights."""
    return DType.float32 if weight == DType.float16 or weight == DType.float32 else DType.bfloat16


@always_inline
def head_tiles[isa: Isa, kind: DType]() -> Int:
    """Tiles that a head's width takes as k."""
    return HEAD // tile_k[isa, kind]()


@always_inline
def panel_bytes[isa: Isa, kind: DType]() -> Int:
    """Bytes of a panel of queries or keys: 16 of them."""
    return head_tiles[isa, kind]() * a_tile_bytes[isa, kind]()


@always_inline
def quarter_bytes[isa: Isa, kind: DType]() -> Int:
    """Bytes of a quarter of the width of 32 values; also of the weights of 16 rows for 32 positions."""
    return BLOCK // tile_k[isa, kind]() * a_tile_bytes[isa, kind]()


@always_inline
def block_bytes[isa: Isa, kind: DType]() -> Int:
    """Bytes of the queries, keys or values of 32 positions."""
    return 4 * quarter_bytes[isa, kind]()


@fieldwise_init
struct KeysValues[isa: Isa, kind: DType](ImplicitlyCopyable):
    """The keys and values of one head."""

    var keys: Bytes  # [2 * capacity, panel_bytes]
    var values: Bytes  # [4, capacity * quarter_bytes]
    var length: Int  # positions that are there

    @staticmethod
    @always_inline
    def of(keys: Bytes, values: Bytes, length: Int) -> Self:
        """Those in two rows of memory of the same size, which is that of whole blocks."""
        var capacity = keys.columns // block_bytes[Self.isa, Self.kind]()
        debug_assert(length <= capacity * BLOCK, length, " positions in a cache of ", capacity, " blocks")
        return Self(
            keys.reshaped(2 * capacity, panel_bytes[Self.isa, Self.kind]()),
            values.reshaped(4, capacity * quarter_bytes[Self.isa, Self.kind]()),
            length,
        )

    @always_inline
    def blocks(self) -> Int:
        """Blocks of 32 positions that are there, the last one perhaps in part."""
        return ceildiv(self.length, BLOCK)

    @always_inline
    def keys_of(self, block: Int) -> Bytes:
        """The keys of a block of positions, as B."""
        return self.keys.rows_from(2 * block, 2)

    @always_inline
    def values_of[half: Int](self, block: Int, count: Int) -> Bytes:
        """One half of the width of the values of `count` blocks of positions, as B."""
        comptime quarter = quarter_bytes[Self.isa, Self.kind]()
        return self.values.part(2 * half, block * quarter, 2, count * quarter)


@always_inline
def pack_queries[
    isa: Isa, kind: DType, steps: Int = 1
](rows: View[DType.float32], half: Int, queries: Bytes):
    """Pack one half of the head's width of up to 32 rows: float32 [rows, 32]; times `steps`, see `pack_query`."""
    for row in range(rows.rows):
        pack_query[isa, kind, steps](rows.row(row), row, half, queries)


@always_inline
def pack_query[
    isa: Isa, kind: DType, steps: Int = 1
](values: View[DType.float32], row: Int, half: Int, queries: Bytes):
    """Pack one half of the head's width of a query, float32 [1, 32], as row `row` of queries.

    It is multiplied by steps * log2(e) / sqrt(64): scores then are exponents of two in steps of 1 / steps.
    """
    comptime scale = Float32(0.125 * 1.4426950408889634) * Float32(steps)
    comptime k = tile_k[isa, kind]()
    comptime tile_bytes = a_tile_bytes[isa, kind]()
    comptime for part in range(2):
        var scaled = values.load[16](0, part * 16) * scale
        var byte = row_of_panel(row) * ROW_BYTES + (half * BLOCK + part * 16) // k * tile_bytes
        comptime if kind == DType.float32:
            store_floats[isa](scaled, queries, panel_of(row), byte, part)
        else:
            queries.store_as(panel_of(row), byte + part * 32, to_bfloat16[isa](scaled))


@always_inline
def pack_key[
    isa: Isa, kind: DType
](values: View[DType.float32], half: Int, position: Int, cache: KeysValues[isa, kind]):
    """Pack one half of the head's width of the key at a position: float32 [1, 32]."""
    comptime tile_bytes = a_tile_bytes[isa, kind]()
    comptime k = tile_k[isa, kind]()
    var panel = panel_of(position)
    var byte = row_of_panel(position) * 4 + half * BLOCK // k * tile_bytes
    comptime for part in range(2):
        var given = values.load[16](0, part * 16)
        comptime if kind == DType.bfloat16:
            store_pairs(to_bfloat16[isa](given), cache.keys, panel, byte + part * 8 * ROW_BYTES)
        elif is_split[isa, kind]():
            var parts = split[isa](given)
            comptime for i in range(3):
                store_pairs(parts[i], cache.keys, panel, byte + i * TILE_BYTES + part * 8 * ROW_BYTES)
        else:
            comptime for i in range(16):
                cache.keys.store_as(panel, byte + part * TILE_BYTES + i * ROW_BYTES, given[i])


@always_inline
def store_pairs(values: SIMD[DType.uint16, 16], tiles: Bytes, panel: Int, byte: Int):
    """Store 16 values of k of one column of B, two to a row of a tile."""
    comptime for pair in range(8):
        tiles.store_as(panel, byte + pair * ROW_BYTES, SIMD[DType.uint16, 2](values[2 * pair], values[2 * pair + 1]))


@always_inline
def pack_values[
    isa: Isa, kind: DType
](rows: View[DType.float32], half: Int, block: Int, cache: KeysValues[isa, kind]):
    """Pack one half of the head's width of the values of a whole block of positions: float32 [32, 32]."""
    comptime quarter = quarter_bytes[isa, kind]()
    comptime for part in range(2):
        var row = 2 * half + part
        var start = block * quarter
        comptime if is_split[isa, kind]():
            for pair in range(BLOCK // 2):
                var one = split[isa](rows.load[16](2 * pair, part * 16))
                var other = split[isa](rows.load[16](2 * pair + 1, part * 16))
                comptime for i in range(3):
                    cache.values.store_as(row, start + i * TILE_BYTES + pair * ROW_BYTES, one[i].interleave(other[i]))
        elif kind == DType.float32:
            for position in range(BLOCK):
                cache.values.store_as(row, start + position * ROW_BYTES, rows.load[16](position, part * 16))
        else:
            for pair in range(BLOCK // 2):
                var one = to_bfloat16[isa](rows.load[16](2 * pair, part * 16))
                var other = to_bfloat16[isa](rows.load[16](2 * pair + 1, part * 16))
                cache.values.store_as(row, start + pair * ROW_BYTES, one.interleave(other))


@always_inline
def pack_value[
    isa: Isa, kind: DType
](value: View[DType.float32], position: Int, cache: KeysValues[isa, kind]):
    """Pack the value at a position, float32 [1, 64]; at the first of a block it makes the rest of the block zero."""
    comptime quarter = quarter_bytes[isa, kind]()
    if position % BLOCK == 0:
        clear_values(position // BLOCK, cache)
    var block = position // BLOCK * quarter
    var pair = block + position % BLOCK // 2 * ROW_BYTES + position % 2 * 2
    for row in range(4):
        var given = value.load[16](0, row * QUARTER)
        comptime if is_split[isa, kind]():
            var parts = split[isa](given)
            comptime for part in range(3):
                comptime for i in range(16):
                    cache.values.store_as(row, pair + part * TILE_BYTES + i * 4, parts[part][i])
        elif kind == DType.float32:
            cache.values.store_as(row, block + position % BLOCK * ROW_BYTES, given)
        else:
            var rounded = to_bfloat16[isa](given)
            comptime for i in range(16):
                cache.values.store_as(row, pair + i * 4, rounded[i])


@always_inline
def clear_values[isa: Isa, kind: DType, //](block: Int, cache: KeysValues[isa, kind]):
    """Make the values of a block of positions zero, so that weights of zero make nothing of those not yet there."""
    comptime quarter = quarter_bytes[isa, kind]()
    for row in range(4):
        for byte in range(0, quarter, ROW_BYTES):
            cache.values.store_as(row, block * quarter + byte, SIMD[DType.uint8, ROW_BYTES](0))
