"""The blocks of the encoder in one operation, in 8-bit integers, bfloat16 or float32.

Called by the graph `encoder` (graphs/fused.py), after encoder_convolutions.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min

from ..attention.packing import HEAD, block_bytes, kind_of
from ..instructions.isa import Isa
from ..instructions.product_team import in_product_team
from ..matmul.linear_blocks import MOST_ROWS
from ..matmul.pack_rows import layer_norm
from ..matmul.tiles import BLOCK
from ..memory.arena import Arena
from ..memory.team import Team
from ..memory.views import Bytes, View, row_of, view_of
from .block_parameters import EncoderBlock
from .checks import expect_equal, expect_heads, expect_parts, expect_range
from .encoder_block import EncoderScratch, Rows, attend_rows, finish, project

comptime NAME = "encoder_blocks"
comptime SPANS = 8  # of attention for each thread, so that threads end at about the same time


@extensibility.register("encoder_blocks")
struct EncoderBlocks:
    """Blocks of the encoder and its last normalization: x float32 [windows, length, width] -> the same shape.

    n_blocks: int64 [1], after how many blocks to stop. After all of them the result is normalized by ln_post; after
    fewer it is not, and after 0 it is x. parameters: uint8 [layers, bytes], packed by graphs/packing.py. offsets: int64
    [at least 7], where the parts begin that `layout` names. ln_post: float32 [2, width], gamma and beta.
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType, layout: StaticString
    ](
        result: OutputTensor[dtype=DType.float32, rank=3, ...],
        x: InputTensor[dtype=DType.float32, rank=3, ...],
        n_blocks: InputTensor[dtype=DType.int64, rank=1, ...],
        parameters: InputTensor[dtype=DType.uint8, rank=2, ...],
        offsets: InputTensor[dtype=DType.int64, rank=1, ...],
        ln_post: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        comptime isa = Isa.named[instructions]()
        comptime Block = EncoderBlock[isa, weight]
        comptime kind = kind_of[weight]()
        comptime assert layout == Block.NAMES, "the encoder's blocks are packed in another order than they are read"
        var windows, length, width = x.shape()[0], x.shape()[1], x.shape()[2]
        var layers, layout_offsets = view_of(parameters), row_of(offsets)
        var norm = view_of(ln_post)
        expect_heads(NAME, width)
        expect_range(NAME, "the length of a window", length, 1, 1 << 20)
        expect_equal(NAME, "windows of the result", result.shape()[0], windows)
        expect_equal(NAME, "the length of the result", result.shape()[1], length)
        expect_equal(NAME, "the width of the result", result.shape()[2], width)
        expect_parts(NAME, layout, Block.sizes(width), layers, layout_offsets)
        expect_equal(NAME, "rows of ln_post", norm.rows, 2)
        expect_equal(NAME, "the width of ln_post", norm.columns, width)
        expect_equal(NAME, "entries of n_blocks", n_blocks.shape()[0], 1)
        var stop = Int(row_of(n_blocks)[0])
        expect_range(NAME, "n_blocks", stop, 0, layers.rows)

        var source, values = view_of(x), view_of(result)
        for row in range(values.rows):
            for i in range(0, width, 16):
                values.store(row, i, source.load[16](row, i))
        if stop == 0 or windows == 0:
            return

        var heads, blocks = width // HEAD, ceildiv(length, BLOCK)
        var n_threads = parallelism_level(None)
        var together = max(1, min(MOST_ROWS // BLOCK, blocks * windows // n_threads)) * BLOCK  # rows of a task
        var parts = ceildiv(length, together)
        var n_row_blocks = windows * heads * blocks
        var n_spans = min(n_row_blocks, max(windows * heads, SPANS * n_threads))
        var head_bytes = blocks * block_bytes[isa, kind]()
        var scratch_bytes = EncoderScratch[isa, weight].size(width)
        var tensor_bytes = ceildiv(windows * heads * head_bytes, 64) * 64
        var arena = Arena.allocate(3 * tensor_bytes + n_threads * scratch_bytes)
        var queries = arena.take[DType.uint8](windows * heads, head_bytes)
        var keys = arena.take[DType.uint8](windows * heads, head_bytes)
        var cached_values = arena.take[DType.uint8](windows * heads, head_bytes)
        var own = arena.take[DType.uint8](n_threads, scratch_bytes)

        @always_inline
        def rows_of(window: Int, first: Int, most: Int) {imm} -> Rows[isa, kind]:
            return Rows[isa, kind](
                values.rows_from(window * length, length),
                queries.rows_from(window * heads, heads),
                keys.rows_from(window * heads, heads),
                cached_values.rows_from(window * heads, heads),
                first,
                min(most, length - first),
            )

        def through_blocks(mut team: Team) {imm}:
            var own_arena = Arena.of(own.row(team.thread))
            var scratch = EncoderScratch[isa, weight].take(own_arena, width)
            for layer in range(stop):
                var block = Block.of(layers.row(layer), layout_offsets, width)

                def project_part(item: Int) {imm}:
                    project(rows_of(item // parts, item % parts * together, together), block, scratch)

                def attend_span(item: Int) {imm}:
                    # The rows of a head follow each other, so that its keys and values stay in the core's cache.
                    for number in range(n_row_blocks * item // n_spans, n_row_blocks * (item + 1) // n_spans):
                        var head = number // blocks
                        attend_rows(rows_of(head // heads, number % blocks * BLOCK, BLOCK), head % heads, scratch)

                def finish_part(item: Int) {imm}:
                    var rows = rows_of(item // parts, item % parts * together, together)
                    finish(rows, block, scratch)
                    if layer == layers.rows - 1:
                        for row in range(rows.first, rows.first + rows.count):
                            layer_norm(rows.x.row(row), norm, rows.x.row(row))

                team.share(parts * windows, project_part)
                team.share(n_spans, attend_span)
                team.share(parts * windows, finish_part)

        in_product_team[isa](n_threads, 3 * stop, through_blocks)
        arena.free()
