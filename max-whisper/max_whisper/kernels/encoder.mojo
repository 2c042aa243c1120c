"""The blocks of the encoder in one operation, in 8-bit integers, bfloat16 or float32.

Each block is two passes over the rows of all windows: queries, keys and values; then everything that needs no other row
but through those. A task takes up to 128 rows through a pass, so that their values stay in its core's cache and each
weight that is read serves all of them.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min
from std.memory import alloc
from std.sys import size_of

from .attention import HEAD, Keys, block_size, kind_of, pack_query, pack_values
from .blocks import MOST_ROWS, Blocks, PackKeys
from .floats import depth_of_tile, is_float, left_tile
from .functions import LOWEST_GELU, larger
from .linear import ColumnParameters, FinishRows, Linear, gelu_rows
from .rows import normalize, quantize, store_floats, to_tiles
from .team import Team, in_team
from .tiles import LINES, SIDE, Floats, line_of, load, store, to_bfloat16
from .window_attention import WindowScratch, attend_window, steps_of
from .work import RowWork, do_rows


@always_inline
def parts_of_mlp[weight: DType]() -> Int:
    """Parts that the MLP's hidden values are made and used in.

    Those of float32, three times as large, would not all stay in the core's cache. 8-bit integers must have all at once,
    because a row's scale is that of all of its values.
    """
    return 4 if is_float[weight]() else 1


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
    var wide: Int  # for int8, the MLP's hidden values, bfloat16 [128, 4 * width]
    var hidden: Int  # a part of [128, 4 * width] as tiles
    var attention: Int  # a WindowScratch; between its uses two blocks of sums

    @staticmethod
    def size[instructions: StaticString, weight: DType](sizes: Sizes) -> Int:
        var attention = Self.at[instructions, weight](0, sizes).attention
        return attention + WindowScratch[instructions, kind_of[weight]()].size()

    @staticmethod
    def at[instructions: StaticString, weight: DType](address: Int, sizes: Sizes) -> Self:
        # Bytes of a tile's values: those of 16 rows and so much of the depth.
        comptime size = left_tile[instructions, weight]() // (LINES * depth_of_tile[instructions, weight]())
        var scales = address + 16 * sizes.width
        var highest = scales + 8 * MOST_ROWS
        var tiles = highest + 64 * MOST_ROWS
        # The last tile along the depth may be filled up in part only.
        var wide = tiles + size * MOST_ROWS * ceildiv(sizes.width, 64) * 64
        var hidden = wide + (8 * MOST_ROWS * sizes.width if weight == DType.int8 else 0)
        var attention = hidden + 4 * size * MOST_ROWS * sizes.width // parts_of_mlp[weight]()
        return Self(address, scales, highest, tiles, wide, hidden, attention)


@fieldwise_init
struct Part(ImplicitlyCopyable):
    """Rows of one window."""

    var x: Int  # float32 [length, width], of the window
    var queries: Int  # of the window
    var keys: Int
    var values: Int
    var first: Int  # a multiple of 32
    var rows: Int


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


@fieldwise_init
struct PackQueries[instructions: StaticString, weight: DType](RowWork):
    """Lays out results of a linear layer as one half of a head's width of queries."""

    var finished: FinishRows[Self.weight]
    var half: Int
    var queries: Int

    comptime TOGETHER = 1

    @always_inline
    def rows[count: Int](self, first: Int):
        comptime kind = kind_of[Self.weight]()
        self.finished.rows[count](first)
        comptime for i in range(count):
            var row = first + i
            pack_query[Self.instructions, kind, steps_of[kind]()](self.finished.line(row), row, self.half, self.queries)


def project[
    instructions: StaticString, weight: DType
](sizes: Sizes, part: Part, block: EncoderBlock[instructions, weight], memory: Memory):
    """The part's queries, keys and values."""
    _normalized_tiles[instructions, weight](part, sizes.width, block.attn_ln, memory)
    var linear = block.queries_keys_values
    var blocks = Blocks.of(part.rows, linear, memory.tiles, memory.scales, memory.attention)
    blocks.multiply(0)
    for number in range(blocks.count()):
        var column, rows, sums = blocks.column(number), blocks.rows(number), blocks.sums(number)
        var place = column % sizes.width // HEAD * sizes.head_size()
        var half = column % HEAD // SIDE
        var here = (part.first + blocks.first(number)) // SIDE
        var finished = FinishRows(linear.parameters(column), sums, blocks.scales(number))
        if column < sizes.width:
            var queries = part.queries + place + here * sizes.block
            var pack = PackQueries[instructions](finished^, half, queries)
            blocks.multiply_beside(number + 1, pack, rows)
        elif column < 2 * sizes.width:
            var pack = PackKeys[instructions, for_window=True](finished^, half, here * SIDE, part.keys + place)
            blocks.multiply_beside(number + 1, pack, rows)
        else:
            blocks.multiply_beside(number + 1, finished, rows)
            for row in range(rows, SIDE):
                for i in range(0, SIDE, 16):
                    store[DType.float32, 16](sums + (row * SIDE + i) * 4, Floats(0))
            pack_values[instructions, kind_of[weight]()](sums, half, here, sizes.blocks(), part.values + place)


def attend_rows[
    instructions: StaticString, weight: DType
](sizes: Sizes, part: Part, head: Int, memory: Memory):
    """Attention of one head for up to 32 rows, in the place of their queries: [rows, 64], bfloat16 or float32."""
    comptime kind = kind_of[weight]()
    var place = head * sizes.head_size()
    var keys = Keys(part.keys + place, part.values + place, sizes.blocks(), sizes.length)
    var queries = part.queries + place + part.first // SIDE * sizes.block
    var scratch = WindowScratch[instructions, kind].at(memory.attention)
    attend_window[instructions, kind](part.rows, queries, keys, scratch, queries)


def finish[
    instructions: StaticString, weight: DType
](sizes: Sizes, part: Part, block: EncoderBlock[instructions, weight], memory: Memory):
    """What follows on attention: its output projection and the MLP of the part, in place."""
    var width = sizes.width
    comptime kind = kind_of[weight]()
    comptime size = size_of[Scalar[kind]]()
    for row in range(part.rows):
        var position = part.first + row
        var place = part.queries + position // SIDE * sizes.block + position % SIDE * HEAD * size
        for head in range(sizes.heads()):
            comptime for i in range(0, HEAD, 16):
                var values = load[kind, 16](place + i * size).cast[DType.float32]()
                store[DType.float32, 16](memory.values + (head * HEAD + i) * 4, values)
            place += sizes.head_size()
        var scale = to_tiles[instructions, weight](memory.values, width, memory.tiles, row)
        store[DType.float32, 2](memory.scales + row * 8, scale)
    comptime Results = Blocks[instructions, weight]
    _add(part, Results.of(part.rows, block.out, memory.tiles, memory.scales, memory.attention))
    _normalized_tiles[instructions, weight](part, width, block.mlp_ln, memory)
    var steps = block.narrow.steps() // parts_of_mlp[weight]()
    for number in range(parts_of_mlp[weight]()):
        _widen[instructions](part, block.widen, number, memory)
        _add(
            part,
            Results(
                part.rows, block.narrow, memory.hidden, memory.scales, memory.attention, number * steps, steps
            ),
        )


@fieldwise_init
struct AddRows[weight: DType](RowWork):
    """Adds results of a linear layer to rows."""

    var parameters: ColumnParameters[Self.weight]
    var sums: Int
    var scales: Int
    var target: Int
    var stride: Int

    comptime TOGETHER = 1

    @always_inline
    def rows[count: Int](self, first: Int):
        comptime for i in range(count):
            var row = first + i
            var place = self.target + row * self.stride
            comptime for half in range(2):
                var added = self.parameters.finish[half](self.sums + row * SIDE * 4, self.scales + row * 8)
                store[DType.float32, 16](place + half * 64, load[DType.float32, 16](place + half * 64) + added)


def _add[
    instructions: StaticString, weight: DType
](part: Part, blocks: Blocks[instructions, weight]):
    """Add a linear layer's results to the part's rows; its bias with the first steps along the depth."""
    blocks.multiply(0)
    for number in range(blocks.count()):
        var column = blocks.column(number)
        var stride = blocks.linear.columns * 4
        var target = part.x + (part.first + blocks.first(number)) * stride + column * 4
        var parameters = blocks.linear.parameters(column)
        if blocks.first_step:
            parameters.bias = Array[Floats, 2](fill=Floats(0))
        var add = AddRows(parameters^, blocks.sums(number), blocks.scales(number), target, stride)
        blocks.multiply_beside(number + 1, add, blocks.rows(number))


@fieldwise_init
struct WidenRows[instructions: StaticString, weight: DType](RowWork):
    """GELU of results of a linear layer: for int8 as bfloat16 [rows, depth], otherwise as tiles for the second half."""

    var parameters: ColumnParameters[Self.weight]
    var sums: Int
    var scales: Int
    var first: Int  # row
    var column: Int
    var depth: Int
    var memory: Memory

    comptime TOGETHER = 2

    @always_inline
    def rows[count: Int](self, first: Int):
        comptime in_tile = depth_of_tile[Self.instructions, Self.weight]()
        comptime tile_size = left_tile[Self.instructions, Self.weight]()
        var values = gelu_rows[count](self.parameters, self.sums, self.scales, first)
        comptime for i in range(count):
            var row = self.first + first + i
            var one = values.slice[16, offset=i * 32]()
            var other = values.slice[16, offset=i * 32 + 16]()
            comptime if Self.weight == DType.int8:
                var place = self.memory.wide + (row * self.depth + self.column) * 2
                var highest = self.memory.highest + row * 64
                store[DType.float32, 16](highest, larger(load[DType.float32, 16](highest), larger(one, other)))
                store[DType.uint16, 16](place, to_bfloat16[Self.instructions](one))
                store[DType.uint16, 16](place + 32, to_bfloat16[Self.instructions](other))
            else:
                var tiles = self.memory.hidden + self.column // in_tile * tile_size
                var place = line_of(tiles, row, self.depth // in_tile * tile_size)
                comptime if is_float[Self.weight]():
                    comptime next = 16 // in_tile * tile_size  # with 32 values in a tile it is the same one
                    store_floats[Self.instructions](one, place, 0)
                    store_floats[Self.instructions](other, place + next, 1)
                else:
                    store[DType.uint16, 16](place, to_bfloat16[Self.instructions](one))
                    store[DType.uint16, 16](place + 32, to_bfloat16[Self.instructions](other))


def _widen[
    instructions: StaticString, weight: DType
](part: Part, linear: Linear[instructions, weight], number_of_part: Int, memory: Memory):
    """One of `parts_of_mlp` of the MLP's first half: GELU of a linear layer, as tiles for the second half."""
    var depth = linear.columns // parts_of_mlp[weight]()
    comptime if weight == DType.int8:
        for row in range(part.rows):
            store[DType.float32, 16](memory.highest + row * 64, Floats(LOWEST_GELU))
    var blocks = Blocks.of(part.rows, linear, memory.tiles, memory.scales, memory.attention)
    var count = blocks.count() // parts_of_mlp[weight]()
    var begin = count * number_of_part
    blocks.multiply(begin)
    for number in range(begin, begin + count):
        var column = blocks.column(number)
        var widen = WidenRows[instructions](
            linear.parameters(column),
            blocks.sums(number),
            blocks.scales(number),
            blocks.first(number),
            column % depth,
            depth,
            memory,
        )
        if number + 1 < begin + count:
            blocks.multiply_beside(number + 1, widen, blocks.rows(number))
        else:
            do_rows(widen, 0, blocks.rows(number))
    comptime if weight == DType.int8:
        # A row's scale is known when all of its columns are. GELU's lowest value is, always.
        for row in range(part.rows):
            var highest = load[DType.float32, 16](memory.highest + row * 64).reduce_max()
            var scale = quantize[instructions, DType.bfloat16](
                memory.wide + row * depth * 2, depth, LOWEST_GELU, highest, memory.hidden, row
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
        var n_sides = sizes.windows * sizes.heads() * sizes.blocks()
        var n_spans = min(n_sides, max(sizes.windows * sizes.heads(), 8 * n_threads))
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
        comptime Block = EncoderBlock[instructions, weight]

        @always_inline
        def part_of(window: Int, first: Int, rows: Int) {imm} -> Part:
            var queries = tensors + window * sizes.window_size()
            return Part(
                values + window * sizes.length * sizes.width * 4,
                queries,
                queries + tensor_size,
                queries + 2 * tensor_size,
                first,
                min(rows, sizes.length - first),
            )

        def work(mut team: Team) {imm}:
            var own = tensors + 3 * tensor_size + team.thread * Memory.size[instructions, weight](sizes)
            var memory = Memory.at[instructions, weight](own, sizes)
            for layer in range(n_layers):
                var block = Block.at(layers + layer * layer_size, sizes.width)

                def projecting(item: Int) {imm}:
                    var part = part_of(item // parts, item % parts * together * SIDE, together * SIDE)
                    project[instructions, weight](sizes, part, block, memory)

                def attending(item: Int) {imm}:
                    # The rows of a head follow each other, so that its keys and values stay in the core's cache.
                    for number in range(n_sides * item // n_spans, n_sides * (item + 1) // n_spans):
                        var head = number // sizes.blocks()
                        var part = part_of(head // sizes.heads(), number % sizes.blocks() * SIDE, SIDE)
                        attend_rows[instructions, weight](sizes, part, head % sizes.heads(), memory)

                def finishing(item: Int) {imm}:
                    var part = part_of(item // parts, item % parts * together * SIDE, together * SIDE)
                    finish[instructions, weight](sizes, part, block, memory)
                    if layer == n_layers - 1:
                        for row in range(part.rows):
                            var place = part.x + (part.first + row) * sizes.width * 4
                            normalize(place, sizes.width, last_ln, last_ln + sizes.width * 4, place)

                team.share(parts * sizes.windows, projecting)
                team.share(n_spans, attending)
                team.share(parts * sizes.windows, finishing)

        in_team[instructions](n_threads, 3 * n_layers, work)
        memory.free()
