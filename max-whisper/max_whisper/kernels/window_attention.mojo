"""Attention of the encoder, where every row sees the whole window: one pass over the positions.

`kind` is bfloat16 or float32. Tiles of queries and values are as in attention.mojo, and so are those of keys, but for
the order of bfloat16's columns: of 8 positions the first 4 are in one tile and the others in the next, so that a row's
scores of 32 positions, rounded to 16 bits and packed as AVX-512 packs them, come in the order of the positions.
"""

from std.math import max, min

from .amx import hold_queries, multiply_queries
from .attention import HEAD, LOWEST, Keys, block_size, pack_key, quarter_size, tiles_of_head
from .floats import any_product_beside, depth_of_tile, is_split, left_tile
from .functions import BIAS, STEPS, add_pairs, larger, power_of_two_float32, powers_of_two, smaller
from .rows import store_floats
from .tiles import LINE, LINES, SIDE, TILE, Floats, line_of, load, store, to_bfloat16
from .work import NoWork, RowWork, do_rows

comptime SCORES = SIDE * SIDE * 4  # bytes
comptime MOST = Float32(2) ** 100  # that weights may add up to


@always_inline
def _chunk[kind: DType]() -> Int:
    """Blocks of positions whose weights are made before their values are added."""
    return 8 if kind == DType.bfloat16 else 4


@always_inline
def steps_of[kind: DType]() -> Int:
    """Steps of 1 that queries are to be packed in."""
    return STEPS if kind == DType.bfloat16 else 1


@fieldwise_init
struct WindowScratch[instructions: StaticString, kind: DType](ImplicitlyCopyable):
    """A task's own memory for attention to a window."""

    comptime CHUNK = _chunk[Self.kind]()
    comptime QUARTER = quarter_size[Self.instructions, Self.kind]()

    var block: Int  # float32 [2, 32, 32], scores of two blocks of positions; free between calls of `attend_window`
    var weights: Int  # [32, 32 * CHUNK] as tiles
    var sums: Int  # float32 [2, 32, 32], weighted values of each half of the head's width
    var totals: Int  # float32 [32, 16], which add up to those of a row's weights
    var references: Int  # float32 [32], what a row's scores are relative to

    @staticmethod
    def size() -> Int:
        return SCORES * 2 + 2 * Self.CHUNK * Self.QUARTER + 10 * TILE + SIDE * 4

    @staticmethod
    def at(address: Int) -> Self:
        var weights = address + SCORES * 2
        var sums = weights + 2 * Self.CHUNK * Self.QUARTER
        var totals = sums + 8 * TILE
        return Self(address, weights, sums, totals, totals + 2 * TILE)

    @always_inline
    def weights_of(self, row: Int) -> Int:
        """Where a row's weights begin."""
        return line_of(self.weights, row, Self.CHUNK * Self.QUARTER)


@always_inline
def pack_window_key[
    instructions: StaticString, kind: DType
](row: Int, half: Int, position: Int, keys: Int):
    """Lay out one half of the head's width of the key at a position: float32 [32]."""
    comptime if kind == DType.float32:
        pack_key[instructions, kind](row, half, position, keys)
    else:
        comptime block = block_size[instructions, kind]()
        var tile = keys + position // SIDE * block + half * TILE + position % 8 // 4 * 2 * TILE
        var column = tile + (position % SIDE // 8 * 4 + position % 4) * 4
        comptime for part in range(2):
            var values = to_bfloat16[instructions](load[DType.float32, 16](row + part * 64))
            comptime for pair in range(8):
                var both = SIMD[DType.uint16, 2](values[2 * pair], values[2 * pair + 1])
                store[DType.uint16, 2](column + (part * 8 + pair) * LINE, both)


def attend_window[
    instructions: StaticString, kind: DType
](rows: Int, queries: Int, keys: Keys, memory: WindowScratch[instructions, kind], result: Int):
    """Attention of up to 32 rows of one head: of the kind [rows, 64], perhaps in the queries' place.

    queries: packed by `pack_queries` in steps of 1 / `steps_of`.
    """
    # The largest score of the first block is near enough to that of all: weights may be up to 2^100. Where it is not, a
    # total says so, and the largest of all is taken.
    _refer(rows, queries, keys, 1, memory)
    if not _attend(rows, queries, keys, memory):
        _refer(rows, queries, keys, keys.blocks(), memory)
        _ = _attend(rows, queries, keys, memory)
    for row in range(rows):
        var factor = 1 / load[DType.float32, 16](memory.totals + row * 64).reduce_add()
        comptime for part in range(4):
            var place = memory.sums + (part // 2 * SIDE + row) * SIDE * 4 + part % 2 * 64
            var values = load[DType.float32, 16](place) * factor
            comptime if kind == DType.bfloat16:
                store[DType.uint16, 16](result + row * HEAD * 2 + part * 32, to_bfloat16[instructions](values))
            else:
                store[DType.float32, 16](result + row * HEAD * 4 + part * 64, values)


@always_inline
def _hold[instructions: StaticString, kind: DType](queries: Int):
    """What comes before `_score_beside`, and again after any other product."""
    comptime if instructions == "amx" and kind == DType.bfloat16:
        hold_queries(queries)


@always_inline
def _score_beside[
    Work: RowWork, //, instructions: StaticString, kind: DType
](rows: Int, queries: Int, keys: Int, scores: Int, work: Work, work_rows: Int):
    """Scores float32 [32, 32] of a block of positions, beside so many rows of work."""
    comptime if instructions == "amx" and kind == DType.bfloat16:
        multiply_queries(keys, scores, work, work_rows)
    else:
        comptime tiles = tiles_of_head[instructions, kind]()
        comptime size = tiles * left_tile[instructions, kind]()
        any_product_beside[instructions, kind](rows, queries, size, keys, size, tiles, scores, work, work_rows)


@fieldwise_init
struct WeighRows[instructions: StaticString, kind: DType](RowWork):
    """Makes weights of a row's scores of a block of positions; of float32 it adds them to the row's total."""

    var scores: Int
    var references: Int
    var weights: Int  # of the block
    var totals: Int

    comptime TOGETHER = 4 if Self.kind == DType.bfloat16 else 2

    @always_inline
    def rows[count: Int](self, first: Int):
        comptime size = WindowScratch[Self.instructions, Self.kind].QUARTER
        var target = line_of(self.weights, first, _chunk[Self.kind]() * size)
        comptime for row in range(count):
            var line = self.scores + (first + row) * SIDE * 4
            var reference = Floats(load[DType.float32, 1](self.references + (first + row) * 4))
            var one = load[DType.float32, 16](line) - reference
            var other = load[DType.float32, 16](line + 64) - reference
            comptime if Self.kind == DType.bfloat16:
                store[DType.uint16, 32](target + row * LINE, powers_of_two[Self.instructions](one, other))
            else:
                # At most 2^127, which is too much already: more would wrap around.
                one = power_of_two_float32(smaller(one, Floats(127)))
                other = power_of_two_float32(smaller(other, Floats(127)))
                var total = self.totals + (first + row) * 64
                store[DType.float32, 16](total, load[DType.float32, 16](total) + (one + other))
                comptime next = 0 if is_split[Self.instructions, Self.kind]() else TILE
                store_floats[Self.instructions](one, target + row * LINE, 0)
                store_floats[Self.instructions](other, target + row * LINE + next, 1)


@fieldwise_init
struct TotalRows[instructions: StaticString](RowWork):
    """Adds a row's weights, bfloat16, of so many blocks of positions to their total."""

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
def _column[kind: DType](position: Int) -> Int:
    """Where a position is among the scores of its block."""
    return position // 8 * 4 + position % 4 + position % 8 // 4 * LINES if kind == DType.bfloat16 else position


@always_inline
def _refer[
    instructions: StaticString, kind: DType, //
](rows: Int, queries: Int, keys: Keys, blocks: Int, memory: WindowScratch[instructions, kind]):
    """Take as reference, for a weight of 1, each row's largest score in the first blocks of positions."""
    var none = NoWork()
    for row in range(rows):
        store(memory.references + row * 4, LOWEST)
    _hold[instructions, kind](queries)
    for number in range(blocks):
        var place = keys.keys + number * block_size[instructions, kind]()
        _score_beside[instructions, kind](rows, queries, place, memory.block, none, 0)
        var used = min(SIDE, keys.used - number * SIDE)
        for row in range(rows):
            var line = memory.block + row * SIDE * 4
            var largest = load[DType.float32, 1](memory.references + row * 4)
            if used == SIDE:
                var both = larger(load[DType.float32, 16](line), load[DType.float32, 16](line + 64))
                largest = max(largest, both.reduce_max())
            else:
                for position in range(used):
                    largest = max(largest, load[DType.float32, 1](line + _column[kind](position) * 4))
            store(memory.references + row * 4, largest)
    comptime if kind == DType.bfloat16:
        for row in range(rows):
            var place = memory.references + row * 4
            store(place, load[DType.float32, 1](place) - BIAS * STEPS)


@always_inline
def _attend[
    instructions: StaticString, kind: DType, //
](rows: Int, queries: Int, keys: Keys, memory: WindowScratch[instructions, kind]) -> Bool:
    """Sums of weighted values, and totals of weights; whether all of these are small enough to be right."""
    for i in range(0, 2 * SIDE * SIDE, 16):
        store[DType.float32, 16](memory.sums + i * 4, Floats(0))
    for row in range(rows):
        store[DType.float32, 16](memory.totals + row * 64, Floats(0))
    comptime chunk = _chunk[kind]()
    comptime size = quarter_size[instructions, kind]()
    comptime block = block_size[instructions, kind]()
    var blocks = keys.blocks()
    var none = NoWork()
    for start in range(0, blocks, chunk):
        var count = min(chunk, blocks - start)
        _hold[instructions, kind](queries)
        _score_beside[instructions, kind](rows, queries, keys.keys + start * block, memory.block, none, 0)
        for i in range(count):
            var scores = memory.block + i % 2 * SCORES
            var hidden = keys.used - (start + i) * SIDE  # from this position of the block on
            comptime if kind == DType.float32:
                for position in range(hidden, SIDE):
                    for row in range(rows):
                        store(scores + (row * SIDE + position) * 4, LOWEST)
            var weights = memory.weights + i * size
            var weigh = WeighRows[instructions, kind](scores, memory.references, weights, memory.totals)
            if i + 1 < count:
                var next_keys = keys.keys + (start + i + 1) * block
                var next_scores = memory.block + (i + 1) % 2 * SCORES
                _score_beside[instructions, kind](rows, queries, next_keys, next_scores, weigh, rows)
            else:
                do_rows(weigh, 0, rows)
            comptime if kind == DType.bfloat16:
                for position in range(hidden, SIDE):
                    for row in range(rows):
                        store(memory.weights_of(row) + i * size + position * 2, UInt16(0))
        comptime for half in range(2):
            var values = keys.values + (2 * half * keys.capacity + start) * size
            var steps = count * SIDE // depth_of_tile[instructions, kind]()
            var sums = memory.sums + half * SIDE * SIDE * 4
            comptime if kind == DType.bfloat16:
                var of_half = memory.weights + half * chunk * size
                var add = TotalRows[instructions](of_half, memory.totals + half * LINES * 64, count)
                var rows_of_half = max(0, min(LINES, rows - half * LINES))
                any_product_beside[instructions, kind, adds=True](
                    rows, memory.weights, chunk * size, values, keys.capacity * size, steps, sums, add, rows_of_half
                )
            else:
                any_product_beside[instructions, kind, adds=True](
                    rows, memory.weights, chunk * size, values, keys.capacity * size, steps, sums, none, 0
                )
    for row in range(rows):
        if not (load[DType.float32, 16](memory.totals + row * 64).reduce_add() < MOST):
            return False
    return True
