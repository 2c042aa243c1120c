"""Attention of the encoder, where every row sees the whole window: softmax(q k^T / sqrt(64)) v in one pass.

As in flash attention (Dao et al. 2022), blocks of positions are taken in turn and no row's scores are kept. But the
largest score is not followed: weights are relative to the largest of the first block, and may be up to 2^100. Where
that is too little, which a total tells, the pass is done again, relative to the largest score of all.

`kind` is bfloat16 or float32. Layouts are those of packing.mojo, but for the order of bfloat16's keys: of 8 positions
the first 4 are in one panel and the others in the next, so that a row's scores of 32 positions, rounded to 16 bits and
packed as AVX-512 packs them, come in the order of the positions. Called by operations/encoder_block.mojo.
"""

from std.math import max, min

from ..instructions.amx import load_queries
from ..instructions.elementwise import (
    BFLOAT16_BIAS,
    EXPONENT_STEPS,
    Floats,
    add_pairs,
    larger,
    power_of_two_float32,
    powers_of_two,
    smaller,
    to_bfloat16,
)
from ..instructions.isa import Isa
from ..matmul.amx_gemm import amx_scores
from ..matmul.epilogue import Epilogue, NoEpilogue, apply_rows
from ..matmul.gemm import gemm
from ..matmul.pack_rows import store_floats
from ..matmul.tiles import BLOCK, PANEL, ROW_BYTES, TILE_BYTES, is_split, panel_of, row_of_panel, tile_k
from ..memory.arena import Arena
from ..memory.views import Bytes, View
from .packing import HEAD, LOWEST, KeysValues, head_tiles, pack_key, quarter_bytes, store_pairs

comptime MOST = Float32(2) ** 100  # that weights may add up to


@always_inline
def _chunk[kind: DType]() -> Int:
    """Blocks of positions whose weights are made before their values are added."""
    return 8 if kind == DType.bfloat16 else 4


@always_inline
def query_steps[kind: DType]() -> Int:
    """What queries are to be multiplied by when they are packed."""
    return EXPONENT_STEPS if kind == DType.bfloat16 else 1


@fieldwise_init
struct WindowScratch[isa: Isa, kind: DType](ImplicitlyCopyable):
    """A task's own memory for attention to a window."""

    comptime CHUNK = _chunk[Self.kind]()
    comptime QUARTER = quarter_bytes[Self.isa, Self.kind]()

    var scores: View[DType.float32]  # [2, 32 * 32], of two blocks of positions; free between calls of `attend_window`
    var weights: Bytes  # A [2, CHUNK * QUARTER], of the blocks of a chunk
    var weighted: View[DType.float32]  # [2, 32 * 32], sums of weighted values of each half of the head's width
    var totals: View[DType.float32]  # [32, 16], which add up to those of a row's weights
    var references: View[DType.float32]  # [1, 32], what a row's scores are relative to

    @staticmethod
    def take(mut arena: Arena) -> Self:
        return Self(
            arena.take[DType.float32](2, BLOCK * BLOCK),
            arena.take[DType.uint8](2, Self.CHUNK * Self.QUARTER),
            arena.take[DType.float32](2, BLOCK * BLOCK),
            arena.take[DType.float32](BLOCK, 16),
            arena.take[DType.float32](1, BLOCK),
        )

    @always_inline
    def known(self) -> Self:
        """The same memory, its shapes known at compile time."""
        return Self(
            self.scores.known[2, BLOCK * BLOCK](),
            self.weights.known[2, Self.CHUNK * Self.QUARTER](),
            self.weighted.known[2, BLOCK * BLOCK](),
            self.totals.known[BLOCK, 16](),
            self.references.known[1, BLOCK](),
        )

    @always_inline
    def scores_of(self, block: Int) -> View[DType.float32]:
        """Scores of a block of positions; two blocks take turns: [32, 32]."""
        return self.scores.row(block % 2).reshaped(BLOCK, BLOCK)

    @always_inline
    def weighted_of(self, half: Int) -> View[DType.float32]:
        return self.weighted.row(half).reshaped(BLOCK, BLOCK)


@always_inline
def pack_window_key[
    isa: Isa, kind: DType
](values: View[DType.float32], half: Int, position: Int, window: KeysValues[isa, kind]):
    """Pack one half of the head's width of the key at a position: float32 [1, 32]."""
    comptime if kind == DType.float32:
        pack_key(values, half, position, window)
    else:
        var panel = position // BLOCK * 2 + position % 8 // 4
        var byte = half * TILE_BYTES + (position % BLOCK // 8 * 4 + position % 4) * 4
        comptime for part in range(2):
            var rounded = to_bfloat16[isa](values.load[16](0, part * 16))
            store_pairs(rounded, window.keys, panel, byte + part * 8 * ROW_BYTES)


@always_inline
def _column[kind: DType](position: Int) -> Int:
    """Where a position is among the scores of its block."""
    return position // 8 * 4 + position % 4 + position % 8 // 4 * PANEL if kind == DType.bfloat16 else position


def attend_window[
    isa: Isa, kind: DType, //
](
    rows: Int,
    queries: Bytes,
    window: KeysValues[isa, kind],
    memory: WindowScratch[isa, kind],
    result: View[kind],
):
    """Attention of up to 32 rows of one head: [rows, 64], perhaps in the queries' place.

    queries: A [2, panel_bytes], packed in `query_steps`.
    """
    var scratch = memory.known()
    _refer(rows, queries, window, 1, scratch)
    if not _attend(rows, queries, window, scratch):
        _refer(rows, queries, window, window.blocks(), scratch)
        _ = _attend(rows, queries, window, scratch)
    for row in range(rows):
        var factor = 1 / scratch.totals.load[16](row, 0).reduce_add()
        comptime for part in range(4):
            var values = scratch.weighted_of(part // 2).load[16](row, part % 2 * 16) * factor
            comptime if kind == DType.bfloat16:
                result.bits[DType.uint16]().store(row, part * 16, to_bfloat16[isa](values))
            else:
                result.store(row, part * 16, values.cast[kind]())


@always_inline
def _load_queries[isa: Isa, kind: DType](queries: Bytes):
    """What comes before `_score`, and again after any other product."""
    comptime if isa.has_amx and kind == DType.bfloat16:
        load_queries(queries)


@always_inline
def _score[
    E: Epilogue, isa: Isa, kind: DType, //
](
    rows: Int,
    queries: Bytes,
    window: KeysValues[isa, kind],
    block: Int,
    scores: View[DType.float32],
    epilogue: E,
    epilogue_rows: Int,
):
    """Scores float32 [32, 32] of a block of positions, beside the epilogue of another block."""
    comptime if isa.has_amx and kind == DType.bfloat16:
        amx_scores(window.keys_of(block), scores, epilogue, epilogue_rows)
    else:
        gemm[isa, kind](
            rows, queries, window.keys_of(block), head_tiles[isa, kind](), scores, epilogue, epilogue_rows
        )


@fieldwise_init
struct WeightEpilogue[isa: Isa, kind: DType](Epilogue):
    """Makes weights of a row's scores of a block of positions; of float32 it adds them to the row's total."""

    var scores: View[DType.float32]  # [32, 32]
    var scratch: WindowScratch[Self.isa, Self.kind]
    var block: Int  # of the chunk

    comptime ROWS = 4 if Self.kind == DType.bfloat16 else 2

    @always_inline
    def apply[count: Int](self, row: Int):
        var panel = panel_of(row)
        var start = self.block * WindowScratch[Self.isa, Self.kind].QUARTER + row_of_panel(row) * ROW_BYTES
        comptime for i in range(count):
            var byte = start + i * ROW_BYTES
            var reference = Floats(self.scratch.references[row + i])
            var one = self.scores.load[16](row + i, 0) - reference
            var other = self.scores.load[16](row + i, 16) - reference
            comptime if Self.kind == DType.bfloat16:
                self.scratch.weights.store_as(panel, byte, powers_of_two[Self.isa](one, other))
            else:
                # At most 2^127, which is too much already: more would wrap around.
                one = power_of_two_float32(smaller(one, Floats(127)))
                other = power_of_two_float32(smaller(other, Floats(127)))
                var totals = self.scratch.totals
                totals.store(row + i, 0, totals.load[16](row + i, 0) + (one + other))
                comptime next = 0 if is_split[Self.isa, Self.kind]() else TILE_BYTES
                store_floats[Self.isa](one, self.scratch.weights, panel, byte, 0)
                store_floats[Self.isa](other, self.scratch.weights, panel, byte + next, 1)


@fieldwise_init
struct TotalEpilogue[isa: Isa, kind: DType](Epilogue):
    """Adds the weights, bfloat16, of a row of a panel in so many blocks of positions to the row's total."""

    var scratch: WindowScratch[Self.isa, Self.kind]
    var panel: Int
    var blocks: Int

    comptime ROWS = 1

    @always_inline
    def apply[count: Int](self, row: Int):
        comptime for i in range(count):
            var number = self.panel * PANEL + row + i
            var total = self.scratch.totals.load[16](number, 0)
            for block in range(self.blocks):
                var byte = block * TILE_BYTES + (row + i) * ROW_BYTES
                total = add_pairs[Self.isa](total, self.scratch.weights.load_as[DType.uint16, 32](self.panel, byte))
            self.scratch.totals.store(number, 0, total)


@always_inline
def _refer[
    isa: Isa, kind: DType, //
](rows: Int, queries: Bytes, window: KeysValues[isa, kind], blocks: Int, scratch: WindowScratch[isa, kind]):
    """Take as reference, for a weight of 1, each row's largest score in the first blocks of positions."""
    var none = NoEpilogue()
    var scores = scratch.scores_of(0)
    for row in range(rows):
        scratch.references[row] = LOWEST
    _load_queries[isa, kind](queries)
    for block in range(blocks):
        _score(rows, queries, window, block, scores, none, 0)
        var used = min(BLOCK, window.length - block * BLOCK)
        for row in range(rows):
            var largest = scratch.references[row]
            if used == BLOCK:
                largest = max(largest, larger(scores.load[16](row, 0), scores.load[16](row, 16)).reduce_max())
            else:
                for position in range(used):
                    largest = max(largest, scores.load(row, _column[kind](position)))
            scratch.references[row] = largest
    comptime if kind == DType.bfloat16:
        for row in range(rows):
            scratch.references[row] = scratch.references[row] - BFLOAT16_BIAS * EXPONENT_STEPS


@always_inline
def _attend[
    isa: Isa, kind: DType, //
](rows: Int, queries: Bytes, window: KeysValues[isa, kind], scratch: WindowScratch[isa, kind]) -> Bool:
    """Sums of weighted values, and totals of weights; whether all of these are small enough to be right."""
    for i in range(0, BLOCK * BLOCK, 16):
        scratch.weighted.store(0, i, Floats(0))
    for i in range(0, BLOCK * BLOCK, 16):
        scratch.weighted.store(1, i, Floats(0))
    for row in range(rows):
        scratch.totals.store(row, 0, Floats(0))
    comptime chunk = _chunk[kind]()
    comptime quarter = quarter_bytes[isa, kind]()
    var blocks = window.blocks()
    var none = NoEpilogue()
    for start in range(0, blocks, chunk):
        var count = min(chunk, blocks - start)
        _load_queries[isa, kind](queries)
        _score(rows, queries, window, start, scratch.scores_of(0), none, 0)
        for i in range(count):
            var scores = scratch.scores_of(i)
            var unseen = window.length - (start + i) * BLOCK  # from this position of the block on
            comptime if kind == DType.float32:
                for position in range(unseen, BLOCK):
                    for row in range(rows):
                        scores.store(row, position, LOWEST)
            var weigh = WeightEpilogue[isa, kind](scores, scratch, i)
            if i + 1 < count:
                _score(rows, queries, window, start + i + 1, scratch.scores_of(i + 1), weigh, rows)
            else:
                apply_rows(weigh, 0, rows)
            comptime if kind == DType.bfloat16:
                for position in range(unseen, BLOCK):
                    for row in range(rows):
                        var byte = i * quarter + row_of_panel(row) * ROW_BYTES + position * 2
                        scratch.weights.store_as(panel_of(row), byte, UInt16(0))
        comptime for half in range(2):
            var values = window.values_of[half](start, count)
            var k_tiles = count * BLOCK // tile_k[isa, kind]()
            comptime if kind == DType.bfloat16:
                var add = TotalEpilogue[isa, kind](scratch, half, count)
                var rows_of_panel = max(0, min(PANEL, rows - half * PANEL))
                gemm[isa, kind, accumulate=True](
                    rows, scratch.weights, values, k_tiles, scratch.weighted_of(half), add, rows_of_panel
                )
            else:
                gemm[isa, kind, accumulate=True](
                    rows, scratch.weights, values, k_tiles, scratch.weighted_of(half), none, 0
                )
    for row in range(rows):
        if not (scratch.totals.load[16](row, 0).reduce_add() < MOST):
            return False
    return True
