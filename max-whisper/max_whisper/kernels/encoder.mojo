"""The blocks of the encoder in one operation, in 8-bit integers, bfloat16 or float32.

Each block is two passes over the rows of all windows: queries, keys and values; then everything that needs no other row
but through those. A task takes up to 128 rows through a pass, so that their values stay in its core's cache and each
weight that is read serves all of them.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min
from std.memory import alloc

from .attention import HEAD, Keys, Scratch, attend, block_size, kind_of, pack_key, pack_queries, pack_values
from .floats import depth_of_tile, is_float, left_tile
from .functions import LOWEST_GELU, STEPS, gelu, gelu_float32, larger
from .linear import Linear
from .rows import normalize, quantize, store_floats, to_tiles
from .tiles import LINE, LINES, SIDE, Floats, begin_products, end_products, keep, load, store, to_bfloat16
from .window_attention import WindowScratch, attend_window, pack_window_key

comptime MOST_ROWS = 128  # that a task takes at once


@fieldwise_init
struct Sizes(ImplicitlyCopyable):
    """The sizes of an encoder, and of the queries, keys and values that its blocks keep."""

    var windows: Int
    var length: Int
    var width: Int
    var block: Int  # bytes of one head's queries, keys or values of 32 positions

    def heads(self) -> Int:
        return self.width // HEAD

    def blocks(self) -> Int:
        """Blocks of 32 positions that a window has, the last one perhaps in part."""
        return ceildiv(self.length, SIDE)

    def head_size(self) -> Int:
        """Bytes of one head's queries, keys or values in a window."""
        return self.blocks() * self.block

    def window_size(self) -> Int:
        """Bytes of a window's queries, keys or values."""
        return self.heads() * self.head_size()


@fieldwise_init
struct EncoderBlock[instructions: StaticString, weight: DType](ImplicitlyCopyable):
    """Where one block's parameters lie; scale and shift of a normalization lie together."""

    comptime Layer = Linear[Self.instructions, Self.weight]

    var attn_ln: Int
    var queries_keys_values: Self.Layer
    var out: Self.Layer
    var mlp_ln: Int
    var widen: Self.Layer
    var narrow: Self.Layer

    @staticmethod
    def at(address: Int, width: Int) -> Self:
        var normalization = 2 * width * 4
        var projections = Self.Layer(address + normalization, 3 * width, width)
        var out = Self.Layer(projections.end(), width, width)
        var widen = Self.Layer(out.end() + normalization, 4 * width, width)
        var narrow = Self.Layer(widen.end(), width, 4 * width)
        return Self(address, projections, out, out.end(), widen, narrow)


@fieldwise_init
struct Memory(ImplicitlyCopyable):
    """A task's own memory for up to 128 rows."""

    var values: Int  # float32 [4 * width]
    var scales: Int  # float32 [128, 2]
    var highest: Int  # float32 [128, 16], whose largest is a row's largest hidden value of the MLP
    var tiles: Int  # [128, width] as tiles
    var attended: Int  # float32 [128, width]; afterwards, for int8, the MLP's hidden values, bfloat16 [128, 4 * width]
    var hidden: Int  # [128, 4 * width] as tiles
    var attention: Int  # a Scratch or WindowScratch; between its uses up to three blocks of sums

    @staticmethod
    def size[instructions: StaticString, weight: DType](sizes: Sizes) -> Int:
        var attention = Self.at[instructions, weight](0, sizes).attention
        comptime if is_float[weight]():
            return attention + Scratch.size[instructions, DType.float32](sizes.blocks())
        else:
            return attention + WindowScratch.size()

    @staticmethod
    def at[instructions: StaticString, weight: DType](address: Int, sizes: Sizes) -> Self:
        # Bytes of a tile's values: those of 16 rows and so much of the depth.
        comptime size = left_tile[instructions, weight]() // (LINES * depth_of_tile[instructions, weight]())
        var scales = address + 16 * sizes.width
        var highest = scales + 8 * MOST_ROWS
        var tiles = highest + 64 * MOST_ROWS
        # The last tile along the depth may be filled up in part only.
        var attended = tiles + size * MOST_ROWS * ceildiv(sizes.width, 64) * 64
        var hidden = attended + 8 * MOST_ROWS * sizes.width
        return Self(address, scales, highest, tiles, attended, hidden, hidden + 4 * size * MOST_ROWS * sizes.width)


@fieldwise_init
struct Part(ImplicitlyCopyable):
    """Rows of one window."""

    var x: Int  # float32 [length, width], of the window
    var queries: Int  # of the window
    var keys: Int
    var values: Int
    var first: Int  # a multiple of 32
    var rows: Int

    def sides(self) -> Int:
        """Blocks of 32 rows, the last one perhaps in part."""
        return ceildiv(self.rows, SIDE)

    def rows_of(self, side: Int) -> Int:
        return min(SIDE, self.rows - side * SIDE)


@always_inline
def _normalized_tiles[
    instructions: StaticString, weight: DType
](part: Part, width: Int, normalization: Int, memory: Memory):
    """The part's rows, normalized, as tiles."""
    for row in range(part.rows):
        var place = part.x + (part.first + row) * width * 4
        normalize(place, width, normalization, normalization + width * 4, memory.values)
        var scale = to_tiles[instructions, weight](memory.values, width, memory.tiles, row)
        store[DType.float32, 2](memory.scales + row * 8, scale)


def project[
    instructions: StaticString, weight: DType
](sizes: Sizes, part: Part, block: EncoderBlock[instructions, weight], memory: Memory):
    """The part's queries, keys and values."""
    _normalized_tiles[instructions, weight](part, sizes.width, block.attn_ln, memory)
    var linear = block.queries_keys_values
    var result = memory.attention
    for column in range(0, linear.columns, SIDE):
        var kind = column // sizes.width
        var place = column % sizes.width // HEAD * sizes.head_size()
        var half = column % HEAD // SIDE
        for side in range(part.sides()):
            var rows = part.rows_of(side)
            linear.block(
                rows, memory.tiles + side * linear.side_size(), memory.scales + side * SIDE * 8, column, result
            )
            var number = part.first // SIDE + side
            if kind == 0:
                var queries = part.queries + place + number * sizes.block
                comptime steps = 1 if is_float[weight]() else STEPS
                pack_queries[instructions, kind_of[weight](), steps](result, SIDE * 4, rows, half, queries)
            elif kind == 1:
                for row in range(rows):
                    var key, position = result + row * SIDE * 4, number * SIDE + row
                    comptime if is_float[weight]():
                        pack_key[instructions, DType.float32](key, half, position, part.keys + place)
                    else:
                        pack_window_key[instructions](key, half, position, part.keys + place)
            else:
                for row in range(rows, SIDE):
                    for i in range(0, SIDE, 16):
                        store[DType.float32, 16](result + (row * SIDE + i) * 4, Floats(0))
                pack_values[instructions, kind_of[weight]()](result, half, number, sizes.blocks(), part.values + place)


def finish[
    instructions: StaticString, weight: DType
](sizes: Sizes, part: Part, block: EncoderBlock[instructions, weight], memory: Memory):
    """Attention, its output projection and the MLP of the part, in place; the window's keys and values are all there."""
    var width = sizes.width
    for head in range(sizes.heads()):
        var place = head * sizes.head_size()
        var keys = Keys(part.keys + place, part.values + place, sizes.blocks(), sizes.length)
        for side in range(part.sides()):
            var queries = part.queries + place + (part.first // SIDE + side) * sizes.block
            var result = memory.attended + (side * SIDE * width + head * HEAD) * 4
            var rows = part.rows_of(side)
            comptime if is_float[weight]():
                var scratch = Scratch.at[instructions, DType.float32](memory.attention, sizes.blocks())
                attend[instructions, DType.float32](
                    rows, queries, keys, 0, sizes.length, 0, scratch, result, width * 4
                )
            else:
                var scratch = WindowScratch.at(memory.attention)
                attend_window[instructions](rows, queries, keys, scratch, result, width * 4)
    for row in range(part.rows):
        var scale = to_tiles[instructions, weight](memory.attended + row * width * 4, width, memory.tiles, row)
        store[DType.float32, 2](memory.scales + row * 8, scale)
    _add[instructions](part, block.out, memory.tiles, memory)
    _normalized_tiles[instructions, weight](part, width, block.mlp_ln, memory)
    _widen[instructions](part, block.widen, memory)
    _add[instructions](part, block.narrow, memory.hidden, memory)


@fieldwise_init
struct Blocks[instructions: StaticString, weight: DType](ImplicitlyCopyable):
    """The results of a linear layer for a part's rows, 32 x 32 at a time; the rows of a column follow each other."""

    var part: Part
    var linear: Linear[Self.instructions, Self.weight]
    var tiles: Int  # of the rows
    var places: Int  # [2, 32, 32], where sums come in turn

    @always_inline
    def count(self) -> Int:
        return self.linear.columns // SIDE * self.part.sides()

    @always_inline
    def column(self, number: Int) -> Int:
        return number // self.part.sides() * SIDE

    @always_inline
    def first(self, number: Int) -> Int:
        """The first row, counted from the part's first."""
        return number % self.part.sides() * SIDE

    @always_inline
    def rows(self, number: Int) -> Int:
        return self.part.rows_of(number % self.part.sides())

    @always_inline
    def sums(self, number: Int) -> Int:
        return self.places + number % 2 * SIDE * SIDE * 4

    @always_inline
    def multiply(self, number: Int):
        """Begin a product, if there is one of this number."""
        if number < self.count():
            var tiles = self.tiles + self.first(number) // SIDE * self.linear.side_size()
            self.linear.multiply(self.rows(number), tiles, self.column(number), self.sums(number))

    @always_inline
    def keep(self, number: Int):
        """Bring the sums of a product to their place."""
        if number < self.count():
            keep[Self.instructions](self.rows(number), self.sums(number))


def _add[
    instructions: StaticString, weight: DType
](part: Part, linear: Linear[instructions, weight], tiles: Int, memory: Memory):
    """Add a linear layer's results to the part's rows."""
    var blocks = Blocks(part, linear, tiles, memory.attention)
    blocks.multiply(0)
    blocks.keep(0)
    for number in range(blocks.count()):
        # The next product is under way while this one's sums become results.
        blocks.multiply(number + 1)
        var parameters = linear.parameters(blocks.column(number))
        for i in range(blocks.rows(number)):
            var row = blocks.first(number) + i
            var place = part.x + ((part.first + row) * linear.columns + blocks.column(number)) * 4
            comptime for half in range(2):
                var added = parameters.finish[half](blocks.sums(number) + i * SIDE * 4, memory.scales + row * 8)
                store[DType.float32, 16](place + half * 64, load[DType.float32, 16](place + half * 64) + added)
        blocks.keep(number + 1)


def _widen[
    instructions: StaticString, weight: DType
](part: Part, linear: Linear[instructions, weight], memory: Memory):
    """The first half of the MLP: GELU of a linear layer, as tiles for the second half."""
    var depth = linear.columns
    comptime in_tile = depth_of_tile[instructions, weight]()
    comptime tile_size = left_tile[instructions, weight]()
    comptime if weight == DType.int8:
        for row in range(part.rows):
            store[DType.float32, 16](memory.highest + row * 64, Floats(LOWEST_GELU))
    var blocks = Blocks(part, linear, memory.tiles, memory.attention)
    blocks.multiply(0)
    blocks.keep(0)
    for number in range(blocks.count()):
        blocks.multiply(number + 1)
        var column = blocks.column(number)
        var parameters = linear.parameters(column)
        for i in range(blocks.rows(number)):
            var row = blocks.first(number) + i
            var line = blocks.sums(number) + i * SIDE * 4
            var one = parameters.finish[0](line, memory.scales + row * 8)
            var other = parameters.finish[1](line, memory.scales + row * 8)
            var tile = memory.hidden + (row // LINES * (depth // in_tile) + column // in_tile) * tile_size
            var place = tile + row % LINES * LINE
            comptime if is_float[weight]():
                comptime next = 16 // in_tile * tile_size  # with 32 values in a tile it is the same one
                store_floats[instructions](gelu_float32(one), place, 0)
                store_floats[instructions](gelu_float32(other), place + next, 1)
            else:
                one, other = gelu(one), gelu(other)
                comptime if weight == DType.int8:
                    place = memory.attended + (row * depth + column) * 2
                    var highest = load[DType.float32, 16](memory.highest + row * 64)
                    store[DType.float32, 16](memory.highest + row * 64, larger(highest, larger(one, other)))
                store[DType.uint16, 16](place, to_bfloat16[instructions](one))
                store[DType.uint16, 16](place + 32, to_bfloat16[instructions](other))
        blocks.keep(number + 1)
    comptime if weight == DType.int8:
        # A row's scale is known when all of its columns are. GELU's lowest value is, always.
        for row in range(part.rows):
            var highest = load[DType.float32, 16](memory.highest + row * 64).reduce_max()
            var scale = quantize[instructions, DType.bfloat16](
                memory.attended + row * depth * 2, depth, LOWEST_GELU, highest, memory.hidden, row
            )
            store[DType.float32, 2](memory.scales + row * 8, scale)


@extensibility.register("encoder_blocks")
struct EncoderBlocks:
    """All blocks of the encoder and its last normalization: x float32 [windows, length, width] -> the same.

    parameters: uint8 [layers, bytes], packed by graphs/packing.py. ln_post: float32
    [2, width], scale and shift.
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType
    ](
        result: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        parameters: InputTensor[dtype=DType.uint8, rank=2, ...],
        ln_post: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        var shape = x.shape()
        var sizes = Sizes(shape[0], shape[1], shape[2], block_size[instructions, kind_of[weight]()]())
        var n_threads = parallelism_level(None)
        var together = max(1, min(MOST_ROWS // SIDE, sizes.blocks() * sizes.windows // n_threads))
        var parts = ceildiv(sizes.blocks(), together)
        var n_parts = parts * sizes.windows
        var tensor_size = sizes.windows * sizes.window_size()
        var memory = alloc[UInt8](3 * tensor_size + n_threads * Memory.size[instructions, weight](sizes), alignment=64)
        var tensors = Int(memory)
        var values = Int(result.unsafe_ptr())
        var source = x.unsafe_ptr()
        var layers = Int(parameters.unsafe_ptr())
        var layer_size = parameters.shape()[1]
        for i in range(0, sizes.windows * sizes.length * sizes.width, 16):
            store[DType.float32, 16](values + i * 4, source.unsafe_offset(i).unsafe_load[width=16]())

        var n_layers = parameters.shape()[0]
        var last_ln = Int(ln_post.unsafe_ptr())
        for layer in range(n_layers):
            var block = EncoderBlock[instructions, weight].at(layers + layer * layer_size, sizes.width)

            @always_inline
            def over_parts[is_last: Bool](number: Int) {imm}:
                var own_memory = tensors + 3 * tensor_size + number * Memory.size[instructions, weight](sizes)
                var own = Memory.at[instructions, weight](own_memory, sizes)
                begin_products[instructions]()
                for index in range(n_parts * number // n_threads, n_parts * (number + 1) // n_threads):
                    var window = index // parts
                    var first = index % parts * together * SIDE
                    var queries = tensors + window * sizes.window_size()
                    var part = Part(
                        values + window * sizes.length * sizes.width * 4,
                        queries,
                        queries + tensor_size,
                        queries + 2 * tensor_size,
                        first,
                        min(together * SIDE, sizes.length - first),
                    )
                    comptime if is_last:
                        finish[instructions](sizes, part, block, own)
                        if layer == n_layers - 1:
                            for row in range(part.rows):
                                var place = part.x + (part.first + row) * sizes.width * 4
                                normalize(place, sizes.width, last_ln, last_ln + sizes.width * 4, place)
                    else:
                        project[instructions](sizes, part, block, own)
                end_products[instructions]()

            def projecting(number: Int) {imm}:
                over_parts[False](number)

            def finishing(number: Int) {imm}:
                over_parts[True](number)

            sync_parallelize(projecting, n_threads)
            sync_parallelize(finishing, n_threads)
        memory.free()
