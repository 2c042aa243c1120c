"""A step of the decoder in one operation, in 8-bit integers or bfloat16: tokens in, logits out.

A step for one token reads every weight once and does little with it, so what counts is that nothing else takes time:
the values of a token go from layer to layer in the caches, and threads meet six times in a layer.
"""

import extensibility
from extensibility import InputTensor, OutputTensor, _MutableInputTensor as MutableInputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min
from std.memory import alloc

from .attention import BLOCK, HEAD, Keys, Scratch, attend, pack_key, pack_queries, pack_value
from .caches import Caches, Text
from .functions import gelu
from .linear import Linear
from .rows import normalize, to_tiles
from .tiles import SIDE, begin_products, end_products, load, store

comptime FEW = 64  # rows that one thread normalizes sooner than it wakes others


@fieldwise_init
struct DecoderBlock[instructions: StaticString, weight: DType](ImplicitlyCopyable):
    """Where one block's parameters lie; scale and shift of a normalization lie together."""

    comptime Layer = Linear[Self.instructions, Self.weight]

    var attn_ln: Int
    var queries_keys_values: Self.Layer
    var out: Self.Layer
    var cross_attn_ln: Int
    var cross_query: Self.Layer
    var cross_out: Self.Layer
    var mlp_ln: Int
    var widen: Self.Layer
    var narrow: Self.Layer

    @staticmethod
    def at(address: Int, width: Int) -> Self:
        var normalization = 2 * width * 4
        var projections = Self.Layer(address + normalization, 3 * width, width)
        var out = Self.Layer(projections.end(), width, width)
        var cross_query = Self.Layer(out.end() + normalization, width, width)
        var cross_out = Self.Layer(cross_query.end(), width, width)
        var widen = Self.Layer(cross_out.end() + normalization, 4 * width, width)
        var narrow = Self.Layer(widen.end(), width, 4 * width)
        return Self(
            address, projections, out, out.end(), cross_query, cross_out, cross_out.end(), widen, narrow
        )


@fieldwise_init
struct Memory(ImplicitlyCopyable):
    """What all threads share in a step, and after it what each has for itself."""

    var x: Int  # float32 [tokens, width]
    var wide: Int  # float32 [tokens, 4 * width]
    var attended: Int  # float32 [tokens, width]
    var tiles: Int  # [tokens, 4 * width] as tiles
    var scales: Int  # float32 [tokens]
    var own: Int
    var own_size: Int

    @staticmethod
    def own_size_of(width: Int, blocks: Int) -> Int:
        return 16 * width + BLOCK + Scratch.size(blocks)

    @staticmethod
    def size(tokens: Int, width: Int, blocks: Int, n_threads: Int) -> Int:
        var room = ceildiv(tokens, SIDE) * SIDE
        return room * (32 * width + 64) + n_threads * Self.own_size_of(width, blocks)

    @staticmethod
    def at(address: Int, tokens: Int, width: Int, blocks: Int) -> Self:
        var room = ceildiv(tokens, SIDE) * SIDE
        var wide = address + room * 4 * width
        var attended = wide + room * 16 * width
        var tiles = attended + room * 4 * width
        var scales = tiles + room * 8 * width
        return Self(address, wide, attended, tiles, scales, scales + room * 64, Self.own_size_of(width, blocks))

    @always_inline
    def values(self, thread: Int) -> Int:
        """A thread's float32 [4 * width]."""
        return self.own + thread * self.own_size

    @always_inline
    def queries(self, thread: Int, width: Int) -> Int:
        """A thread's queries of 32 rows, as tiles."""
        return self.values(thread) + 16 * width

    @always_inline
    def attention(self, thread: Int, width: Int, blocks: Int) -> Scratch:
        return Scratch.at(self.queries(thread, width) + BLOCK, blocks)


@fieldwise_init
struct Step[instructions: StaticString, weight: DType](ImplicitlyCopyable):
    """A step under way."""

    comptime Layer = Linear[Self.instructions, Self.weight]

    var text: Text
    var memory: Memory
    var blocks: Int  # of 32 positions that attention has room for
    var n_threads: Int

    def prepare(self, source: Int, rows: Int, width: Int, normalization: Int):
        """Rows float32 [rows, width] as tiles, normalized before unless `normalization` is 0."""

        @always_inline
        def some(thread: Int, first: Int, last: Int) {imm}:
            for row in range(first, last):
                var values = source + row * width * 4
                if normalization:
                    normalize(values, width, normalization, normalization + width * 4, self.memory.values(thread))
                    values = self.memory.values(thread)
                var scale = to_tiles[Self.instructions, Self.weight](values, width, self.memory.tiles, row)
                store(self.memory.scales + row * 4, scale)

        if rows <= FEW:
            some(0, 0, rows)
            return

        def task(thread: Int) {imm}:
            some(thread, rows * thread // self.n_threads, rows * (thread + 1) // self.n_threads)

        sync_parallelize(task, self.n_threads)

    @always_inline
    def block(self, linear: Self.Layer, rows: Int, side: Int, column: Int, scratch: Scratch):
        """32 columns of a linear layer for the prepared rows of a side, to the scratch's block."""
        linear.block(
            min(SIDE, rows - side * SIDE),
            self.memory.tiles + side * linear.side_size(),
            self.memory.scales + side * SIDE * 4,
            column,
            scratch.block,
        )

    def linear[finish: StaticString](self, linear: Self.Layer, target: Int, rows: Int, columns: Int):
        """A linear layer of the prepared rows to float32 [rows, columns].

        finish: `store` for the results themselves, `gelu` for that of them, `add` to add them to what is there.
        columns: those of the target; the layer's last ones may be only for filling.
        """
        var panels = linear.columns // SIDE

        def task(thread: Int) {imm}:
            var scratch = self.memory.attention(thread, self.text.width, self.blocks)
            begin_products[Self.instructions]()
            for panel in range(panels * thread // self.n_threads, panels * (thread + 1) // self.n_threads):
                var column = panel * SIDE
                for side in range(ceildiv(rows, SIDE)):
                    self.block(linear, rows, side, column, scratch)
                    for row in range(min(SIDE, rows - side * SIDE)):
                        var place = target + ((side * SIDE + row) * columns + column) * 4
                        var result = scratch.block + row * SIDE * 4
                        if column + SIDE > columns:
                            for i in range(columns - column):
                                store(place + i * 4, load[DType.float32, 1](result + i * 4))
                            continue
                        comptime for half in range(2):
                            var values = load[DType.float32, 16](result + half * 64)
                            comptime if finish == "gelu":
                                values = gelu(values)
                            elif finish == "add":
                                values += load[DType.float32, 16](place + half * 64)
                            store[DType.float32, 16](place + half * 64, values)
            end_products[Self.instructions]()

        sync_parallelize(task, self.n_threads)

    @always_inline
    def _attend_rows(
        self, thread: Int, first: Int, rows: Int, head: Int, stride: Int, keys: Keys, start: Int, seen: Int, grows: Int
    ):
        """Attention of tokens that follow each other; their queries are in `wide`, `stride` columns from one to the next."""
        var width = self.text.width
        var scratch = self.memory.attention(thread, width, self.blocks)
        var queries = self.memory.queries(thread, width)
        for side in range(0, rows, SIDE):
            var some = min(SIDE, rows - side)
            var place = self.memory.wide + ((first + side) * stride + head * HEAD) * 4
            pack_queries[Self.instructions](place, stride * 4, some, 0, queries)
            pack_queries[Self.instructions](place + SIDE * 4, stride * 4, some, 1, queries)
            attend[Self.instructions](
                some,
                queries,
                keys,
                start,
                seen + grows * side,
                grows,
                scratch,
                self.memory.attended + ((first + side) * width + head * HEAD) * 4,
                width * 4,
            )

    @always_inline
    def _columns_of_head(self, linear: Self.Layer, thread: Int, first: Int, head: Int, stride: Int):
        """The 64 columns from `first` on of a linear layer that belong to a head, for all tokens, to `wide`."""
        var scratch = self.memory.attention(thread, self.text.width, self.blocks)
        var rows = self.text.tokens()
        for half in range(2):
            var column = first + head * HEAD + half * SIDE
            for side in range(ceildiv(rows, SIDE)):
                self.block(linear, rows, side, column, scratch)
                for row in range(min(SIDE, rows - side * SIDE)):
                    var place = self.memory.wide + ((side * SIDE + row) * stride + column) * 4
                    comptime for part in range(2):
                        var values = load[DType.float32, 16](scratch.block + row * SIDE * 4 + part * 64)
                        store[DType.float32, 16](place + part * 64, values)

    def attend_to_text(self, linear: Self.Layer, caches: Caches, layer: Int):
        """Queries, keys and values of the prepared tokens, the caches' new entries, and attention to all of them."""
        var text = self.text
        var width = text.width

        def task(thread: Int) {imm}:
            begin_products[Self.instructions]()
            for head in range(text.heads() * thread // self.n_threads, text.heads() * (thread + 1) // self.n_threads):
                for kind in range(3):
                    self._columns_of_head(linear, thread, kind * width, head, 3 * width)
                for row in range(text.rows()):
                    var number = text.number(row // text.group) * text.group + row % text.group
                    var keys = caches.keys(number, layer, head, text.held + text.length)
                    for i in range(text.length):
                        var token = self.memory.wide + ((row * text.length + i) * 3 * width + head * HEAD) * 4
                        pack_key[Self.instructions](token + width * 4, 0, text.held + i, keys.keys)
                        pack_key[Self.instructions](token + width * 4 + SIDE * 4, 1, text.held + i, keys.keys)
                        pack_value[Self.instructions](token + 2 * width * 4, text.held + i, keys.capacity, keys.values)
                    self._attend_rows(
                        thread,
                        row * text.length,
                        text.length,
                        head,
                        3 * width,
                        keys,
                        text.first_seen(row // text.group),
                        text.held + 1,
                        1,
                    )
            end_products[Self.instructions]()

        sync_parallelize(task, self.n_threads)

    def attend_to_audio(self, linear: Self.Layer, cross: Caches, layer: Int, positions: Int):
        """Queries of the prepared tokens and attention to the positions of their windows."""
        var text = self.text
        var width = text.width

        def task(thread: Int) {imm}:
            begin_products[Self.instructions]()
            for head in range(text.heads() * thread // self.n_threads, text.heads() * (thread + 1) // self.n_threads):
                self._columns_of_head(linear, thread, 0, head, width)
                for window in range(text.windows):
                    var keys = cross.keys(text.number(window), layer, head, positions)
                    var tokens = text.group * text.length
                    self._attend_rows(thread, window * tokens, tokens, head, width, keys, 0, positions, 0)
            end_products[Self.instructions]()

        sync_parallelize(task, self.n_threads)


@fieldwise_init
struct Decoder[instructions: StaticString, weight: DType](ImplicitlyCopyable):
    """The decoder's parameters, and the keys and values that it reads and adds to."""

    comptime Layer = Linear[Self.instructions, Self.weight]

    var width: Int
    var n_layers: Int
    var layers: Int
    var layer_size: Int
    var last_ln: Int
    var n_vocab: Int
    var positional_embedding: Int
    var own: Caches
    var cross: Caches
    var audio: Int  # positions of a window
    var n_threads: Int

    def vocabulary(self) -> Self.Layer:
        return Self.Layer(self.last_ln + 8 * self.width, ceildiv(self.n_vocab, SIDE) * SIDE, self.width)

    def blocks(self, text: Text) -> Int:
        """Blocks of 32 positions that attention needs room for."""
        return ceildiv(max(self.audio, text.held + text.length), SIDE)

    def memory_size(self, text: Text) -> Int:
        return Memory.size(text.tokens(), self.width, self.blocks(text), self.n_threads)

    def logits(self, text: Text, tokens: Int, places: Int, positions: Int, n_positions: Int, room: Int, result: Int):
        """Append tokens to the caches: float32 [windows, group, positions, n_vocab] after some of them.

        tokens, places: int64 [windows, group, length]. positions: int64 [n_positions]. room: of `memory_size`.
        """
        var width = self.width
        var n_tokens = text.tokens()
        var blocks = self.blocks(text)
        var memory = Memory.at(room, n_tokens, width, blocks)
        var step = Step[Self.instructions, Self.weight](text, memory, blocks, self.n_threads)
        var vocabulary = self.vocabulary()
        for i in range(n_tokens):
            var x = memory.x + i * width * 4
            vocabulary.weights_of(Int(load[DType.int64, 1](tokens + i * 8)), x)
            var place = self.positional_embedding + Int(load[DType.int64, 1](places + i * 8)) * width * 4
            for j in range(0, width, 16):
                var values = load[DType.float32, 16](x + j * 4) + load[DType.float32, 16](place + j * 4)
                store[DType.float32, 16](x + j * 4, values)

        for layer in range(self.n_layers):
            var block = DecoderBlock[Self.instructions, Self.weight].at(self.layers + layer * self.layer_size, width)
            step.prepare(memory.x, n_tokens, width, block.attn_ln)
            step.attend_to_text(block.queries_keys_values, self.own, layer)
            step.prepare(memory.attended, n_tokens, width, 0)
            step.linear["add"](block.out, memory.x, n_tokens, width)
            step.prepare(memory.x, n_tokens, width, block.cross_attn_ln)
            step.attend_to_audio(block.cross_query, self.cross, layer, self.audio)
            step.prepare(memory.attended, n_tokens, width, 0)
            step.linear["add"](block.cross_out, memory.x, n_tokens, width)
            step.prepare(memory.x, n_tokens, width, block.mlp_ln)
            step.linear["gelu"](block.widen, memory.wide, n_tokens, 4 * width)
            step.prepare(memory.wide, n_tokens, 4 * width, 0)
            step.linear["add"](block.narrow, memory.x, n_tokens, width)

        for row in range(text.rows()):
            for i in range(n_positions):
                var token = row * text.length + Int(load[DType.int64, 1](positions + i * 8))
                for j in range(0, width, 16):
                    var values = load[DType.float32, 16](memory.x + (token * width + j) * 4)
                    store[DType.float32, 16](memory.attended + ((row * n_positions + i) * width + j) * 4, values)
        var n_rows = text.rows() * n_positions
        step.prepare(memory.attended, n_rows, width, self.last_ln)
        step.linear["store"](vocabulary, result, n_rows, self.n_vocab)


@always_inline
def decoder_of[
    instructions: StaticString, weight: DType, audio: Int
](
    n_vocab: Int,
    caches: MutableInputTensor[dtype=DType.uint8, rank=3, ...],
    cross: InputTensor[dtype=DType.uint8, rank=3, ...],
    parameters: InputTensor[dtype=DType.uint8, rank=2, ...],
    embedding: InputTensor[dtype=DType.uint8, rank=1, ...],
    positional_embedding: InputTensor[dtype=DType.float32, rank=2, ...],
) -> Decoder[instructions, weight]:
    var width = positional_embedding.shape()[1]
    var n_layers = parameters.shape()[0]
    return Decoder[instructions, weight](
        width,
        n_layers,
        Int(parameters.unsafe_ptr()),
        parameters.shape()[1],
        Int(embedding.unsafe_ptr()),
        n_vocab,
        Int(positional_embedding.unsafe_ptr()),
        Caches(Int(caches.unsafe_ptr()), n_layers, caches.shape()[2], width // HEAD),
        Caches(Int(cross.unsafe_ptr()), n_layers, cross.shape()[2], width // HEAD),
        audio,
        parallelism_level(None),
    )


@extensibility.register("decoder_step")
struct DecoderStep:
    """Append tokens to the caches: logits float32 [windows, group, positions, n_vocab] after some of them.

    tokens, places: int64 [windows, group, length], and each one's position in its text. held: int64 [1], tokens that the
    caches hold. padding: int64 [windows], how many of the first tokens stand for nothing. positions: int64 [positions],
    indices into the tokens. caches: uint8 [windows * group, layers, bytes], updated. cross: uint8 [windows, layers,
    bytes], as `cross_keys_values` gives it for `audio` positions. parameters: uint8 [layers, bytes]; embedding: uint8
    [bytes], the last normalization and the token embedding (both from graphs/packing.py); positional_embedding: float32
    [n_text_ctx, width].
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType, audio: Int
    ](
        result: OutputTensor[dtype=DType.float32, rank=4, ...],
        caches: MutableInputTensor[dtype=DType.uint8, rank=3, ...],
        tokens: InputTensor[dtype=DType.int64, rank=3, ...],
        places: InputTensor[dtype=DType.int64, rank=3, ...],
        held: InputTensor[dtype=DType.int64, rank=1, ...],
        padding: InputTensor[dtype=DType.int64, rank=1, ...],
        positions: InputTensor[dtype=DType.int64, rank=1, ...],
        cross: InputTensor[dtype=DType.uint8, rank=3, ...],
        parameters: InputTensor[dtype=DType.uint8, rank=2, ...],
        embedding: InputTensor[dtype=DType.uint8, rank=1, ...],
        positional_embedding: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        var decoder = decoder_of[instructions, weight, audio](
            result.shape()[3], caches, cross, parameters, embedding, positional_embedding
        )
        var shape = tokens.shape()
        var numbers = alloc[Int64](shape[0])
        for window in range(shape[0]):
            store(Int(numbers) + window * 8, Int64(window))
        var before = Int(held.unsafe_ptr().unsafe_load())
        var text = Text(
            shape[0], shape[1], shape[2], decoder.width, before, Int(padding.unsafe_ptr()), Int(numbers)
        )
        var room = alloc[UInt8](decoder.memory_size(text), alignment=64)
        decoder.logits(
            text,
            Int(tokens.unsafe_ptr()),
            Int(places.unsafe_ptr()),
            Int(positions.unsafe_ptr()),
            positions.shape()[0],
            Int(room),
            Int(result.unsafe_ptr()),
        )
        room.free()
        numbers.free()
