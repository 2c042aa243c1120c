"""A step of the decoder under way: its linear layers and attentions, each done by all threads of a team together.

A step for one token reads every weight once and does little with it. So the rows that a linear layer takes are made
ready (normalized and packed) by whichever thread ends the phase before, not in a phase of their own. Called by
decoder.mojo.
"""

from std.math import ceildiv, max, min

from ..attention.cache_indirection import CacheIndirection, attend_through
from ..attention.cached import AttentionScratch, Visible, attend
from ..attention.kv_cache import KVCache
from ..attention.packing import HEAD, KeysValues, clear_values, kind_of, pack_key, pack_queries, pack_value
from ..instructions.elementwise import gelu, gelu_float32
from ..instructions.isa import Isa
from ..matmul.linear import Linear
from ..matmul.pack_rows import layer_norm, pack_row
from ..matmul.tiles import BLOCK, PANEL, a_tile_bytes, is_float, k_tiles_of
from ..memory.arena import Arena
from ..memory.team import Team
from ..memory.views import Bytes, View
from ..sampling.sampler import CHUNK, Sampler
from .decoder_batch import DecoderBatch

comptime FEW = 4  # rows that one thread makes ready sooner than several do


@fieldwise_init
struct DecoderScratch[isa: Isa, weight: DType](ImplicitlyCopyable):
    """What all threads share in a step, and what each has for itself."""

    comptime kind = kind_of[Self.weight]()
    comptime Attention = AttentionScratch[Self.isa, Self.kind]

    var x: View[DType.float32]  # [rows, width]
    var wide: View[DType.float32]  # [rows, 4 * width], and narrower rows without gaps
    var attended: View[DType.float32]  # [rows, width]
    var a: Bytes  # [rows / 16, panel of k = 4 * width], and narrower panels without gaps
    var quantization: View[DType.float32]  # [rows, 2], scale and minimum
    var used: View[DType.uint8]  # of a CacheIndirection
    var normalized: View[DType.float32]  # [n_threads, width]
    var own: Bytes  # [n_threads, bytes of attention's scratch]
    var blocks: Int  # of 32 positions that attention has room for

    @staticmethod
    def take(mut arena: Arena, batch: DecoderBatch, n_positions: Int, blocks: Int, n_threads: Int) -> Self:
        """Lay it out. n_positions: of how many tokens of a hypothesis the logits are wanted."""
        var width = batch.width
        var rows = ceildiv(batch.rows() * max(batch.length, n_positions), BLOCK) * BLOCK
        var panel_bytes = k_tiles_of[Self.isa, Self.weight](4 * width) * a_tile_bytes[Self.isa, Self.weight]()
        var attention = Arena.measure()
        _ = Self.Attention.take(attention, blocks)
        return Self(
            arena.take[DType.float32](rows, width),
            arena.take[DType.float32](rows, 4 * width),
            arena.take[DType.float32](rows, width),
            arena.take[DType.uint8](rows // PANEL, panel_bytes),
            arena.take[DType.float32](rows, 2),
            arena.take[DType.uint8](batch.rows() * batch.slots if batch.slots > 1 else 0, blocks),
            arena.take[DType.float32](n_threads, width),
            arena.take[DType.uint8](n_threads, attention.used),
            blocks,
        )

    @always_inline
    def attention(self, thread: Int) -> Self.Attention:
        var arena = Arena.of(self.own.row(thread))
        return Self.Attention.take(arena, self.blocks)


@fieldwise_init
struct LinearInput(ImplicitlyCopyable):
    """Rows that a linear layer takes, normalized before if there is a norm."""

    var rows: View[DType.float32]  # [count, in_features]
    var norm: View[DType.float32]  # gamma and beta [2, in_features], or empty

    @staticmethod
    def none() -> Self:
        return Self(View[DType.float32].empty(), View[DType.float32].empty())

    @staticmethod
    def plain(rows: View[DType.float32]) -> Self:
        """Rows that are not normalized."""
        return Self(rows, View[DType.float32].empty())


@fieldwise_init
struct DecoderStep[isa: Isa, weight: DType](ImplicitlyCopyable):
    """A step; what takes a `Team` is done by all of its threads together."""

    comptime Layer = Linear[Self.isa, Self.weight]
    comptime kind = kind_of[Self.weight]()
    comptime Cache = KVCache[Self.isa, Self.kind]

    var batch: DecoderBatch
    var scratch: DecoderScratch[Self.isa, Self.weight]
    var n_threads: Int

    def _prepare(self, input: LinearInput, first: Int, last: Int, thread: Int):
        """Pack here of the rows as A, normalized before."""
        var width = input.rows.columns
        comptime tile_bytes = a_tile_bytes[Self.isa, Self.weight]()
        var a = self._a(k_tiles_of[Self.isa, Self.weight](width) * tile_bytes)
        for number in range(first, last):
            var row = input.rows.row(number)
            if input.norm.rows:
                var normalized = self.scratch.normalized.row(thread)
                layer_norm(row, input.norm, normalized)
                row = normalized
            self.scratch.quantization.store(number, 0, pack_row[Self.isa, Self.weight](row, a, number))

    @always_inline
    def _a(self, panel_bytes: Int) -> Bytes:
        return self.scratch.a.reshaped(self.scratch.a.rows, panel_bytes)

    @always_inline
    def share[Body: def(Int) -> None, //](self, mut team: Team, items: Int, body: Body, next: LinearInput):
        """Run the body of the items, and then make the next rows ready."""
        var thread = team.thread

        def prepare_few() {imm}:
            if next.rows.rows <= FEW:
                self._prepare(next, 0, next.rows.rows, thread)

        team.share(items, body, prepare_few)
        if next.rows.rows > FEW:
            self.prepare(team, next)

    @always_inline
    def prepare(self, mut team: Team, input: LinearInput):
        """Make rows ready."""
        var thread = team.thread
        var rows = input.rows.rows

        def prepare_part(part: Int) {imm}:
            self._prepare(input, part * FEW, min((part + 1) * FEW, rows), thread)

        team.share(ceildiv(rows, FEW), prepare_part)

    @always_inline
    def _results(self, linear: Self.Layer, rows: Int, first: Int, column: Int, block: View[DType.float32]):
        """Results of a linear layer for up to 32 of the prepared rows, from `first` on, and 32 columns."""
        var count = min(BLOCK, rows - first)
        var a = self._a(linear.a_panel_bytes()).rows_from(first // PANEL, 2)
        linear.results(count, a, self.scratch.quantization.rows_from(first, count), column, block)

    def linear[
        epilogue: StaticString
    ](self, mut team: Team, linear: Self.Layer, target: View[DType.float32], next: LinearInput):
        """A linear layer of the prepared rows to float32 [rows, columns].

        epilogue: `store` for the results themselves, `gelu` for that of them, `add` to add them to what is there.
        The target's columns: the layer's last ones may be only for filling.
        """
        var panels = linear.out_features() // BLOCK
        var items = min(panels, 4 * self.n_threads)
        var block = self.scratch.attention(team.thread).block

        def multiply_panels(item: Int) {imm}:
            for panel in range(panels * item // items, panels * (item + 1) // items):
                var column = panel * BLOCK
                for first in range(0, target.rows, BLOCK):
                    self._results(linear, target.rows, first, column, block)
                    for row in range(min(BLOCK, target.rows - first)):
                        if column + BLOCK > target.columns:
                            for i in range(target.columns - column):
                                target.store(first + row, column + i, block.load(row, i))
                            continue
                        comptime for i in range(0, BLOCK, 16):
                            var values = block.load[16](row, i)
                            comptime if epilogue == "gelu":
                                values = gelu_float32(values) if is_float[Self.weight]() else gelu(values)
                            elif epilogue == "add":
                                values += target.load[16](first + row, column + i)
                            target.store(first + row, column + i, values)

        self.share(team, items, multiply_panels, next)

    def sample(self, mut team: Team, vocabulary: Self.Layer, rows: Int, sampler: Sampler):
        """Logits of the prepared rows, chunk by chunk, to the sampler."""
        var thread = team.thread
        var block = self.scratch.attention(thread).block

        def sample_chunk(chunk: Int) {imm}:
            var begin = chunk * CHUNK
            var logits = sampler.chunk_logits(thread)
            for column in range(begin, min(begin + CHUNK, vocabulary.out_features()), BLOCK):
                for first in range(0, rows, BLOCK):
                    self._results(vocabulary, rows, first, column, block)
                    for row in range(min(BLOCK, rows - first)):
                        comptime for i in range(0, BLOCK, 16):
                            logits.store(first + row, column - begin + i, block.load[16](row, i))
            sampler.add_chunk(thread, rows, chunk)

        team.share(sampler.chunks(), sample_chunk)

    @always_inline
    def _pack_queries(self, rows: View[DType.float32], head: Int, queries: Bytes):
        """A head's queries of up to 32 rows, which begin with their queries."""
        comptime for half in range(2):
            var columns = rows.columns_from(head * HEAD + half * BLOCK, BLOCK)
            pack_queries[Self.isa, Self.kind](columns, half, queries)

    @always_inline
    def _attend(
        self,
        thread: Int,
        rows: View[DType.float32],
        first: Int,
        head: Int,
        cache: KeysValues[Self.isa, Self.kind],
        visible: Visible,
    ):
        """Attention of consecutive tokens, rows which begin with their queries, to `attended` from `first` on."""
        var scratch = self.scratch.attention(thread)
        for start in range(0, rows.rows, BLOCK):
            var count = min(BLOCK, rows.rows - start)
            self._pack_queries(rows.rows_from(start, count), head, scratch.queries)
            var result = self.scratch.attended.part(first + start, head * HEAD, count, HEAD)
            attend(count, cache, visible.from_row(start), scratch, result)

    def attend_to_text(self, mut team: Team, cache: Self.Cache, layer: Int, next: LinearInput):
        """The cache's new entries, and attention to all, of queries, keys and values [tokens, 3 * width] in `wide`."""
        var batch = self.batch
        var thread = team.thread
        var rows = self.scratch.wide.reshaped(batch.tokens(), 3 * batch.width)

        def attend_head(item: Int) {imm}:
            var window, head = item // batch.heads(), item % batch.heads()
            for row in range(window * batch.beams, (window + 1) * batch.beams):
                self._append(cache, layer, head, row, rows.rows_from(row * batch.length, batch.length))
            if batch.slots > 1:
                self._attend_through(cache, layer, head, window, thread, rows)
            else:
                self._attend(
                    thread,
                    rows.rows_from(window * batch.length, batch.length),
                    window * batch.length,
                    head,
                    cache.head(batch.slot(window), layer, head, batch.end()),
                    Visible(batch.first_visible(window), batch.cache_length + 1, True),
                )

        self.share(team, batch.windows * batch.heads(), attend_head, next)

    @always_inline
    def _append(self, cache: Self.Cache, layer: Int, head: Int, row: Int, tokens: View[DType.float32]):
        """Write the keys and values of a hypothesis' tokens [length, 3 * width] to its slot."""
        var batch = self.batch
        var width = batch.width
        var entry = cache.head(batch.slot(row), layer, head, batch.end())
        for i in range(batch.length):
            var position = batch.cache_length + i
            comptime for half in range(2):
                var key = tokens.part(i, width + head * HEAD + half * BLOCK, 1, BLOCK)
                pack_key(key, half, position, entry)
            pack_value(tokens.part(i, 2 * width + head * HEAD, 1, HEAD), position, entry)
        if batch.end() % BLOCK:
            # Others may go on from here in the middle of a block of which their own slots have nothing yet.
            for slot in range(batch.beams, batch.slots):
                clear_values(batch.end() // BLOCK, cache.head(batch.slot(row) + slot, layer, head, 0))

    @always_inline
    def _attend_through(
        self, cache: Self.Cache, layer: Int, head: Int, window: Int, thread: Int, rows: View[DType.float32]
    ):
        """Attention of a window's hypotheses, which share parts of their texts.

        They are computed together where each has one token, so that a block that several share is read once.
        """
        var batch = self.batch
        var scratch = self.scratch.attention(thread)
        var is_single = batch.length == 1
        var count = batch.beams if is_single else batch.length
        var parts = 1 if is_single else batch.beams
        var indirection = self.indirection()
        var first_slot = batch.cached_window(window) * batch.slots
        var visible = Visible(batch.first_visible(window), batch.cache_length + 1, not is_single)
        for beam in range(parts):
            var part = window * parts + beam
            for start in range(0, count, BLOCK):
                var here = min(BLOCK, count - start)
                var first = part * count + start
                self._pack_queries(rows.rows_from(first, here), head, scratch.queries)
                var table_rows = here if is_single else 1
                attend_through(
                    here,
                    cache,
                    first_slot,
                    layer,
                    head,
                    indirection,
                    part,
                    indirection.table.rows_from(first_slot + beam + (start if is_single else 0), table_rows),
                    visible.from_row(start),
                    scratch,
                    self.scratch.attended.part(first, head * HEAD, here, HEAD),
                )

    @always_inline
    def indirection(self) -> CacheIndirection:
        """The batch's cache indirection."""
        var batch = self.batch
        var parts = batch.windows if batch.length == 1 else batch.rows()
        var blocks = ceildiv(batch.end(), BLOCK)
        var used = self.scratch.used.reshaped(parts * batch.slots, blocks)
        return CacheIndirection(batch.cache_indirection, batch.slots, blocks, used)

    def find_used_slots(self):
        """Find out which slots attention has to read; see `_attend_through`."""
        var batch = self.batch
        var indirection = self.indirection()
        indirection.clear()
        for row in range(batch.rows()):
            var window = row // batch.beams
            indirection.mark(window if batch.length == 1 else row, batch.slot(row))

    def attend_to_audio(self, mut team: Team, cross: Self.Cache, layer: Int, positions: Int, next: LinearInput):
        """Attention to the positions of their windows, of queries [tokens, width] in `wide`."""
        var batch = self.batch
        var thread = team.thread
        var tokens = batch.beams * batch.length
        var rows = self.scratch.wide.reshaped(batch.tokens(), batch.width)

        def attend_head(item: Int) {imm}:
            var window, head = item // batch.heads(), item % batch.heads()
            var cache = cross.head(batch.cached_window(window), layer, head, positions)
            var first = window * tokens
            self._attend(thread, rows.rows_from(first, tokens), first, head, cache, Visible(0, positions, False))

        self.share(team, batch.windows * batch.heads(), attend_head, next)
