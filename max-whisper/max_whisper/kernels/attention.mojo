"""Attention of one head over tiles: how queries, keys and values lie, and that of the decoder's tokens.

`kind` is bfloat16, or float32 (floats.mojo). Positions come in blocks of 32. Queries are tiles for the left, [rows / 16,
tiles of a head's width]. Keys are tiles for the right whose columns are positions, [positions / 16, tiles of a head's
width]; values are tiles for the right whose depth is positions, [64 / 16, tiles of all positions].
"""

from .floats import any_product, depth_of_tile, is_split, left_tile, split
from .functions import larger, power_of_two, power_of_two_float32
from .rows import store_floats
from .tiles import LINE, LINES, SIDE, TILE, Floats, load, store, to_bfloat16

comptime HEAD = 64  # the width of a head, in every Whisper
comptime SCORES = SIDE * SIDE * 4 + 128  # bytes between blocks of scores: a power of two would fill one set of the cache
comptime LOWEST = Float32.MIN_FINITE


@always_inline
def tiles_of_head[instructions: StaticString, kind: DType]() -> Int:
    """Tiles that a head's width takes."""
    return HEAD // depth_of_tile[instructions, kind]()


@always_inline
def quarter_size[instructions: StaticString, kind: DType]() -> Int:
    """Bytes of a quarter of the head's width of the values of 32 positions."""
    return SIDE // depth_of_tile[instructions, kind]() * left_tile[instructions, kind]()


@always_inline
def block_size[instructions: StaticString, kind: DType]() -> Int:
    """Bytes of the queries, keys or values of 32 positions."""
    return 4 * quarter_size[instructions, kind]()


@always_inline
def kind_of[weight: DType]() -> DType:
    """What attention is of in a model with such weights."""
    return DType.float32 if weight == DType.float16 or weight == DType.float32 else DType.bfloat16


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
    var weights: Int  # [32, positions] as tiles
    var block: Int  # float32 [32, 32]
    var factors: Int  # float32 [32]

    @staticmethod
    def size[instructions: StaticString, kind: DType](blocks: Int) -> Int:
        """Bytes for so many blocks of positions."""
        return blocks * (SCORES + 2 * quarter_size[instructions, kind]()) + TILE * 4 + SIDE * 4

    @staticmethod
    def at[instructions: StaticString, kind: DType](address: Int, blocks: Int) -> Self:
        var weights = address + blocks * SCORES
        var block = weights + blocks * 2 * quarter_size[instructions, kind]()
        return Self(address, weights, block, block + TILE * 4)


@always_inline
def pack_queries[
    instructions: StaticString, kind: DType, steps: Int = 1
](block: Int, stride: Int, rows: Int, half: Int, target: Int):
    """Lay out one half of the head's width of up to 32 rows: float32 [rows, 32], `stride` bytes from row to row.

    The values are multiplied by 1 / sqrt(64), and by log2(e) because the softmax takes powers of two, in steps of
    1 / `steps`.
    """
    for row in range(rows):
        pack_query[instructions, kind, steps](block + row * stride, row, half, target)


@always_inline
def pack_query[
    instructions: StaticString, kind: DType, steps: Int = 1
](values: Int, row: Int, half: Int, target: Int):
    """As `pack_queries` for one row, float32 [32]."""
    comptime scale = Float32(0.125 * 1.4426950408889634) * Float32(steps)
    comptime in_tile = depth_of_tile[instructions, kind]()
    comptime tile_size = left_tile[instructions, kind]()
    var line = target + row // LINES * tiles_of_head[instructions, kind]() * tile_size + row % LINES * LINE
    comptime for part in range(2):
        var scaled = load[DType.float32, 16](values + part * 64) * scale
        var place = line + (half * SIDE + part * 16) // in_tile * tile_size
        comptime if kind == DType.float32:
            store_floats[instructions](scaled, place, part)
        else:
            store[DType.uint16, 16](place + part * 32, to_bfloat16[instructions](scaled))


@always_inline
def pack_key[instructions: StaticString, kind: DType](row: Int, half: Int, position: Int, keys: Int):
    """Lay out one half of the head's width of the key at a position: float32 [32]."""
    comptime tile_size = left_tile[instructions, kind]()
    comptime in_tile = depth_of_tile[instructions, kind]()
    var column = keys + position // LINES * tiles_of_head[instructions, kind]() * tile_size + position % LINES * 4
    column += half * SIDE // in_tile * tile_size
    comptime for part in range(2):
        var values = load[DType.float32, 16](row + part * 64)
        comptime if kind == DType.bfloat16:
            _store_pairs(to_bfloat16[instructions](values), column + part * 8 * LINE)
        elif is_split[instructions, kind]():
            var parts = split[instructions](values)
            comptime for i in range(3):
                _store_pairs(parts[i], column + i * TILE + part * 8 * LINE)
        else:
            comptime for i in range(16):
                store[DType.float32, 1](column + part * TILE + i * LINE, values[i])


@always_inline
def _store_pairs(values: SIMD[DType.uint16, 16], column: Int):
    """Values of 16 bits, two to a line."""
    comptime for pair in range(8):
        store[DType.uint16, 2](column + pair * LINE, SIMD[DType.uint16, 2](values[2 * pair], values[2 * pair + 1]))


@always_inline
def pack_values[
    instructions: StaticString, kind: DType
](block: Int, half: Int, number: Int, capacity: Int, values: Int):
    """Lay out one half of the head's width of the values of a whole block of positions: float32 [32, 32]."""
    comptime size = quarter_size[instructions, kind]()
    comptime for part in range(2):
        var target = values + ((2 * half + part) * capacity + number) * size
        var source = block + part * 64
        comptime if is_split[instructions, kind]():
            for pair in range(SIDE // 2):
                var even = split[instructions](load[DType.float32, 16](source + 2 * pair * SIDE * 4))
                var odd = split[instructions](load[DType.float32, 16](source + (2 * pair + 1) * SIDE * 4))
                comptime for i in range(3):
                    store[DType.uint16, 32](target + i * TILE + pair * LINE, even[i].interleave(odd[i]))
        elif kind == DType.float32:
            for row in range(SIDE):
                store[DType.float32, 16](target + row * LINE, load[DType.float32, 16](source + row * SIDE * 4))
        else:
            for pair in range(SIDE // 2):
                var even = to_bfloat16[instructions](load[DType.float32, 16](source + 2 * pair * SIDE * 4))
                var odd = to_bfloat16[instructions](load[DType.float32, 16](source + (2 * pair + 1) * SIDE * 4))
                store[DType.uint16, 32](target + pair * LINE, even.interleave(odd))


@always_inline
def pack_value[instructions: StaticString, kind: DType](row: Int, position: Int, capacity: Int, values: Int):
    """Lay out the value at a position, float32 [64]; that at the first of a block makes the rest of the block zero."""
    comptime size = quarter_size[instructions, kind]()
    if position % SIDE == 0:
        clear_values[instructions, kind](position // SIDE, capacity, values)
    var block = values + position // SIDE * size
    var place = block + position % SIDE // 2 * LINE + position % 2 * 2
    for quarter in range(4):
        var given = load[DType.float32, 16](row + quarter * 64)
        comptime if is_split[instructions, kind]():
            var parts = split[instructions](given)
            comptime for part in range(3):
                comptime for i in range(16):
                    store(place + quarter * capacity * size + part * TILE + i * 4, parts[part][i])
        elif kind == DType.float32:
            store[DType.float32, 16](block + quarter * capacity * size + position % SIDE * LINE, given)
        else:
            var rounded = to_bfloat16[instructions](given)
            comptime for i in range(16):
                store(place + quarter * capacity * size + i * 4, rounded[i])


@always_inline
def clear_values[instructions: StaticString, kind: DType](number: Int, capacity: Int, values: Int):
    """Make the values of a block of positions zero, so that weights of zero make nothing of those not yet there."""
    comptime size = quarter_size[instructions, kind]()
    for quarter in range(4):
        for line in range(0, size, LINE):
            var place = values + (quarter * capacity + number) * size + line
            store[DType.uint8, 64](place, SIMD[DType.uint8, 64](0))


def attend[
    instructions: StaticString, kind: DType
](rows: Int, queries: Int, keys: Keys, first: Int, seen: Int, grows: Int, memory: Scratch, result: Int, stride: Int):
    """Attention of up to 32 rows of one head: float32 [rows, 64], `stride` bytes from row to row.

    Row i sees the positions from `first` to `seen + grows * i`, that one not included.
    """
    comptime head_tiles = tiles_of_head[instructions, kind]()
    comptime head_size = head_tiles * left_tile[instructions, kind]()
    comptime size = quarter_size[instructions, kind]()
    var blocks = keys.blocks()
    for number in range(blocks):
        any_product[instructions, kind](
            rows,
            queries,
            head_size,
            keys.keys + number * block_size[instructions, kind](),
            head_size,
            head_tiles,
            memory.scores + number * SCORES,
        )
    for row in range(rows):
        hide(memory.scores + row * SIDE * 4, 0, first)
        hide(memory.scores + row * SIDE * 4, seen + grows * row, blocks * SIDE)
    softmax[instructions, kind](blocks, rows, memory)
    for half in range(2):
        any_product[instructions, kind](
            rows,
            memory.weights,
            blocks * size,
            keys.values + 2 * half * keys.capacity * size,
            keys.capacity * size,
            blocks * SIDE // depth_of_tile[instructions, kind](),
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
def softmax[instructions: StaticString, kind: DType](blocks: Int, rows: Int, memory: Scratch):
    """Scores of the first rows to weights that are yet to be times `factors`."""
    var row = 0
    while row + 4 <= rows:
        _softmax[instructions, kind, 4](blocks, row, memory)
        row += 4
    while row < rows:
        _softmax[instructions, kind, 1](blocks, row, memory)
        row += 1


@always_inline
def _softmax[instructions: StaticString, kind: DType, rows: Int](blocks: Int, first: Int, memory: Scratch):
    comptime size = quarter_size[instructions, kind]()
    var line = memory.scores + first * SIDE * 4
    var largest = Array[Floats, 2 * rows](fill=Floats(LOWEST))
    for number in range(blocks):
        comptime for i in range(2 * rows):
            largest[i] = larger(largest[i], load[DType.float32, 16](line + number * SCORES + i * 64))
    comptime for row in range(rows):
        var top = Floats(larger(largest[2 * row], largest[2 * row + 1]).reduce_max())
        var target = memory.weights + (first + row) // LINES * blocks * size + (first + row) % LINES * LINE
        var totals = Array[Floats, 2](fill=Floats(0))
        for number in range(blocks):
            comptime for half in range(2):
                var scores = load[DType.float32, 16](line + number * SCORES + row * 128 + half * 64)
                comptime if kind == DType.float32:
                    comptime step = 0 if is_split[instructions, kind]() else half * TILE
                    var weights = power_of_two_float32(scores - top)
                    totals[half] += weights
                    store_floats[instructions](weights, target + number * size + step, half)
                else:
                    var weights = power_of_two(scores - top)
                    totals[half] += weights
                    store[DType.uint16, 16](target + number * size + half * 32, to_bfloat16[instructions](weights))
        store(memory.factors + (first + row) * 4, 1 / (totals[0] + totals[1]).reduce_add())
