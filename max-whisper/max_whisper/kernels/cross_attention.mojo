"""Keys and values of cross-attention, once for each window."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min
from std.memory import alloc

from .attention import HEAD, block_size, kind_of, pack_values
from .blocks import MOST_ROWS, Blocks, PackKeys
from .caches import Caches
from .linear import FinishRows, Linear
from .rows import to_tiles
from .team import Team, in_team
from .tiles import SIDE, TILE, Floats, store


@extensibility.register("cross_keys_values")
struct CrossKeysValues:
    """Keys and values of cross-attention in all layers of the decoder, from features float32 [windows, length, width].

    parameters: uint8 [layers, bytes], a linear layer each, keys first. The result, uint8 [windows, layers, bytes], has
    for each head the keys of all positions, then the values, both as attention.mojo describes for
    `reader`, the instructions of the decoder that reads them.
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
        var shape = features.shape()
        var length = shape[1]
        var width = shape[2]
        var n_layers = parameters.shape()[0]
        comptime kind = kind_of[weight]()
        comptime block_bytes = block_size[reader, kind]()
        var given = Caches(Int(result.unsafe_ptr()), n_layers, result.shape()[2], width // HEAD, block_bytes)
        var n_threads = parallelism_level(None)
        var layer_size = parameters.shape()[1]
        var layers = Int(parameters.unsafe_ptr())
        var side_size = Linear[instructions, weight](layers, 2 * width, width).side_size()
        var together = max(1, min(MOST_ROWS, ceildiv(length * shape[0], n_threads)) // SIDE)
        var own_size = together * (side_size + SIDE * 8) + 2 * TILE * 4
        var room = alloc[UInt8](n_threads * own_size, alignment=64)
        var memory = Int(room)
        var source = Int(features.unsafe_ptr())
        var parts = ceildiv(length, together * SIDE)

        def work(mut team: Team) {imm}:
            var tiles = memory + team.thread * own_size
            var places = tiles + together * side_size
            var scales = places + 2 * TILE * 4

            def some(item: Int) {imm}:
                var window = item // parts
                var first = item % parts * together * SIDE
                var rows = min(together * SIDE, length - first)
                for row in range(rows):
                    var place = source + (window * length + first + row) * width * 4
                    store[DType.float32, 2](scales + row * 8, to_tiles[instructions, weight](place, width, tiles, row))
                for layer in range(n_layers):
                    var linear = Linear[instructions, weight](layers + layer * layer_size, 2 * width, width)
                    var blocks = Blocks.of(rows, linear, tiles, scales, places)
                    blocks.multiply(0)
                    for number in range(blocks.count()):
                        var column = blocks.column(number)
                        var keys = given.keys(window, layer, column % width // HEAD, length)
                        var half = column % HEAD // SIDE
                        var position = first + blocks.first(number)
                        var sums = blocks.sums(number)
                        var here = blocks.rows(number)
                        var finished = FinishRows(linear.parameters(column), sums, blocks.scales(number))
                        if column < width:
                            var pack = PackKeys[reader, for_window=False](finished^, half, position, keys.keys)
                            blocks.multiply_beside(number + 1, pack, here)
                        else:
                            blocks.multiply_beside(number + 1, finished, here)
                            for row in range(here, SIDE):
                                for i in range(0, SIDE, 16):
                                    store[DType.float32, 16](sums + (row * SIDE + i) * 4, Floats(0))
                            pack_values[reader, kind](sums, half, position // SIDE, keys.capacity, keys.values)

            team.share(parts * shape[0], some)

        in_team[instructions](n_threads, 1, work)
        room.free()
