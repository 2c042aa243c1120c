"""Attention of the encoder, where every row sees the whole window: one pass over the positions.

Tiles of queries and values are as in attention.mojo, and so are those of keys but for the order of their columns: of 8
positions the first 4 are in one tile and the others in the next, so that a row's scores of 32 positions, rounded to 16
bits and packed as AVX-512 packs them, come in the order of the positions.
"""

from std.math import max, min

from .amx import hold_queries, multiply_queries
from .attention import HEAD, LOWEST, Keys, block_size
from .functions import BIAS, STEPS, add_pairs, larger, powers_of_two
from .tiles import LINE, LINES, SIDE, TILE, Floats, line_of, load, product, product_beside, store, to_bfloat16
from .work import NoWork, RowWork, do_rows

comptime CHUNK = 8  # blocks of positions whose weights are made before their values are added
comptime BLOCK = block_size["plain", DType.bfloat16]()  # the same for all instructions
comptime SCORES = SIDE * SIDE * 4  # bytes
comptime MOST = Float32(2) ** 100  # that weights may add up to


@fieldwise_init
struct WindowScratch(ImplicitlyCopyable):
    """A task's own memory for attention to a window."""

    var block: Int  # float32 [2, 32, 32], scores of two blocks of positions; free between calls of `attend_window`
    var weights: Int  # bfloat16 [32, 32 * CHUNK] as tiles
    var sums: Int  # float32 [2, 32, 32], weighted values of each half of the head's width
    var totals: Int  # float32 [32, 16], which add up to those of a row's weights
    var references: Int  # float32 [32], what a row's scores are relative to

    @staticmethod
    def size() -> Int:
        return SCORES * 2 + (CHUNK * 2 + 10) * TILE + SIDE * 4

    @staticmethod
    def at(address: Int) -> Self:
        var weights = address + SCORES * 2
        var sums = weights + CHUNK * 2 * TILE
        var totals = sums + 8 * TILE
        return Self(address, weights, sums, totals, totals + 2 * TILE)

    @always_inline
    def weights_of(self, row: Int) -> Int:
        """Where a row's weights begin."""
        return line_of(self.weights, row, CHUNK * TILE)


@always_inline
def pack_window_key[instructions: StaticString](row: Int, half: Int, position: Int, keys: Int):
    """Lay out one half of the head's width of the key at a position: float32 [32]."""
    var tile = keys + position // SIDE * BLOCK + half * TILE + position % 8 // 4 * 2 * TILE
    var column = tile + (position % SIDE // 8 * 4 + position % 4) * 4
    comptime for part in range(2):
        var values = to_bfloat16[instructions](load[DType.float32, 16](row + part * 64))
        comptime for pair in range(8):
            var both = SIMD[DType.uint16, 2](values[2 * pair], values[2 * pair + 1])
            store[DType.uint16, 2](column + (part * 8 + pair) * LINE, both)


def attend_window[
    instructions: StaticString
](rows: Int, queries: Int, keys: Keys, memory: WindowScratch, result: Int):
    """Attention of up to 32 rows of one head: bfloat16 [rows, 64], perhaps in the queries' place.

    queries: packed by `pack_queries` in steps of 1 / STEPS.
    """
    # The largest score of the first block is near enough to that of all: weights may be up to 2^100. Where it is not, a
    # total says so, and the largest of all is taken.
    _refer[instructions](rows, queries, keys, 1, memory)
    if not _attend[instructions](rows, queries, keys, memory):
        _refer[instructions](rows, queries, keys, keys.blocks(), memory)
        _ = _attend[instructions](rows, queries, keys, memory)
    for row in range(rows):
        var factor = 1 / load[DType.float32, 16](memory.totals + row * 64).reduce_add()
        comptime for half in range(2):
            comptime for part in range(2):
                var sums = load[DType.float32, 16](memory.sums + (half * SIDE + row) * SIDE * 4 + part * 64)
                var place = result + row * HEAD * 2 + half * 64 + part * 32
                store[DType.uint16, 16](place, to_bfloat16[instructions](sums * factor))


@always_inline
def _score[instructions: StaticString](rows: Int, queries: Int, keys: Keys, number: Int, scores: Int):
    """Scores float32 [32, 32] of a block of positions."""
    product[instructions, DType.bfloat16](rows, queries, 2 * TILE, keys.keys + number * BLOCK, 2 * TILE, 2, scores)


@always_inline
def score_beside[
    Work: RowWork, //, instructions: StaticString
](rows: Int, queries: Int, keys: Int, scores: Int, work: Work):
    """As `_score`, beside as many rows of work; with AMX the queries are those that are held."""
    comptime if instructions == "amx":
        multiply_queries(keys, scores, work, rows)
    else:
        product_beside[instructions, DType.bfloat16](rows, queries, 2 * TILE, keys, 2 * TILE, 2, scores, work, rows)


@fieldwise_init
struct WeighRows[instructions: StaticString](RowWork):
    """Makes weights of a row's scores of a block of positions."""

    var scores: Int
    var references: Int
    var weights: Int  # of the block

    comptime TOGETHER = 4

    @always_inline
    def rows[count: Int](self, first: Int):
        var target = line_of(self.weights, first, CHUNK * TILE)
        comptime for row in range(count):
            var line = self.scores + (first + row) * SIDE * 4
            var reference = Floats(load[DType.float32, 1](self.references + (first + row) * 4))
            var weights = powers_of_two[Self.instructions](
                load[DType.float32, 16](line) - reference, load[DType.float32, 16](line + 64) - reference
            )
            store[DType.uint16, 32](target + row * LINE, weights)


@fieldwise_init
struct TotalRows[instructions: StaticString](RowWork):
    """Adds a row's weights of so many blocks of positions to their total."""

    var weights: Int
    var totals: Int
    var count: Int

    comptime TOGETHER = 1

    @always_inline
    def rows[count: Int](self, first: Int):
        comptime for row in range(count):
            var total = load[DType.float32, 16](self.totals + (first + row) * 64)
            for i in range(self.count):
                var weights = load[DType.uint16, 32](self.weights + i * TILE + (first + row) * LINE)
                total = add_pairs[Self.instructions](total, weights)
            store[DType.float32, 16](self.totals + (first + row) * 64, total)


@always_inline
def _refer[
    instructions: StaticString
](rows: Int, queries: Int, keys: Keys, blocks: Int, memory: WindowScratch):
    """Take as reference, for a weight of 1, each row's largest score in the first blocks of positions."""
    for row in range(rows):
        store(memory.references + row * 4, LOWEST)
    for number in range(blocks):
        _score[instructions](rows, queries, keys, number, memory.block)
        var used = min(SIDE, keys.used - number * SIDE)
        for row in range(rows):
            var line = memory.block + row * SIDE * 4
            var largest = load[DType.float32, 1](memory.references + row * 4)
            if used == SIDE:
                var both = larger(load[DType.float32, 16](line), load[DType.float32, 16](line + 64))
                largest = max(largest, both.reduce_max())
            else:
                for position in range(used):
                    var column = position // 8 * 4 + position % 4 + position % 8 // 4 * LINES
                    largest = max(largest, load[DType.float32, 1](line + column * 4))
            store(memory.references + row * 4, largest)
    for row in range(rows):
        var place = memory.references + row * 4
        store(place, load[DType.float32, 1](place) - BIAS * STEPS)


@always_inline
def _attend[
    instructions: StaticString
](rows: Int, queries: Int, keys: Keys, memory: WindowScratch) -> Bool:
    """Sums of weighted values, and totals of weights; whether all of these are small enough to be right."""
    var blocks = keys.blocks()
    for i in range(0, 2 * SIDE * SIDE, 16):
        store[DType.float32, 16](memory.sums + i * 4, Floats(0))
    for row in range(rows):
        store[DType.float32, 16](memory.totals + row * 64, Floats(0))
    for start in range(0, blocks, CHUNK):
        var count = min(CHUNK, blocks - start)
        comptime if instructions == "amx":
            hold_queries(queries)
        var none = NoWork()
        score_beside[instructions](rows, queries, keys.keys + start * BLOCK, memory.block, none)
        for i in range(count):
            var scores = memory.block + i % 2 * SCORES
            var weigh = WeighRows[instructions](scores, memory.references, memory.weights + i * TILE)
            if i + 1 < count:
                var next_scores = memory.block + (i + 1) % 2 * SCORES
                score_beside[instructions](rows, queries, keys.keys + (start + i + 1) * BLOCK, next_scores, weigh)
            else:
                do_rows(weigh, 0, rows)
            for hidden in range(keys.used - (start + i) * SIDE, SIDE):
                for row in range(rows):
                    store(memory.weights_of(row) + i * TILE + hidden * 2, UInt16(0))
        comptime for half in range(2):
            var of_half = memory.weights + half * CHUNK * TILE
            var add = TotalRows[instructions](of_half, memory.totals + half * LINES * 64, count)
            product_beside[instructions, DType.bfloat16, adds=True](
                rows,
                memory.weights,
                CHUNK * TILE,
                keys.values + (2 * half * keys.capacity + start) * TILE,
                keys.capacity * TILE,
                count,
                memory.sums + half * SIDE * SIDE * 4,
                add,
                max(0, min(LINES, rows - half * LINES)),
            )
    for row in range(rows):
        if not (load[DType.float32, 16](memory.totals + row * 64).reduce_add() < MOST):
            return False
    return True
