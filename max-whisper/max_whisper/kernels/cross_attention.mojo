"""Keys and values of cross-attention, once for each window."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, min
from std.memory import alloc

from .attention import HEAD, block_size, kind_of, pack_key, pack_values
from .caches import Caches
from .linear import Linear
from .rows import to_tiles
from .tiles import SIDE, TILE, Floats, begin_products, end_products, store


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
        var own_size = side_size + SIDE * 8 + TILE * 4 + 64
        var room = alloc[UInt8](n_threads * own_size, alignment=64)
        var memory = Int(room)
        var source = Int(features.unsafe_ptr())
        var sides = ceildiv(length, SIDE)
        var n_parts = sides * shape[0]

        def task(thread: Int) {imm}:
            var tiles = memory + thread * own_size
            var scales = tiles + side_size
            var block = scales + SIDE * 8
            begin_products[instructions]()
            for index in range(n_parts * thread // n_threads, n_parts * (thread + 1) // n_threads):
                var window = index // sides
                var side = index % sides
                var rows = min(SIDE, length - side * SIDE)
                for row in range(rows):
                    var place = source + ((window * length + side * SIDE + row) * width) * 4
                    store[DType.float32, 2](scales + row * 8, to_tiles[instructions, weight](place, width, tiles, row))
                for layer in range(n_layers):
                    var linear = Linear[instructions, weight](layers + layer * layer_size, 2 * width, width)
                    for column in range(0, 2 * width, SIDE):
                        linear.block(rows, tiles, scales, column, block)
                        var keys = given.keys(window, layer, column % width // HEAD, length)
                        var half = column % HEAD // SIDE
                        if column < width:
                            for row in range(rows):
                                pack_key[reader, kind](block + row * SIDE * 4, half, side * SIDE + row, keys.keys)
                        else:
                            for row in range(rows, SIDE):
                                for i in range(0, SIDE, 16):
                                    store[DType.float32, 16](block + (row * SIDE + i) * 4, Floats(0))
                            pack_values[reader, kind](block, half, side, keys.capacity, keys.values)
            end_products[instructions]()

        sync_parallelize(task, n_threads)
        room.free()
