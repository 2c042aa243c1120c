"""A step of the decoder in one operation, in 8-bit integers, bfloat16 or float32: tokens in, logits out.

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

from .attention import (
    HEAD,
    Keys,
    Scratch,
    attend,
    block_size,
    clear_values,
    kind_of,
    pack_key,
    pack_queries,
    pack_value,
    quarter_size,
)
from .caches import Caches, Text
from .choice import CHUNK, Choice
from .floats import is_float
from .functions import gelu, gelu_float32
from .indirection import Indirection, attend_through
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
struct Memory[instructions: StaticString, weight: DType](ImplicitlyCopyable):
    """What all threads share in a step, and after it what each has for itself."""

    comptime kind = kind_of[Self.weight]()
    comptime block = block_size[Self.instructions, Self.kind]()
    comptime in_tiles = 4 if is_float[Self.weight]() else 2  # bytes of a value, at the most

    var x: Int  # float32 [tokens, width]
    var wide: Int  # float32 [tokens, 4 * width]
    var attended: Int  # float32 [tokens, width]
    var tiles: Int  # [tokens, 4 * width] as tiles
    var scales: Int  # float32 [tokens, 2]
    var used: Int  # of an Indirection
    var own: Int
    var own_size: Int

    @staticmethod
    def own_size_of(width: Int, blocks: Int) -> Int:
        var attention = Self.block + Scratch.size[Self.instructions, Self.kind](blocks)
        return 16 * width + attention + blocks * 2 * quarter_size[Self.instructions, Self.kind]()

    @staticmethod
    def used_size(text: Text, blocks: Int) -> Int:
        return ceildiv(text.rows() * text.slots * blocks, 64) * 64 if text.slots > 1 else 0

    @staticmethod
    def size(text: Text, n_positions: Int, blocks: Int, n_threads: Int) -> Int:
        return Self.at(0, text, n_positions, blocks).own + n_threads * Self.own_size_of(text.width, blocks)

    @staticmethod
    def at(address: Int, text: Text, n_positions: Int, blocks: Int) -> Self:
        """n_positions: of how many tokens of a hypothesis the logits are wanted."""
        var width = text.width
        var room = ceildiv(text.rows() * max(text.length, n_positions), SIDE) * SIDE
        var wide = address + room * 4 * width
        var attended = wide + room * 16 * width
        var tiles = attended + room * 4 * width
        var scales = tiles + room * 4 * width * Self.in_tiles
        var used = scales + room * 64
        var own = used + Self.used_size(text, blocks)
        return Self(address, wide, attended, tiles, scales, used, own, Self.own_size_of(width, blocks))

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
        return Scratch.at[Self.instructions, Self.kind](self.queries(thread, width) + Self.block, blocks)

    @always_inline
    def masked(self, thread: Int, width: Int, blocks: Int) -> Int:
        """A thread's weights of attention, once more."""
        var attention = self.queries(thread, width) + Self.block
        return attention + Scratch.size[Self.instructions, Self.kind](blocks)


@fieldwise_init
struct Step[instructions: StaticString, weight: DType](ImplicitlyCopyable):
    """A step under way."""

    comptime Layer = Linear[Self.instructions, Self.weight]
    comptime kind = kind_of[Self.weight]()

    var text: Text
    var memory: Memory[Self.instructions, Self.weight]
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
                store[DType.float32, 2](self.memory.scales + row * 8, scale)

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
            self.memory.scales + side * SIDE * 8,
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
                                values = gelu_float32(values) if is_float[Self.weight]() else gelu(values)
                            elif finish == "add":
                                values += load[DType.float32, 16](place + half * 64)
                            store[DType.float32, 16](place + half * 64, values)
            end_products[Self.instructions]()

        sync_parallelize(task, self.n_threads)

    def choose(self, linear: Self.Layer, rows: Int, choice: Choice):
        """Logits of the prepared rows, the results of a linear layer, to the candidates of a choice."""
        var panels = linear.columns // SIDE
        comptime in_chunk = CHUNK // SIDE

        def task(thread: Int) {imm}:
            var scratch = self.memory.attention(thread, self.text.width, self.blocks)
            begin_products[Self.instructions]()
            choice.clear(thread, rows)
            var last = panels * (thread + 1) // self.n_threads
            for chunk in range(panels * thread // self.n_threads, last, in_chunk):
                var end = min(chunk + in_chunk, last)
                for panel in range(chunk, end):
                    for side in range(ceildiv(rows, SIDE)):
                        self.block(linear, rows, side, panel * SIDE, scratch)
                        for row in range(min(SIDE, rows - side * SIDE)):
                            var place = choice.chunk(thread, side * SIDE + row) + (panel - chunk) * SIDE * 4
                            comptime for half in range(2):
                                var values = load[DType.float32, 16](scratch.block + row * SIDE * 4 + half * 64)
                                store[DType.float32, 16](place + half * 64, values)
                choice.take_in(thread, rows, chunk * SIDE, min(end * SIDE, choice.n_vocab))
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
            pack_queries[Self.instructions, Self.kind](place, stride * 4, some, 0, queries)
            pack_queries[Self.instructions, Self.kind](place + SIDE * 4, stride * 4, some, 1, queries)
            attend[Self.instructions, Self.kind](
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
                    self._append(caches, layer, head, row)
                if text.slots > 1:
                    self._attend_through(caches, layer, head, thread)
                    continue
                for row in range(text.rows()):
                    self._attend_rows(
                        thread,
                        row * text.length,
                        text.length,
                        head,
                        3 * width,
                        caches.keys(text.slot(row), layer, head, text.held + text.length),
                        text.first_seen(row // text.group),
                        text.held + 1,
                        1,
                    )
            end_products[Self.instructions]()

        sync_parallelize(task, self.n_threads)

    @always_inline
    def _append(self, caches: Caches, layer: Int, head: Int, row: Int):
        """Write the keys and values of a hypothesis' tokens, which are in `wide`, to its slot."""
        var text = self.text
        var width = text.width
        var keys = caches.keys(text.slot(row), layer, head, text.held + text.length)
        for i in range(text.length):
            var token = self.memory.wide + ((row * text.length + i) * 3 * width + head * HEAD) * 4
            var key, value = token + width * 4, token + 2 * width * 4
            var position = text.held + i
            pack_key[Self.instructions, Self.kind](key, 0, position, keys.keys)
            pack_key[Self.instructions, Self.kind](key + SIDE * 4, 1, position, keys.keys)
            pack_value[Self.instructions, Self.kind](value, position, keys.capacity, keys.values)
        var stop = text.held + text.length
        if stop % SIDE:
            # Others may go on from here in the middle of a block of which their own slots have nothing yet.
            for slot in range(text.group, text.slots):
                var others = caches.keys(text.slot(row) + slot, layer, head, 0)
                clear_values[Self.instructions, Self.kind](stop // SIDE, others.capacity, others.values)

    @always_inline
    def _attend_through(self, caches: Caches, layer: Int, head: Int, thread: Int):
        """Attention of hypotheses that share parts of their texts.

        Those of a window are computed together where each has one token, so that a block that several share is read once.
        """
        var text = self.text
        var scratch = self.memory.attention(thread, text.width, self.blocks)
        var masked = self.memory.masked(thread, text.width, self.blocks)
        var queries = self.memory.queries(thread, text.width)
        var stride = 3 * text.width * 4
        var is_single = text.length == 1
        var rows = text.group if is_single else text.length
        for part in range(text.tokens() // rows):
            var window = part if is_single else part // text.group
            var indirection = self.indirection(text.number(window))
            var hypothesis = 0 if is_single else part % text.group
            for side in range(0, rows, SIDE):
                var some = min(SIDE, rows - side)
                var place = self.memory.wide + (part * rows + side) * stride + head * HEAD * 4
                pack_queries[Self.instructions, Self.kind](place, stride, some, 0, queries)
                pack_queries[Self.instructions, Self.kind](place + SIDE * 4, stride, some, 1, queries)
                attend_through[Self.instructions, Self.kind](
                    some,
                    queries,
                    caches,
                    text.number(window) * text.slots,
                    layer,
                    head,
                    indirection,
                    part,
                    indirection.line(hypothesis + (side if is_single else 0)),
                    text.capacity * 2 if is_single else 0,
                    text.first_seen(window),
                    text.held + 1 + (0 if is_single else side),
                    0 if is_single else 1,
                    scratch,
                    masked,
                    self.memory.attended + ((part * rows + side) * text.width + head * HEAD) * 4,
                    text.width * 4,
                )

    @always_inline
    def indirection(self, number: Int) -> Indirection:
        """Of one of the caches' windows."""
        var text = self.text
        var table = text.table + number * text.slots * text.capacity * 2
        var blocks = ceildiv(text.held + text.length, SIDE)
        return Indirection(table, text.capacity, text.slots, blocks, self.memory.used)

    def find_shared(self):
        """Find out which slots attention has to read; see `_attend_through`."""
        var text = self.text
        self.indirection(0).clear(text.windows if text.length == 1 else text.rows())
        for row in range(text.rows()):
            var window = row // text.group
            self.indirection(text.number(window)).mark(window if text.length == 1 else row, row % text.group)

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

    def memory_size(self, text: Text, n_positions: Int) -> Int:
        var blocks = self.blocks(text)
        return Memory[Self.instructions, Self.weight].size(text, n_positions, blocks, self.n_threads)

    def logits(self, text: Text, tokens: Int, places: Int, positions: Int, n_positions: Int, room: Int, result: Int):
        """Append tokens to the caches: float32 [windows, group, positions, n_vocab] after some of them.

        tokens, places: int64 [windows, group, length]. positions: int64 [n_positions]. room: of `memory_size`.
        """
        var step = self._after(text, tokens, places, positions, n_positions, room)
        step.linear["store"](self.vocabulary(), result, text.rows() * n_positions, self.n_vocab)

    def choose(
        self, text: Text, tokens: Int, places: Int, positions: Int, n_positions: Int, room: Int, choice: Choice
    ):
        """As `logits`, which go into the choice's candidates of rows [windows, group, positions]."""
        var step = self._after(text, tokens, places, positions, n_positions, room)
        step.choose(self.vocabulary(), text.rows() * n_positions, choice)

    def _after(
        self, text: Text, tokens: Int, places: Int, positions: Int, n_positions: Int, room: Int
    ) -> Step[Self.instructions, Self.weight]:
        """Append tokens to the caches and prepare what comes of some of them for the vocabulary."""
        var width = self.width
        var n_tokens = text.tokens()
        var blocks = self.blocks(text)
        var memory = Memory[Self.instructions, Self.weight].at(room, text, n_positions, blocks)
        var step = Step[Self.instructions, Self.weight](text, memory, blocks, self.n_threads)
        if text.slots > 1:
            step.find_shared()
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
        step.prepare(memory.attended, text.rows() * n_positions, width, self.last_ln)
        return step


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
    comptime block = block_size[instructions, kind_of[weight]()]()
    return Decoder[instructions, weight](
        width,
        n_layers,
        Int(parameters.unsafe_ptr()),
        parameters.shape()[1],
        Int(embedding.unsafe_ptr()),
        n_vocab,
        Int(positional_embedding.unsafe_ptr()),
        Caches(Int(caches.unsafe_ptr()), n_layers, caches.shape()[2], width // HEAD, block),
        Caches(Int(cross.unsafe_ptr()), n_layers, cross.shape()[2], width // HEAD, block),
        audio,
        parallelism_level(None),
    )


@extensibility.register("decoder_step")
struct DecoderStep:
    """Append tokens to the caches: logits float32 [windows, group, positions, n_vocab] after some of them.

    tokens, places: int64 [windows, group, length], and each one's position in its text. held: int64 [1], tokens that the
    caches hold. padding: int64 [windows], how many of the first tokens stand for nothing. positions: int64 [positions],
    indices into the tokens. caches: uint8 [windows * slots, layers, bytes], updated. table: uint16 [windows, slots,
    capacity], the slot of the window in which each position of a hypothesis is; not read where there is one slot. The group
    has as many hypotheses as slots, or one, which has the first. cross: uint8 [windows, layers, bytes], as
    `cross_keys_values` gives it for `audio` positions. parameters: uint8 [layers, bytes]; embedding: uint8 [bytes], the
    last normalization and the token embedding (both from graphs/packing.py); positional_embedding: float32 [n_text_ctx,
    width].
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
        table: InputTensor[dtype=DType.uint16, rank=3, ...],
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
            shape[0],
            shape[1],
            table.shape()[1],
            shape[2],
            decoder.width,
            before,
            Int(padding.unsafe_ptr()),
            Int(numbers),
            Int(table.unsafe_ptr()),
            table.shape()[2],
        )
        var room = alloc[UInt8](decoder.memory_size(text, positions.shape()[0]), alignment=64)
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
