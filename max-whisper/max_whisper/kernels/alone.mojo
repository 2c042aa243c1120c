"""The parts of the fused operations by themselves, so that each can be compared with NumPy and measured."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, min
from std.memory import alloc
from std.sys import size_of

from .attention import HEAD, Keys, Scratch, attend, block_size, pack_key, pack_queries, pack_value
from .floats import is_float
from .functions import gelu, gelu_float32
from .linear import Linear
from .rows import normalize, to_tiles
from .team import Team, in_team
from .tiles import SIDE, TILE, load, store
from .window_attention import WindowScratch, attend_window, pack_window_key, steps_of


@extensibility.register("linear_alone")
struct LinearAlone:
    """A linear layer over tiles: x float32 [rows, depth] -> float32 [rows, columns], columns a multiple of 32.

    parameters: uint8 [bytes], packed by graphs/packing.py. The layer takes the rows normalized, with `normalization`
    float32 [2, depth], scale and shift. finish: `store`, or `gelu` for the GELU of the results.
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType, finish: StaticString
    ](
        result: OutputTensor[dtype=DType.float32, rank=2, ...],
        x: InputTensor[dtype=DType.float32, rank=2, ...],
        normalization: InputTensor[dtype=DType.float32, rank=2, ...],
        parameters: InputTensor[dtype=DType.uint8, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        var rows = x.shape()[0]
        var depth = x.shape()[1]
        var columns = result.shape()[1]
        var linear = Linear[instructions, weight](Int(parameters.unsafe_ptr()), columns, depth)
        var source = Int(x.unsafe_ptr())
        var scale = Int(normalization.unsafe_ptr())
        var values = Int(result.unsafe_ptr())
        comptime together = 4  # sides for which a panel of the weight stays in the cache
        var sides = ceildiv(rows, SIDE)
        var parts = ceildiv(sides, together)
        var n_threads = parallelism_level(None)
        var own_size = depth * 4 + together * (linear.side_size() + SIDE * 8) + TILE * 4
        var room = alloc[UInt8](n_threads * own_size, alignment=64)
        var memory = Int(room)

        def work(mut team: Team) {imm}:
            var normalized = memory + team.thread * own_size
            var tiles = normalized + depth * 4
            var scales = tiles + together * linear.side_size()
            var block = scales + together * SIDE * 8

            def some_rows(part: Int) {imm}:
                var first = part * together * SIDE
                var some = min(together * SIDE, rows - first)
                for row in range(some):
                    normalize(source + (first + row) * depth * 4, depth, scale, scale + depth * 4, normalized)
                    var step = to_tiles[instructions, weight](normalized, depth, tiles, row)
                    store[DType.float32, 2](scales + row * 8, step)
                for column in range(0, columns, SIDE):
                    for side in range(ceildiv(some, SIDE)):
                        var here = min(SIDE, some - side * SIDE)
                        var left = tiles + side * linear.side_size()
                        linear.block(here, left, scales + side * SIDE * 8, column, block)
                        for row in range(here):
                            var place = values + ((first + side * SIDE + row) * columns + column) * 4
                            comptime for half in range(2):
                                var sums = load[DType.float32, 16](block + row * SIDE * 4 + half * 64)
                                comptime if finish == "gelu":
                                    sums = gelu_float32(sums) if is_float[weight]() else gelu(sums)
                                store[DType.float32, 16](place + half * 64, sums)

            team.share(parts, some_rows)

        in_team[instructions](n_threads, 1, work)
        room.free()


@extensibility.register("attention_alone")
struct AttentionAlone:
    """Attention of heads: queries float32 [heads, rows, 64], keys and values float32 [heads, positions, 64] -> as queries.

    kind: bfloat16 or float32. Row i sees the positions from first[0] to first[1] + first[2] * i,
    that one not included.
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, kind: DType
    ](
        result: OutputTensor[dtype=DType.float32, rank=3, ...],
        queries: InputTensor[dtype=DType.float32, rank=3, ...],
        keys: InputTensor[dtype=DType.float32, rank=3, ...],
        values: InputTensor[dtype=DType.float32, rank=3, ...],
        first: InputTensor[dtype=DType.int64, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        var heads = queries.shape()[0]
        var rows = queries.shape()[1]
        var positions = keys.shape()[1]
        comptime block = block_size[instructions, kind]()
        var blocks = ceildiv(positions, SIDE)
        var query_data = Int(queries.unsafe_ptr())
        var key_data = Int(keys.unsafe_ptr())
        var value_data = Int(values.unsafe_ptr())
        var target_data = Int(result.unsafe_ptr())
        var seen = Int(first.unsafe_ptr())
        var n_threads = parallelism_level(None)
        var own_size = (2 * blocks + 1) * block + Scratch.size[instructions, kind](blocks)
        var room = alloc[UInt8](n_threads * own_size, alignment=64)
        var memory = Int(room)

        def work(mut team: Team) {imm}:
            var packed = memory + team.thread * own_size
            var head_keys = Keys(packed + block, packed + (1 + blocks) * block, blocks, positions)
            var scratch = Scratch.at[instructions, kind](packed + (1 + 2 * blocks) * block, blocks)

            def some(head: Int) {imm}:
                for position in range(positions):
                    var place = (head * positions + position) * HEAD * 4
                    pack_key[instructions, kind](key_data + place, 0, position, head_keys.keys)
                    pack_key[instructions, kind](key_data + place + SIDE * 4, 1, position, head_keys.keys)
                    pack_value[instructions, kind](value_data + place, position, blocks, head_keys.values)
                for side in range(0, rows, SIDE):
                    var here = min(SIDE, rows - side)
                    var place = (head * rows + side) * HEAD * 4
                    pack_queries[instructions, kind](query_data + place, HEAD * 4, here, 0, packed)
                    pack_queries[instructions, kind](query_data + place + SIDE * 4, HEAD * 4, here, 1, packed)
                    var grows = Int(load[DType.int64, 1](seen + 16))
                    attend[instructions, kind](
                        here,
                        packed,
                        head_keys,
                        Int(load[DType.int64, 1](seen)),
                        Int(load[DType.int64, 1](seen + 8)) + grows * side,
                        grows,
                        scratch,
                        target_data + place,
                        HEAD * 4,
                    )

            team.share(heads, some)

        in_team[instructions](n_threads, 1, work)
        room.free()


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
        var heads = queries.shape()[0]
        var rows = queries.shape()[1]
        var positions = keys.shape()[1]
        var blocks = ceildiv(positions, SIDE)
        var query_data = Int(queries.unsafe_ptr())
        var key_data = Int(keys.unsafe_ptr())
        var value_data = Int(values.unsafe_ptr())
        var target_data = Int(result.unsafe_ptr())
        comptime block = block_size[instructions, kind]()
        comptime Memory = WindowScratch[instructions, kind]
        var n_threads = parallelism_level(None)
        var own_size = (2 * blocks + 1) * block + Memory.size()
        var room = alloc[UInt8](n_threads * own_size, alignment=64)
        var memory = Int(room)

        def work(mut team: Team) {imm}:
            var packed = memory + team.thread * own_size
            var head_keys = Keys(packed + block, packed + (1 + blocks) * block, blocks, positions)
            var scratch = Memory.at(packed + (1 + 2 * blocks) * block)

            def some(head: Int) {imm}:
                for position in range(positions):
                    var place = (head * positions + position) * HEAD * 4
                    pack_window_key[instructions, kind](key_data + place, 0, position, head_keys.keys)
                    pack_window_key[instructions, kind](key_data + place + SIDE * 4, 1, position, head_keys.keys)
                    pack_value[instructions, kind](value_data + place, position, blocks, head_keys.values)
                for side in range(0, rows, SIDE):
                    var here = min(SIDE, rows - side)
                    var place = (head * rows + side) * HEAD * 4
                    comptime for half in range(2):
                        var source = query_data + place + half * SIDE * 4
                        pack_queries[instructions, kind, steps_of[kind]()](source, HEAD * 4, here, half, packed)
                    attend_window[instructions, kind](here, packed, head_keys, scratch, packed)
                    for i in range(0, here * HEAD, 16):
                        var values = load[kind, 16](packed + i * size_of[Scalar[kind]]()).cast[DType.float32]()
                        store[DType.float32, 16](target_data + place + i * 4, values)

            team.share(heads, some)

        in_team[instructions](n_threads, 1, work)
        room.free()
