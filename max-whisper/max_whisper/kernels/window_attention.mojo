"""Attention of the encoder, where every row sees the whole window: one pass over the positions.

Tiles of queries and values are as in attention.mojo, and so are those of keys but for the order of their columns: of 8
positions the first 4 are in one tile and the others in the next, so that a row's scores of 32 positions, rounded to 16
bits and packed as AVX-512 packs them, come in the order of the positions.
"""

from std.math import max, min

from .attention import LOWEST, Keys, block_size
from .functions import BIAS, STEPS, add_pairs, larger, powers_of_two
from .tiles import LINE, LINES, SIDE, TILE, Floats, keep, load, multiply, product, store, to_bfloat16

comptime CHUNK = 8  # blocks of positions whose weights are made before their values are added
comptime BLOCK = block_size["plain", DType.bfloat16]()  # the same for all instructions
comptime SCORES = SIDE * SIDE * 4  # bytes
comptime MOST = Float32(2) ** 100  # that weights may add up to


@fieldwise_init
struct WindowScratch(ImplicitlyCopyable):
    """A task's own memory for attention to a window."""

    var block: Int  # float32 [3, 32, 32], scores of three blocks of positions; free between calls of `attend_window`
    var weights: Int  # bfloat16 [32, 32 * CHUNK] as tiles
    var sums: Int  # float32 [2, 32, 32], weighted values of each half of the head's width
    var totals: Int  # float32 [32, 16], which add up to those of a row's weights
    var references: Int  # float32 [32], what a row's scores are relative to

    @staticmethod
    def size() -> Int:
        return SCORES * 3 + (CHUNK * 2 + 10) * TILE + SIDE * 4

    @staticmethod
    def at(address: Int) -> Self:
        var weights = address + SCORES * 3
        var sums = weights + CHUNK * 2 * TILE
        var totals = sums + 8 * TILE
        return Self(address, weights, sums, totals, totals + 2 * TILE)

    @always_inline
    def weights_of(self, row: Int) -> Int:
        """Where a row's weights begin."""
        return self.weights + row // LINES * CHUNK * TILE + row % LINES * LINE


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
](rows: Int, queries: Int, keys: Keys, memory: WindowScratch, result: Int, stride: Int):
    """Attention of up to 32 rows of one head: float32 [rows, 64], `stride` bytes from row to row.

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
                store[DType.float32, 16](result + row * stride + half * 128 + part * 64, sums * factor)


@always_inline
def _score[instructions: StaticString](rows: Int, queries: Int, keys: Keys, number: Int, scores: Int):
    """Scores float32 [32, 32] of a block of positions, which are there after `keep`."""
    multiply[instructions, DType.bfloat16](rows, queries, 2 * TILE, keys.keys + number * BLOCK, 2 * TILE, 2, scores)


@always_inline
def _refer[
    instructions: StaticString
](rows: Int, queries: Int, keys: Keys, blocks: Int, memory: WindowScratch):
    """Take as reference, for a weight of 1, each row's largest score in the first blocks of positions."""
    for row in range(rows):
        store(memory.references + row * 4, LOWEST)
    for number in range(blocks):
        _score[instructions](rows, queries, keys, number, memory.block)
        keep[instructions](rows, memory.block)
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
        _score[instructions](rows, queries, keys, start, memory.block)
        keep[instructions](rows, memory.block)
        if count > 1:
            _score[instructions](rows, queries, keys, start + 1, memory.block + SCORES)
        for i in range(count):
            # While scores become weights, the next are on their way to memory and those after them are computed.
            if i + 1 < count:
                keep[instructions](rows, memory.block + (i + 1) % 3 * SCORES)
            if i + 2 < count:
                _score[instructions](rows, queries, keys, start + i + 2, memory.block + (i + 2) % 3 * SCORES)
            for row in range(rows):
                var line = memory.block + i % 3 * SCORES + row * SIDE * 4
                var reference = Floats(load[DType.float32, 1](memory.references + row * 4))
                var weights = powers_of_two[instructions](
                    load[DType.float32, 16](line) - reference, load[DType.float32, 16](line + 64) - reference
                )
                store[DType.uint16, 32](memory.weights_of(row) + i * TILE, weights)
            for hidden in range(keys.used - (start + i) * SIDE, SIDE):
                for row in range(rows):
                    store(memory.weights_of(row) + i * TILE + hidden * 2, UInt16(0))
        for half in range(2):
            product[instructions, DType.bfloat16, adds=True](
                rows,
                memory.weights,
                CHUNK * TILE,
                keys.values + (2 * half * keys.capacity + start) * TILE,
                keys.capacity * TILE,
                count,
                memory.sums + half * SIDE * SIDE * 4,
            )
        for row in range(rows):
            var total = load[DType.float32, 16](memory.totals + row * 64)
            for i in range(count):
                total = add_pairs[instructions](total, load[DType.uint16, 32](memory.weights_of(row) + i * TILE))
            store[DType.float32, 16](memory.totals + row * 64, total)
    for row in range(rows):
        if not (load[DType.float32, 16](memory.totals + row * 64).reduce_add() < MOST):
            return False
    return True
