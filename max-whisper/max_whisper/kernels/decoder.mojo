"""A step of the decoder in one operation, in 8-bit integers, bfloat16 or float32: tokens in, logits out.

A step for one token reads every weight once and does little with it, so what counts is that nothing else takes time:
the values of a token go from layer to layer in the caches, and threads are woken once.
"""

import extensibility
from extensibility import InputTensor, OutputTensor, _MutableInputTensor as MutableInputTensor
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
from .team import Team, in_team
from .tiles import SIDE, load, store

comptime FEW = 4  # rows that one thread makes ready sooner than several do


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
struct Rows(ImplicitlyCopyable):
    """Rows float32 [count, width] that a linear layer takes."""

    var source: Int
    var count: Int
    var width: Int
    var normalization: Int  # 0 for none


comptime NO_ROWS = Rows(0, 0, 0, 0)


@fieldwise_init
struct Step[instructions: StaticString, weight: DType](ImplicitlyCopyable):
    """A step under way; what takes a `Team` is done by all of its threads together."""

    comptime Layer = Linear[Self.instructions, Self.weight]
    comptime kind = kind_of[Self.weight]()

    var text: Text
    var memory: Memory[Self.instructions, Self.weight]
    var blocks: Int  # of 32 positions that attention has room for
    var n_threads: Int

    def _prepare(self, rows: Rows, first: Int, last: Int, thread: Int):
        """Some of the rows as tiles, normalized before."""
        for row in range(first, last):
            var values = rows.source + row * rows.width * 4
            if rows.normalization:
                var shift = rows.normalization + rows.width * 4
                normalize(values, rows.width, rows.normalization, shift, self.memory.values(thread))
                values = self.memory.values(thread)
            var scale = to_tiles[Self.instructions, Self.weight](values, rows.width, self.memory.tiles, row)
            store[DType.float32, 2](self.memory.scales + row * 8, scale)

    @always_inline
    def share[Work: def(Int) -> None, //](self, mut team: Team, items: Int, work: Work, next: Rows):
        """Do the work of the items, and then make the next rows ready."""
        var thread = team.thread

        def then() {imm}:
            if next.count <= FEW:
                self._prepare(next, 0, next.count, thread)

        team.share(items, work, then)
        if next.count > FEW:

            def some(part: Int) {imm}:
                self._prepare(next, part * FEW, min((part + 1) * FEW, next.count), thread)

            team.share(ceildiv(next.count, FEW), some)

    def begin(self, mut team: Team, rows: Rows):
        """Make the first rows ready."""
        var thread = team.thread

        def some(part: Int) {imm}:
            self._prepare(rows, part * FEW, min((part + 1) * FEW, rows.count), thread)

        team.share(ceildiv(rows.count, FEW), some)

    @always_inline
    def _block(self, linear: Self.Layer, rows: Int, side: Int, column: Int, scratch: Scratch):
        """32 columns of a linear layer for the prepared rows of a side, to the scratch's block."""
        linear.block(
            min(SIDE, rows - side * SIDE),
            self.memory.tiles + side * linear.side_size(),
            self.memory.scales + side * SIDE * 8,
            column,
            scratch.block,
        )

    def linear[
        finish: StaticString
    ](self, mut team: Team, linear: Self.Layer, target: Int, rows: Int, columns: Int, next: Rows):
        """A linear layer of the prepared rows to float32 [rows, columns].

        finish: `store` for the results themselves, `gelu` for that of them, `add` to add them to what is there.
        columns: those of the target; the layer's last ones may be only for filling.
        """
        var panels = linear.columns // SIDE
        var items = min(panels, 4 * self.n_threads)
        var scratch = self.memory.attention(team.thread, self.text.width, self.blocks)

        def some(item: Int) {imm}:
            for panel in range(panels * item // items, panels * (item + 1) // items):
                var column = panel * SIDE
                for side in range(ceildiv(rows, SIDE)):
                    self._block(linear, rows, side, column, scratch)
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

        self.share(team, items, some, next)

    def choose(self, mut team: Team, linear: Self.Layer, rows: Int, choice: Choice):
        """Logits of the prepared rows, the results of a linear layer, to the candidates of a choice."""
        var thread = team.thread
        var scratch = self.memory.attention(thread, self.text.width, self.blocks)

        def some(chunk: Int) {imm}:
            var first = chunk * CHUNK
            var last = min(first + CHUNK, linear.columns)
            for column in range(first, last, SIDE):
                for side in range(ceildiv(rows, SIDE)):
                    self._block(linear, rows, side, column, scratch)
                    for row in range(min(SIDE, rows - side * SIDE)):
                        var place = choice.logits_of(thread, side * SIDE + row) + (column - first) * 4
                        comptime for half in range(2):
                            var values = load[DType.float32, 16](scratch.block + row * SIDE * 4 + half * 64)
                            store[DType.float32, 16](place + half * 64, values)
            choice.take_in(thread, rows, chunk)

        team.share(choice.chunks(), some)

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

    def attend_to_text(self, mut team: Team, caches: Caches, layer: Int, next: Rows):
        """The caches' new entries, and attention to all of them, of queries, keys and values [tokens, 3 * width]."""
        var text = self.text
        var thread = team.thread

        def some(item: Int) {imm}:
            var window, head = item // text.heads(), item % text.heads()
            for row in range(window * text.group, (window + 1) * text.group):
                self._append(caches, layer, head, row)
            if text.slots > 1:
                self._attend_through(caches, layer, head, window, thread)
            else:
                self._attend_rows(
                    thread,
                    window * text.length,
                    text.length,
                    head,
                    3 * text.width,
                    caches.keys(text.slot(window), layer, head, text.held + text.length),
                    text.first_seen(window),
                    text.held + 1,
                    1,
                )

        self.share(team, text.windows * text.heads(), some, next)

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
    def _attend_through(self, caches: Caches, layer: Int, head: Int, window: Int, thread: Int):
        """Attention of a window's hypotheses, which share parts of their texts.

        They are computed together where each has one token, so that a block that several share is read once.
        """
        var text = self.text
        var scratch = self.memory.attention(thread, text.width, self.blocks)
        var masked = self.memory.masked(thread, text.width, self.blocks)
        var queries = self.memory.queries(thread, text.width)
        var stride = 3 * text.width * 4
        var is_single = text.length == 1
        var rows = text.group if is_single else text.length
        var parts = 1 if is_single else text.group
        var indirection = self.indirection(text.number(window))
        for hypothesis in range(parts):
            var part = window * parts + hypothesis
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

    def attend_to_audio(self, mut team: Team, cross: Caches, layer: Int, positions: Int, next: Rows):
        """Attention to the positions of their windows, of queries [tokens, width]."""
        var text = self.text
        var thread = team.thread
        var tokens = text.group * text.length

        def some(item: Int) {imm}:
            var window, head = item // text.heads(), item % text.heads()
            var keys = cross.keys(text.number(window), layer, head, positions)
            self._attend_rows(thread, window * tokens, tokens, head, text.width, keys, 0, positions, 0)

        self.share(team, text.windows * text.heads(), some, next)


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
        var step = self._step(text, tokens, places, n_positions, room)
        var rows = text.rows() * n_positions

        def work(mut team: Team) {imm}:
            self._through_layers(team, step, positions, n_positions)
            step.linear["store"](team, self.vocabulary(), result, rows, self.n_vocab, NO_ROWS)

        in_team[Self.instructions](self.n_threads, self._phases(), work)

    def choose(
        self, text: Text, tokens: Int, places: Int, positions: Int, n_positions: Int, room: Int, choice: Choice
    ):
        """As `logits`, which go into the choice's candidates of rows [windows, group, positions]."""
        var step = self._step(text, tokens, places, n_positions, room)
        var rows = text.rows() * n_positions

        def work(mut team: Team) {imm}:
            self._through_layers(team, step, positions, n_positions)
            step.choose(team, self.vocabulary(), rows, choice)

        in_team[Self.instructions](self.n_threads, self._phases(), work)

    def _block(self, layer: Int) -> DecoderBlock[Self.instructions, Self.weight]:
        return DecoderBlock[Self.instructions, Self.weight].at(self.layers + layer * self.layer_size, self.width)

    def _phases(self) -> Int:
        """Phases that a step has at the most: eight in a layer, each with rows to make ready, and those around them."""
        return 16 * self.n_layers + 4

    def _step(
        self, text: Text, tokens: Int, places: Int, n_positions: Int, room: Int
    ) -> Step[Self.instructions, Self.weight]:
        """A step that has the tokens' embeddings."""
        var width = self.width
        var blocks = self.blocks(text)
        var memory = Memory[Self.instructions, Self.weight].at(room, text, n_positions, blocks)
        var step = Step[Self.instructions, Self.weight](text, memory, blocks, self.n_threads)
        if text.slots > 1:
            step.find_shared()
        var vocabulary = self.vocabulary()
        for i in range(text.tokens()):
            var x = memory.x + i * width * 4
            vocabulary.weights_of(Int(load[DType.int64, 1](tokens + i * 8)), x)
            var place = self.positional_embedding + Int(load[DType.int64, 1](places + i * 8)) * width * 4
            for j in range(0, width, 16):
                var values = load[DType.float32, 16](x + j * 4) + load[DType.float32, 16](place + j * 4)
                store[DType.float32, 16](x + j * 4, values)
        return step

    def _through_layers(
        self, mut team: Team, step: Step[Self.instructions, Self.weight], positions: Int, n_positions: Int
    ):
        """Append the tokens to the caches and make what comes of some of them ready for the vocabulary."""
        var width = self.width
        var text = step.text
        var memory = step.memory
        var n_tokens = text.tokens()
        var attended = Rows(memory.attended, n_tokens, width, 0)
        var last = text.rows() * n_positions
        step.begin(team, Rows(memory.x, n_tokens, width, self._block(0).attn_ln))
        for layer in range(self.n_layers):
            var block = self._block(layer)
            step.linear["store"](team, block.queries_keys_values, memory.wide, n_tokens, 3 * width, NO_ROWS)
            step.attend_to_text(team, self.own, layer, attended)
            var x = Rows(memory.x, n_tokens, width, block.cross_attn_ln)
            step.linear["add"](team, block.out, memory.x, n_tokens, width, x)
            step.linear["store"](team, block.cross_query, memory.wide, n_tokens, width, NO_ROWS)
            step.attend_to_audio(team, self.cross, layer, self.audio, attended)
            x.normalization = block.mlp_ln
            step.linear["add"](team, block.cross_out, memory.x, n_tokens, width, x)
            var hidden = Rows(memory.wide, n_tokens, 4 * width, 0)
            step.linear["gelu"](team, block.widen, memory.wide, n_tokens, 4 * width, hidden)
            if layer + 1 < self.n_layers:
                x.normalization = self._block(layer + 1).attn_ln
            else:
                x = NO_ROWS
            step.linear["add"](team, block.narrow, memory.x, n_tokens, width, x)

        def gather(row: Int) {imm}:
            for i in range(n_positions):
                var token = row * text.length + Int(load[DType.int64, 1](positions + i * 8))
                for j in range(0, width, 16):
                    var values = load[DType.float32, 16](memory.x + (token * width + j) * 4)
                    store[DType.float32, 16](memory.attended + ((row * n_positions + i) * width + j) * 4, values)

        step.share(team, text.rows(), gather, Rows(memory.attended, last, width, self.last_ln))


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
