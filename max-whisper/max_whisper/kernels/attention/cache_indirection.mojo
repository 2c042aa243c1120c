"""Attention of a window's beams to texts of which they share parts.

The key and value of a token are written once, to the slot of the beam that it was added to. The cache indirection names
for each beam and position the slot that holds it: a beam goes on from another's text by a copy of that one's row of the
table, not of its keys and values (NVIDIA FasterTransformer and TensorRT-LLM, `cache_indirection`). Called by
operations/decoder_layers.mojo.
"""

from std.math import min

from ..instructions.isa import Isa
from ..instructions.elementwise import Floats
from ..matmul.gemm import gemm
from ..matmul.tiles import BLOCK, ROW_BYTES, TILE_BYTES, a_tile_bytes, is_split, panel_of, row_of_panel
from ..memory.views import View
from .cached import AttentionScratch, Visible, softmax
from .kv_cache import KVCache
from .packing import head_tiles, quarter_bytes


@fieldwise_init
struct CacheIndirection(ImplicitlyCopyable):
    """The table, and which slots have to be read at all.

    Queries are computed in parts: the beams of a window together, or one beam. `used` says of each part which of the
    window's slots hold positions of its beams, by blocks of 32 positions.
    """

    var table: View[DType.uint16]  # [windows * slots, capacity], the slot of the window that holds each position
    var slots: Int  # of each window
    var blocks: Int  # of 32 positions that are read
    var used: View[DType.uint8]  # [parts * slots, blocks], 1 or 0

    @always_inline
    def uses(self, part: Int, slot: Int, block: Int) -> Bool:
        return self.used.load(part * self.slots + slot, block) != 0

    def clear(self):
        self.used.fill(0)

    def mark(self, part: Int, row: Int):
        """Say of a part that the beam of a row of the table is in it."""
        for position in range(self.blocks * BLOCK):
            var slot = Int(self.table.load(row, position))
            self.used.store(part * self.slots + slot, position // BLOCK, UInt8(1))


def attend_through[
    isa: Isa, kind: DType, //
](
    rows: Int,
    cache: KVCache[isa, kind],
    first_slot: Int,
    layer: Int,
    head: Int,
    indirection: CacheIndirection,
    part: Int,
    table: View[DType.uint16],
    visible: Visible,
    scratch: AttentionScratch[isa, kind],
    result: View[DType.float32],
):
    """As `attend`, where row i finds its positions in the slots that row i of `table` names, or the only row of it.

    first_slot: the number of the window's first slot in the cache. part: of the indirection's.
    """
    comptime k_tiles = head_tiles[isa, kind]()
    comptime quarter = quarter_bytes[isa, kind]()
    comptime element = DType.float32 if kind == DType.float32 else DType.uint16
    comptime half_bytes = TILE_BYTES if kind == DType.float32 else 32  # from 16 positions of a row to the next 16
    comptime assert not is_split[isa, kind](), "the decoder's attention is not of sums of bfloat16"
    var blocks = indirection.blocks
    for block in range(blocks):
        var scores = scratch.scores_of(block)
        var is_first = True
        for slot in range(indirection.slots):
            if not indirection.uses(part, slot, block):
                continue
            var keys = cache.head(first_slot + slot, layer, head, 0).keys_of(block)
            gemm[isa, kind](rows, scratch.queries, keys, k_tiles, scores if is_first else scratch.block)
            if not is_first:
                for row in range(rows):
                    comptime for half in range(2):
                        var is_here = _is_in(slot, table, row, block, half)
                        var values = scratch.block.load[16](row, half * 16)
                        scores.store(row, half * 16, is_here.select(values, scores.load[16](row, half * 16)))
            is_first = False
    for row in range(rows):
        scratch.mask(row, 0, min(visible.first, blocks * BLOCK))
        scratch.mask(row, visible.end_of(row), blocks * BLOCK)
    softmax(blocks, rows, scratch)

    var weights = scratch.weights_of(blocks)
    var is_first = True
    for slot in range(indirection.slots):
        var keys_values = cache.head(first_slot + slot, layer, head, 0)
        var begin = 0
        while begin < blocks:
            var end = begin
            while end < blocks and indirection.uses(part, slot, end):
                end += 1
            if end > begin:
                var count = end - begin
                var masked = scratch.masked.reshaped(2, count * quarter)
                for row in range(rows):
                    var panel = panel_of(row)
                    for block in range(begin, end):
                        comptime for half in range(2):
                            var is_here = _is_in(slot, table, row, block, half)
                            var byte = row_of_panel(row) * ROW_BYTES + half * half_bytes
                            var values = weights.load_as[element, 16](panel, byte + block * quarter)
                            var kept = is_here.select(values, SIMD[element, 16](0))
                            masked.store_as(panel, byte + (block - begin) * quarter, kept)
                comptime for half in range(2):
                    gemm[isa, kind](
                        rows,
                        masked,
                        keys_values.values_of[half](begin, count),
                        count * quarter // a_tile_bytes[isa, kind](),
                        scratch.block,
                    )
                    for row in range(rows):
                        comptime for i in range(2):
                            var column = half * BLOCK + i * 16
                            var values = scratch.block.load[16](row, i * 16)
                            if not is_first:
                                values += result.load[16](row, column)
                            result.store(row, column, values)
                is_first = False
            begin = end + 1
    for row in range(rows):
        var factor = Floats(scratch.factors[row])
        comptime for i in range(4):
            result.store(row, i * 16, result.load[16](row, i * 16) * factor)


@always_inline
def _is_in(slot: Int, table: View[DType.uint16], row: Int, block: Int, half: Int) -> SIMD[DType.bool, 16]:
    """Whether a slot holds each of 16 positions of a row, or of the table's only row."""
    var holders = table.load[16](row if table.rows > 1 else 0, block * BLOCK + half * 16)
    return holders.eq(UInt16(slot))
