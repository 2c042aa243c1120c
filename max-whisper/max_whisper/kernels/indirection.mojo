"""Attention of a window's hypotheses to texts of which they share parts.

The key and value of a token are written once, to the slot of the hypothesis that it was added to. A table tells which
slot holds each position of a hypothesis, so that one goes on from the text of another by a copy of that one's line of the
table, not of its keys and values (the cache indirection of NVIDIA's FasterTransformer and TensorRT-LLM).
"""

from .attention import SCORES, Scratch, block_size, hide, quarter_size, softmax, tiles_of_head
from .caches import Caches
from .floats import any_product, is_split, left_tile
from .tiles import LINE, LINES, SIDE, TILE, Floats, load, store


@fieldwise_init
struct Indirection(ImplicitlyCopyable):
    """Which slots hold the positions of some hypotheses, and which of them are to be read at all."""

    var table: Int  # uint16 [hypotheses, capacity]
    var capacity: Int  # positions, a multiple of 32
    var slots: Int  # of each window
    var blocks: Int  # of 32 positions that are read
    var used: Int  # uint8 [parts, slots, blocks], whether a part of the hypotheses has positions of a block in a slot

    @always_inline
    def line(self, hypothesis: Int) -> Int:
        return self.table + hypothesis * self.capacity * 2

    @always_inline
    def _place(self, part: Int, slot: Int, block: Int) -> Int:
        return self.used + (part * self.slots + slot) * self.blocks + block

    @always_inline
    def uses(self, part: Int, slot: Int, block: Int) -> Bool:
        return load[DType.uint8, 1](self._place(part, slot, block)) != 0

    def clear(self, parts: Int):
        for i in range(parts * self.slots * self.blocks):
            store(self.used + i, UInt8(0))

    def mark(self, part: Int, hypothesis: Int):
        """Say of a part that the hypothesis is one of it."""
        for position in range(self.blocks * SIDE):
            var slot = Int(load[DType.uint16, 1](self.line(hypothesis) + position * 2))
            store(self._place(part, slot, position // SIDE), UInt8(1))


def attend_through[
    instructions: StaticString, kind: DType
](
    rows: Int,
    queries: Int,
    caches: Caches,
    first_slot: Int,
    layer: Int,
    head: Int,
    indirection: Indirection,
    part: Int,
    line: Int,
    line_stride: Int,
    first: Int,
    seen: Int,
    grows: Int,
    memory: Scratch,
    masked: Int,
    result: Int,
    stride: Int,
):
    """As `attend`, where row i finds its positions in the slots that the table's line at `line + line_stride * i` names.

    first_slot: the number of the window's first slot in the caches. masked: room for weights [32, positions] as tiles.
    """
    comptime head_tiles = tiles_of_head[instructions, kind]()
    comptime head_size = head_tiles * left_tile[instructions, kind]()
    comptime size = quarter_size[instructions, kind]()
    comptime element = DType.float32 if kind == DType.float32 else DType.uint16
    comptime half_size = TILE if kind == DType.float32 else 32  # bytes from 16 positions of a row to the next 16
    comptime assert not is_split[instructions, kind](), "the decoder's attention is not of sums of bfloat16"
    var blocks = indirection.blocks
    for block in range(blocks):
        var scores = memory.scores + block * SCORES
        var is_first = True
        for slot in range(indirection.slots):
            if not indirection.uses(part, slot, block):
                continue
            var keys = caches.keys(first_slot + slot, layer, head, 0)
            var target = scores if is_first else memory.block
            var block_keys = keys.keys + block * block_size[instructions, kind]()
            any_product[instructions, kind](rows, queries, head_size, block_keys, head_size, head_tiles, target)
            if not is_first:
                for row in range(rows):
                    comptime for half in range(2):
                        var place = row * SIDE * 4 + half * 64
                        var is_here = _is_in(slot, line + row * line_stride + block * SIDE * 2 + half * 32)
                        var values = load[DType.float32, 16](memory.block + place)
                        store[DType.float32, 16](scores + place, is_here.select(values, load[DType.float32, 16](scores + place)))
            is_first = False
    for row in range(rows):
        hide(memory.scores + row * SIDE * 4, 0, first)
        hide(memory.scores + row * SIDE * 4, seen + grows * row, blocks * SIDE)
    softmax[instructions, kind](blocks, rows, memory)

    var is_first = True
    for slot in range(indirection.slots):
        var keys = caches.keys(first_slot + slot, layer, head, 0)
        var begin = 0
        while begin < blocks:
            var end = begin
            while end < blocks and indirection.uses(part, slot, end):
                end += 1
            if end > begin:
                for row in range(rows):
                    var weights = memory.weights + row // LINES * blocks * size + row % LINES * LINE
                    var target = masked + row // LINES * (end - begin) * size + row % LINES * LINE
                    for block in range(begin, end):
                        comptime for half in range(2):
                            var is_here = _is_in(slot, line + row * line_stride + block * SIDE * 2 + half * 32)
                            var values = load[element, 16](weights + block * size + half * half_size)
                            var kept = is_here.select(values, SIMD[element, 16](0))
                            store[element, 16](target + (block - begin) * size + half * half_size, kept)
                for half in range(2):
                    any_product[instructions, kind](
                        rows,
                        masked,
                        (end - begin) * size,
                        keys.values + (2 * half * keys.capacity + begin) * size,
                        keys.capacity * size,
                        (end - begin) * size // left_tile[instructions, kind](),
                        memory.block,
                    )
                    for row in range(rows):
                        comptime for quarter in range(2):
                            var place = result + row * stride + half * 128 + quarter * 64
                            var sums = load[DType.float32, 16](memory.block + row * SIDE * 4 + quarter * 64)
                            if not is_first:
                                sums += load[DType.float32, 16](place)
                            store[DType.float32, 16](place, sums)
                is_first = False
            begin = end + 1
    for row in range(rows):
        var factor = Floats(load[DType.float32, 1](memory.factors + row * 4))
        comptime for quarter in range(4):
            var place = result + row * stride + quarter * 64
            store[DType.float32, 16](place, load[DType.float32, 16](place) * factor)


@always_inline
def _is_in(slot: Int, holders: Int) -> SIMD[DType.bool, 16]:
    """Whether each of 16 positions is in a slot; holders: uint16 [16]."""
    return load[DType.uint16, 16](holders).eq(UInt16(slot))
