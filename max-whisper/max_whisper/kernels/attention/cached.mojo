"""Attention of the decoder's tokens to the keys and values of one head in a cache: softmax(q k^T / sqrt(64)) v.

Scores of all positions are kept, float32 [32, positions], then weights; the sizes are those of up to 32 rows. Called by
operations/decoder_layers.mojo for the text, where each row sees the positions up to its own, and for the audio.
"""

from std.math import min

from ..instructions.elementwise import Floats, larger, power_of_two, power_of_two_float32, to_bfloat16
from ..instructions.isa import Isa
from ..matmul.gemm import gemm
from ..matmul.pack_rows import store_floats
from ..matmul.tiles import BLOCK, ROW_BYTES, TILE_BYTES, is_split, panel_of, row_of_panel, tile_k
from ..memory.arena import Arena
from ..memory.views import Bytes, View
from .packing import LOWEST, KeysValues, block_bytes, head_tiles, panel_bytes, quarter_bytes

comptime SCORES = BLOCK * BLOCK
comptime SCORES_GAP = 32  # float32 between blocks of scores: a power of two would fill one set of the cache


@fieldwise_init
struct Visible(ImplicitlyCopyable):
    """The positions that rows see: row i those from `first` to `end`, not included, or to `end + i` if causal."""

    var first: Int
    var end: Int
    var is_causal: Bool

    @always_inline
    def end_of(self, row: Int) -> Int:
        return self.end + row if self.is_causal else self.end

    @always_inline
    def from_row(self, row: Int) -> Self:
        """For the rows from this one on."""
        return Self(self.first, self.end_of(row), self.is_causal)


@fieldwise_init
struct AttentionScratch[isa: Isa, kind: DType](ImplicitlyCopyable):
    """A thread's own memory for attention to so many blocks of positions."""

    var queries: Bytes  # [2, panel_bytes], of 32 rows
    var scores: View[DType.float32]  # [blocks, 32 * 32]
    var weights: Bytes  # [1, ...]: A [2, blocks * quarter_bytes]
    var masked: Bytes  # as weights, for attention through a cache indirection
    var block: View[DType.float32]  # [32, 32]
    var factors: View[DType.float32]  # [1, 32], 1 / the sum of a row's weights

    @staticmethod
    def take(mut arena: Arena, blocks: Int) -> Self:
        comptime quarter = quarter_bytes[Self.isa, Self.kind]()
        return Self(
            arena.take[DType.uint8](2, panel_bytes[Self.isa, Self.kind]()),
            arena.take[DType.float32](blocks, SCORES, gap=SCORES_GAP),
            arena.take[DType.uint8](1, blocks * 2 * quarter),
            arena.take[DType.uint8](1, blocks * 2 * quarter),
            arena.take[DType.float32](BLOCK, BLOCK),
            arena.take[DType.float32](1, BLOCK),
        )

    @always_inline
    def scores_of(self, block: Int) -> View[DType.float32]:
        """Scores of a block of positions: [32, 32]."""
        return self.scores.row(block).reshaped(BLOCK, BLOCK)

    @always_inline
    def weights_of(self, blocks: Int) -> Bytes:
        """Weights of so many blocks, as A."""
        return self.weights.reshaped(2, blocks * quarter_bytes[Self.isa, Self.kind]())

    @always_inline
    def mask(self, row: Int, start: Int, stop: Int):
        """Give a row the lowest score from one position to another."""
        for position in range(start, stop):
            self.scores.store(position // BLOCK, row * BLOCK + position % BLOCK, LOWEST)


def attend[
    isa: Isa, kind: DType, //
](
    rows: Int,
    cache: KeysValues[isa, kind],
    visible: Visible,
    scratch: AttentionScratch[isa, kind],
    result: View[DType.float32],
):
    """Attention of up to 32 rows of one head, whose queries are in the scratch: float32 [rows, 64]."""
    comptime k_tiles = head_tiles[isa, kind]()
    var blocks = cache.blocks()
    for block in range(blocks):
        gemm[isa, kind](rows, scratch.queries, cache.keys_of(block), k_tiles, scratch.scores_of(block))
    for row in range(rows):
        scratch.mask(row, 0, min(visible.first, blocks * BLOCK))
        scratch.mask(row, visible.end_of(row), blocks * BLOCK)
    softmax(blocks, rows, scratch)
    comptime for half in range(2):
        gemm[isa, kind](
            rows,
            scratch.weights_of(blocks),
            cache.values_of[half](0, blocks),
            blocks * BLOCK // tile_k[isa, kind](),
            scratch.block,
        )
        for row in range(rows):
            var factor = Floats(scratch.factors[row])
            comptime for part in range(2):
                result.store(row, half * BLOCK + part * 16, scratch.block.load[16](row, part * 16) * factor)


@always_inline
def softmax[isa: Isa, kind: DType, //](blocks: Int, rows: Int, scratch: AttentionScratch[isa, kind]):
    """Scores of the first rows to weights of A, which are yet to be times `factors`."""
    var row = 0
    while row + 4 <= rows:
        _softmax[rows=4](blocks, row, scratch)
        row += 4
    while row < rows:
        _softmax[rows=1](blocks, row, scratch)
        row += 1


@always_inline
def _softmax[
    isa: Isa, kind: DType, //, *, rows: Int
](blocks: Int, first: Int, scratch: AttentionScratch[isa, kind]):
    comptime quarter = quarter_bytes[isa, kind]()
    var weights = scratch.weights_of(blocks)
    var largest = Array[Floats, 2 * rows](fill=Floats(LOWEST))
    for block in range(blocks):
        comptime for i in range(2 * rows):
            largest[i] = larger(largest[i], scratch.scores.load[16](block, first * BLOCK + i * 16))
    comptime for row in range(rows):
        var top = Floats(larger(largest[2 * row], largest[2 * row + 1]).reduce_max())
        var panel = panel_of(first + row)
        var byte = row_of_panel(first + row) * ROW_BYTES
        var totals = Array[Floats, 2](fill=Floats(0))
        for block in range(blocks):
            comptime for half in range(2):
                var scores = scratch.scores.load[16](block, (first + row) * BLOCK + half * 16)
                comptime if kind == DType.float32:
                    comptime next = 0 if is_split[isa, kind]() else half * TILE_BYTES
                    var values = power_of_two_float32(scores - top)
                    totals[half] += values
                    store_floats[isa](values, weights, panel, byte + block * quarter + next, half)
                else:
                    var values = power_of_two(scores - top)
                    totals[half] += values
                    weights.store_as(panel, byte + block * quarter + half * 32, to_bfloat16[isa](values))
        scratch.factors[first + row] = 1 / (totals[0] + totals[1]).reduce_add()
