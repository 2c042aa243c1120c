"""Attention of one head over tiles of bfloat16, for the windows of the encoder and for the tokens of the decoder.

Positions come in blocks of 32. Queries are tiles for the left, [rows / 16, 2], the head's width of 64 being two lines.
Keys are tiles for the right whose columns are positions, [positions / 16, 2]; values are tiles for the right whose depth
is positions, [64 / 16, positions / 32].
"""

from .functions import larger, power_of_two
from .tiles import LINE, LINES, SIDE, TILE, Floats, load, product, store, to_bfloat16

comptime HEAD = 64  # the width of a head, in every Whisper
comptime BLOCK = 4 * TILE  # bytes of the queries, keys or values of 32 positions
comptime SCORES = SIDE * SIDE * 4 + 128  # bytes between blocks of scores: a power of two would fill one set of the cache
comptime LOWEST = Float32.MIN_FINITE


@fieldwise_init
struct Keys(ImplicitlyCopyable):
    """The keys and values of one head."""

    var keys: Int
    var values: Int
    var capacity: Int  # blocks of 32 positions that there is room for
    var used: Int  # positions that are there

    def blocks(self) -> Int:
        """Blocks of 32 positions that are there, the last one perhaps in part."""
        return (self.used + SIDE - 1) // SIDE


@fieldwise_init
struct Scratch(ImplicitlyCopyable):
    """A task's own memory for attention."""

    var scores: Int  # float32 [32, positions], in blocks of 32 x 32
    var weights: Int  # bfloat16 [32, positions] as tiles
    var block: Int  # float32 [32, 32]
    var factors: Int  # float32 [32]

    @staticmethod
    def size(blocks: Int) -> Int:
        """Bytes for so many blocks of positions."""
        return blocks * (SCORES + 2 * TILE) + TILE * 4 + SIDE * 4

    @staticmethod
    def at(address: Int, blocks: Int) -> Self:
        var weights = address + blocks * SCORES
        var block = weights + blocks * 2 * TILE
        return Self(address, weights, block, block + TILE * 4)


@always_inline
def pack_queries[
    instructions: StaticString, steps: Int = 1
](block: Int, stride: Int, rows: Int, half: Int, target: Int):
    """Lay out one half of the head's width of up to 32 rows: float32 [rows, 32], `stride` bytes from row to row.

    The values are multiplied by 1 / sqrt(64), and by log2(e) because the softmax takes powers of two, in steps of
    1 / `steps`.
    """
    comptime scale = Float32(0.125 * 1.4426950408889634) * Float32(steps)
    for row in range(rows):
        var line = target + half * TILE + row // LINES * 2 * TILE + row % LINES * LINE
        comptime for part in range(2):
            var values = load[DType.float32, 16](block + row * stride + part * 64) * scale
            store[DType.uint16, 16](line + part * 32, to_bfloat16[instructions](values))


@always_inline
def pack_key[instructions: StaticString](row: Int, half: Int, position: Int, keys: Int):
    """Lay out one half of the head's width of the key at a position: float32 [32]."""
    var column = keys + position // LINES * 2 * TILE + half * TILE + position % LINES * 4
    comptime for part in range(2):
        var values = to_bfloat16[instructions](load[DType.float32, 16](row + part * 64))
        comptime for pair in range(8):
            var both = SIMD[DType.uint16, 2](values[2 * pair], values[2 * pair + 1])
            store[DType.uint16, 2](column + (part * 8 + pair) * LINE, both)


@always_inline
def pack_values[instructions: StaticString](block: Int, half: Int, number: Int, capacity: Int, values: Int):
    """Lay out one half of the head's width of the values of a whole block of positions: float32 [32, 32]."""
    var target = values + (2 * half * capacity + number) * TILE
    for pair in range(SIDE // 2):
        comptime for part in range(2):
            var even = to_bfloat16[instructions](load[DType.float32, 16](block + 2 * pair * SIDE * 4 + part * 64))
            var odd = to_bfloat16[instructions](load[DType.float32, 16](block + (2 * pair + 1) * SIDE * 4 + part * 64))
            store[DType.uint16, 32](target + part * capacity * TILE + pair * LINE, even.interleave(odd))


@always_inline
def pack_value[instructions: StaticString](row: Int, position: Int, capacity: Int, values: Int):
    """Lay out the value at a position, float32 [64]; that at the first of a block makes the rest of the block zero."""
    if position % SIDE == 0:
        clear_values(position // SIDE, capacity, values)
    var place = values + position // SIDE * TILE + position % SIDE // 2 * LINE + position % 2 * 2
    for quarter in range(4):
        var rounded = to_bfloat16[instructions](load[DType.float32, 16](row + quarter * 64))
        comptime for i in range(16):
            store(place + quarter * capacity * TILE + i * 4, rounded[i])


@always_inline
def clear_values(number: Int, capacity: Int, values: Int):
    """Make the values of a block of positions zero, so that weights of zero make nothing of those not yet there."""
    for quarter in range(4):
        for line in range(LINES):
            var place = values + (quarter * capacity + number) * TILE + line * LINE
            store[DType.uint8, 64](place, SIMD[DType.uint8, 64](0))


def attend[
    instructions: StaticString
](rows: Int, queries: Int, keys: Keys, first: Int, seen: Int, grows: Int, memory: Scratch, result: Int, stride: Int):
    """Attention of up to 32 rows of one head: float32 [rows, 64], `stride` bytes from row to row.

    Row i sees the positions from `first` to `seen + grows * i`, that one not included.
    """
    var blocks = keys.blocks()
    for number in range(blocks):
        product[instructions, DType.bfloat16](
            rows, queries, 2 * TILE, keys.keys + number * BLOCK, 2 * TILE, 2, memory.scores + number * SCORES
        )
    for row in range(rows):
        hide(memory.scores + row * SIDE * 4, 0, first)
        hide(memory.scores + row * SIDE * 4, seen + grows * row, blocks * SIDE)
    softmax[instructions](blocks, rows, memory)
    for half in range(2):
        product[instructions, DType.bfloat16](
            rows,
            memory.weights,
            blocks * TILE,
            keys.values + 2 * half * keys.capacity * TILE,
            keys.capacity * TILE,
            blocks,
            memory.block,
        )
        for row in range(rows):
            var factor = Floats(load[DType.float32, 1](memory.factors + row * 4))
            comptime for part in range(2):
                var sums = load[DType.float32, 16](memory.block + row * SIDE * 4 + part * 64)
                store[DType.float32, 16](result + row * stride + half * 128 + part * 64, sums * factor)


@always_inline
def hide(row: Int, start: Int, stop: Int):
    """Give a row the lowest score from one position to another."""
    for position in range(start, stop):
        store(row + position // SIDE * SCORES + position % SIDE * 4, LOWEST)


@always_inline
def softmax[instructions: StaticString](blocks: Int, rows: Int, memory: Scratch):
    """Scores of the first rows to weights that are yet to be times `factors`."""
    var row = 0
    while row + 4 <= rows:
        _softmax[instructions, 4](blocks, row, memory)
        row += 4
    while row < rows:
        _softmax[instructions, 1](blocks, row, memory)
        row += 1


@always_inline
def _softmax[instructions: StaticString, rows: Int](blocks: Int, first: Int, memory: Scratch):
    var line = memory.scores + first * SIDE * 4
    var largest = Array[Floats, 2 * rows](fill=Floats(LOWEST))
    for number in range(blocks):
        comptime for i in range(2 * rows):
            largest[i] = larger(largest[i], load[DType.float32, 16](line + number * SCORES + i * 64))
    comptime for row in range(rows):
        var top = Floats(larger(largest[2 * row], largest[2 * row + 1]).reduce_max())
        var target = memory.weights + (first + row) // LINES * blocks * TILE + (first + row) % LINES * LINE
        var totals = Array[Floats, 2](fill=Floats(0))
        for number in range(blocks):
            comptime for half in range(2):
                var scores = load[DType.float32, 16](line + number * SCORES + row * 128 + half * 64)
                var weights = power_of_two(scores - top)
                totals[half] += weights
                store[DType.uint16, 16](target + number * TILE + half * 32, to_bfloat16[instructions](weights))
        store(memory.factors + (first + row) * 4, 1 / (totals[0] + totals[1]).reduce_add())
