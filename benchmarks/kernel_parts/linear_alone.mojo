"""A linear layer by itself, of rows normalized and packed."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, min

from ..instructions.elementwise import gelu, gelu_float32
from ..instructions.isa import Isa
from ..instructions.product_team import in_product_team
from ..matmul.linear import Linear
from ..matmul.pack_rows import layer_norm, pack_row
from ..matmul.tiles import BLOCK, PANEL, is_float
from ..memory.arena import Arena
from ..memory.team import Team
from ..memory.views import Bytes, View, row_of, view_of
from ..operations.checks import expect_equal, expect_multiple

comptime NAME = "linear_alone"
comptime TOGETHER = 4 * BLOCK  # rows for which a panel of the weight stays in the cache


@fieldwise_init
struct Scratch(ImplicitlyCopyable):
    """A thread's own memory."""

    var row: View[DType.float32]  # [1, in_features]
    var a: Bytes  # [TOGETHER / 16, panel_bytes]
    var quantization: View[DType.float32]  # [TOGETHER, 2]
    var block: View[DType.float32]  # [32, 32]

    @staticmethod
    def take(mut arena: Arena, in_features: Int, panel_bytes: Int) -> Self:
        return Self(
            arena.take[DType.float32](1, in_features),
            arena.take[DType.uint8](TOGETHER // PANEL, panel_bytes),
            arena.take[DType.float32](TOGETHER, 2),
            arena.take[DType.float32](BLOCK, BLOCK),
        )


@extensibility.register("linear_alone")
struct LinearAlone:
    """A linear layer: x float32 [rows, in_features] -> float32 [rows, out_features], a multiple of 32.

    parameters: uint8 [bytes], packed by graphs/packing.py. The layer takes the rows normalized, with gamma_beta float32
    [2, in_features]. epilogue: `store`, or `gelu` for the GELU of the results.
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType, epilogue: StaticString
    ](
        result: OutputTensor[dtype=DType.float32, rank=2, ...],
        x: InputTensor[dtype=DType.float32, rank=2, ...],
        gamma_beta: InputTensor[dtype=DType.float32, rank=2, ...],
        parameters: InputTensor[dtype=DType.uint8, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        comptime isa = Isa.named[instructions]()
        var rows, in_features = x.shape()[0], x.shape()[1]
        var out_features = result.shape()[1]
        expect_multiple(NAME, "out_features", out_features, BLOCK)
        expect_multiple(NAME, "in_features", in_features, 16)
        var size = Linear[isa, weight].size(out_features, in_features)
        expect_equal(NAME, "the parameters' bytes", parameters.shape()[0], size)
        var linear = Linear[isa, weight].of(row_of(parameters), out_features, in_features)
        var source, norm, values = view_of(x), view_of(gamma_beta), view_of(result)
        var n_threads = parallelism_level(None)
        var measured = Arena.measure()
        _ = Scratch.take(measured, in_features, linear.a_panel_bytes())
        var arena = Arena.allocate(n_threads * measured.used)
        var own = arena.take[DType.uint8](n_threads, measured.used)

        def multiply_all(mut team: Team) {imm}:
            var own_arena = Arena.of(own.row(team.thread))
            var scratch = Scratch.take(own_arena, in_features, linear.a_panel_bytes())

            def multiply_part(part: Int) {imm}:
                var first = part * TOGETHER
                var count = min(TOGETHER, rows - first)
                for row in range(count):
                    layer_norm(source.row(first + row), norm, scratch.row)
                    scratch.quantization.store(row, 0, pack_row[isa, weight](scratch.row, scratch.a, row))
                for column in range(0, out_features, BLOCK):
                    for start in range(0, count, BLOCK):
                        var here = min(BLOCK, count - start)
                        var a = scratch.a.rows_from(start // PANEL, 2)
                        linear.results(here, a, scratch.quantization.rows_from(start, here), column, scratch.block)
                        for row in range(here):
                            comptime for i in range(0, BLOCK, 16):
                                var results = scratch.block.load[16](row, i)
                                comptime if epilogue == "gelu":
                                    results = gelu_float32(results) if is_float[weight]() else gelu(results)
                                values.store(first + start + row, column + i, results)

            team.share(ceildiv(rows, TOGETHER), multiply_part)

        in_product_team[isa](n_threads, 1, multiply_all)
        arena.free()
