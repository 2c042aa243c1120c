"""Attention by itself, of queries, keys and values float32 that it packs: the decoder's and the encoder's."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, min

from ..attention.cached import AttentionScratch, Visible, attend
from ..attention.packing import (
    HEAD,
    KeysValues,
    block_bytes,
    pack_key,
    pack_queries,
    pack_value,
    panel_bytes,
)
from ..attention.window import WindowScratch, attend_window, pack_window_key, query_steps
from ..instructions.isa import Isa
from ..instructions.product_team import in_product_team
from ..matmul.tiles import BLOCK
from ..memory.arena import Arena
from ..memory.team import Team
from ..memory.views import Bytes, View, row_of, view_of


@fieldwise_init
struct Scratch[isa: Isa, kind: DType](ImplicitlyCopyable):
    """A thread's own memory: one head's keys and values, and what attention needs."""

    var keys: Bytes
    var values: Bytes
    var queries: Bytes  # A [2, panel_bytes], for attention to a window
    var cached: AttentionScratch[Self.isa, Self.kind]
    var window: WindowScratch[Self.isa, Self.kind]

    @staticmethod
    def take(mut arena: Arena, blocks: Int) -> Self:
        comptime size = block_bytes[Self.isa, Self.kind]()
        return Self(
            arena.take[DType.uint8](1, blocks * size),
            arena.take[DType.uint8](1, blocks * size),
            arena.take[DType.uint8](2, panel_bytes[Self.isa, Self.kind]()),
            AttentionScratch[Self.isa, Self.kind].take(arena, blocks),
            WindowScratch[Self.isa, Self.kind].take(arena),
        )

    @always_inline
    def keys_values(self, positions: Int) -> KeysValues[Self.isa, Self.kind]:
        return KeysValues[Self.isa, Self.kind].of(self.keys, self.values, positions)


@extensibility.register("attention_alone")
struct AttentionAlone:
    """Attention of heads: queries float32 [heads, rows, 64], keys and values float32 [heads, positions, 64] -> as
    queries.

    kind: bfloat16 or float32. Row i sees the positions from visible[0] to visible[1], and i more if visible[2], that
    one not included. visible: int64 [3].
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, kind: DType
    ](
        result: OutputTensor[dtype=DType.float32, rank=3, ...],
        queries: InputTensor[dtype=DType.float32, rank=3, ...],
        keys: InputTensor[dtype=DType.float32, rank=3, ...],
        values: InputTensor[dtype=DType.float32, rank=3, ...],
        visible: InputTensor[dtype=DType.int64, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        comptime isa = Isa.named[instructions]()
        var heads, rows, positions = queries.shape()[0], queries.shape()[1], keys.shape()[1]
        var blocks = ceildiv(positions, BLOCK)
        var all_queries, all_keys, all_values = view_of(queries), view_of(keys), view_of(values)
        var results, given = view_of(result), row_of(visible)
        var seen = Visible(Int(given[0]), Int(given[1]), given[2] != 0)
        var n_threads = parallelism_level(None)
        var measured = Arena.measure()
        _ = Scratch[isa, kind].take(measured, blocks)
        var arena = Arena.allocate(n_threads * measured.used)
        var own = arena.take[DType.uint8](n_threads, measured.used)

        def attend_all(mut team: Team) {imm}:
            var own_arena = Arena.of(own.row(team.thread))
            var scratch = Scratch[isa, kind].take(own_arena, blocks)
            var cache = scratch.keys_values(positions)

            def attend_head(head: Int) {imm}:
                for position in range(positions):
                    comptime for half in range(2):
                        var key = all_keys.part(head * positions + position, half * BLOCK, 1, BLOCK)
                        pack_key(key, half, position, cache)
                    pack_value(all_values.row(head * positions + position), position, cache)
                for start in range(0, rows, BLOCK):
                    var count = min(BLOCK, rows - start)
                    var here = all_queries.rows_from(head * rows + start, count)
                    comptime for half in range(2):
                        pack_queries[isa, kind](here.columns_from(half * BLOCK, BLOCK), half, scratch.cached.queries)
                    var target = results.rows_from(head * rows + start, count)
                    attend(count, cache, seen.from_row(start), scratch.cached, target)

            team.share(heads, attend_head)

        in_product_team[isa](n_threads, 1, attend_all)
        arena.free()


@extensibility.register("window_attention_alone")
struct WindowAttentionAlone:
    """As `attention_alone`, every row of which sees all positions, with the encoder's attention."""

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, kind: DType
    ](
        result: OutputTensor[dtype=DType.float32, rank=3, ...],
        queries: InputTensor[dtype=DType.float32, rank=3, ...],
        keys: InputTensor[dtype=DType.float32, rank=3, ...],
        values: InputTensor[dtype=DType.float32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        comptime isa = Isa.named[instructions]()
        var heads, rows, positions = queries.shape()[0], queries.shape()[1], keys.shape()[1]
        var blocks = ceildiv(positions, BLOCK)
        var all_queries, all_keys, all_values = view_of(queries), view_of(keys), view_of(values)
        var results = view_of(result)
        var n_threads = parallelism_level(None)
        var measured = Arena.measure()
        _ = Scratch[isa, kind].take(measured, blocks)
        var arena = Arena.allocate(n_threads * measured.used)
        var own = arena.take[DType.uint8](n_threads, measured.used)

        def attend_all(mut team: Team) {imm}:
            var own_arena = Arena.of(own.row(team.thread))
            var scratch = Scratch[isa, kind].take(own_arena, blocks)
            var window = scratch.keys_values(positions)
            var attended = scratch.queries.bits[kind]().reshaped(BLOCK, HEAD)

            def attend_head(head: Int) {imm}:
                for position in range(positions):
                    comptime for half in range(2):
                        var key = all_keys.part(head * positions + position, half * BLOCK, 1, BLOCK)
                        pack_window_key(key, half, position, window)
                    pack_value(all_values.row(head * positions + position), position, window)
                for start in range(0, rows, BLOCK):
                    var count = min(BLOCK, rows - start)
                    var here = all_queries.rows_from(head * rows + start, count)
                    comptime for half in range(2):
                        var columns = here.columns_from(half * BLOCK, BLOCK)
                        pack_queries[isa, kind, query_steps[kind]()](columns, half, scratch.queries)
                    attend_window(count, scratch.queries, window, scratch.window, attended)
                    for row in range(count):
                        comptime for i in range(0, HEAD, 16):
                            var values = attended.load[16](row, i).cast[DType.float32]()
                            results.store(head * rows + start + row, i, values)

            team.share(heads, attend_head)

        in_product_team[isa](n_threads, 1, attend_all)
        arena.free()
