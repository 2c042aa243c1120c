"""Keys and values of cross-attention, once for each window: linear layers of the encoder's output.

Called by the graph `cross_attention` (graphs/fused.py). Its result is read by the decoder's operations as `cross`.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min

from ..attention.kv_cache import KVCache
from ..attention.packing import HEAD, kind_of, pack_values
from ..instructions.isa import Isa
from ..instructions.product_team import in_product_team
from ..matmul.linear import Linear, ResultEpilogue
from ..matmul.linear_blocks import MOST_ROWS, LinearBlocks, take_accumulators
from ..matmul.pack_rows import pack_row
from ..matmul.tiles import BLOCK, PANEL
from ..memory.arena import Arena
from ..memory.team import Team
from ..memory.views import Bytes, View, view_of
from .checks import expect_equal, expect_heads, expect_range
from .encoder_block import KeyEpilogue

comptime NAME = "cross_keys_values"


@fieldwise_init
struct Scratch(ImplicitlyCopyable):
    """A thread's own memory for some rows."""

    var a: Bytes  # [rows / 16, panel of k = width]
    var quantization: View[DType.float32]  # [rows, 2]
    var accumulators: View[DType.float32]  # [2, 32 * 32]

    @staticmethod
    def take(mut arena: Arena, rows: Int, panel_bytes: Int) -> Self:
        return Self(
            arena.take[DType.uint8](rows // PANEL, panel_bytes),
            arena.take[DType.float32](rows, 2),
            take_accumulators(arena),
        )


@extensibility.register("cross_keys_values")
struct CrossKeysValues:
    """Keys and values of cross-attention in all layers of the decoder, from features float32 [windows, length, width].

    parameters: uint8 [layers, bytes], a linear layer each, [2 * width, width], keys first. The result, uint8 [windows,
    layers, bytes], has for each head the keys of all positions, then the values, in whole blocks of 32, as
    attention/packing.mojo describes for `reader`, the instructions of the decoder that reads them.
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, reader: StaticString, weight: DType
    ](
        result: OutputTensor[dtype=DType.uint8, rank=3, ...],
        features: InputTensor[dtype=DType.float32, rank=3, ...],
        parameters: InputTensor[dtype=DType.uint8, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        comptime isa = Isa.named[instructions]()
        comptime kind = kind_of[weight]()
        comptime Layer = Linear[isa, weight]
        comptime Cache = KVCache[Isa.named[reader](), kind]
        var windows, length, width = features.shape()[0], features.shape()[1], features.shape()[2]
        var layers = view_of(parameters)
        expect_heads(NAME, width)
        expect_range(NAME, "the length of a window", length, 1, 1 << 20)
        expect_equal(NAME, "the parameters' bytes in a layer", layers.columns, Layer.size(2 * width, width))
        expect_equal(NAME, "windows of the result", result.shape()[0], windows)
        expect_equal(NAME, "layers of the result", result.shape()[1], layers.rows)
        var heads = width // HEAD
        var layer_bytes = Cache.layer_bytes(heads, ceildiv(length, BLOCK))
        expect_equal(NAME, "the result's bytes in a layer", result.shape()[2], layer_bytes)

        var caches = Cache(view_of(result), layers.rows, heads)
        var source = view_of(features)
        var n_threads = parallelism_level(None)
        var panel_bytes = Layer.of(layers.row(0), 2 * width, width).a_panel_bytes() if layers.rows else 0
        var together = max(1, min(MOST_ROWS, ceildiv(length * windows, n_threads)) // BLOCK) * BLOCK
        var parts = ceildiv(length, together)
        var measured = Arena.measure()
        _ = Scratch.take(measured, together, panel_bytes)
        var arena = Arena.allocate(n_threads * measured.used)
        var own = arena.take[DType.uint8](n_threads, measured.used)

        def make_all(mut team: Team) {imm}:
            var own_arena = Arena.of(own.row(team.thread))
            var scratch = Scratch.take(own_arena, together, panel_bytes)

            def make_part(item: Int) {imm}:
                var window = item // parts
                var first = item % parts * together
                var rows = min(together, length - first)
                for row in range(rows):
                    var packed = pack_row[isa, weight](source.row(window * length + first + row), scratch.a, row)
                    scratch.quantization.store(row, 0, packed)
                for layer in range(layers.rows):
                    var linear = Layer.of(layers.row(layer), 2 * width, width)
                    var blocks = LinearBlocks.of(rows, linear, scratch.a, scratch.quantization, scratch.accumulators)
                    blocks.multiply(0)
                    for number in range(blocks.count()):
                        var column, count = blocks.column(number), blocks.rows_of(number)
                        var cache = caches.head(window, layer, column % width // HEAD, length)
                        var half = column % HEAD // BLOCK
                        var position = first + blocks.row(number)
                        var block = blocks.block(number)
                        var results = ResultEpilogue(linear.parameters(column), block, blocks.quantization_of(number))
                        if column < width:
                            var pack = KeyEpilogue[for_window=False](results^, half, position, cache)
                            blocks.multiply_beside(number + 1, pack, count)
                        else:
                            blocks.multiply_beside(number + 1, results, count)
                            block.rows_from(count, BLOCK - count).fill(0)
                            pack_values(block, half, position // BLOCK, cache)

            team.share(parts * windows, make_part)

        in_product_team[isa](n_threads, 1, make_all)
        arena.free()
