"""The encoder's two convolutions in one operation, in bfloat16.

Rows of a sound that follow each other lie one after the other, so that the three that a convolution's kernel sees are
one line of memory: each convolution is a linear layer of three rows.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, min
from std.memory import alloc

from .functions import gelu
from .linear import Linear
from .tiles import LINE, LINES, SIDE, TILE, Floats, begin_products, end_products, load, store, to_bfloat16

comptime IN_LINE = 32  # values of bfloat16


@always_inline
def _tiles_of_windows(source: Int, stride: Int, rows: Int, steps: Int, tiles: Int):
    """Lines of memory that begin `stride` bytes after each other as rows of tiles."""
    for row in range(rows):
        var line = tiles + row // LINES * steps * TILE + row % LINES * LINE
        for step in range(steps):
            store[DType.uint16, 32](line + step * TILE, load[DType.uint16, 32](source + row * stride + step * LINE))


def _transpose[
    instructions: StaticString
](log_mel: Int, n_mels: Int, frames: Int, first: Int, last: Int, target: Int):
    """Frames first to last, multiples of 16, of float32 [n_mels, frames] to bfloat16 [frames, n_mels]."""
    for mel in range(n_mels):
        for frame in range(first, last, 16):
            var count = min(16, frames - frame)
            var place = target + (frame * n_mels + mel) * 2
            if count == 16:
                var values = to_bfloat16[instructions](load[DType.float32, 16](log_mel + (mel * frames + frame) * 4))
                comptime for i in range(16):
                    store(place + i * n_mels * 2, values[i])
            else:
                for i in range(count):
                    var value = load[DType.float32, 1](log_mel + (mel * frames + frame + i) * 4)
                    store(place + i * n_mels * 2, to_bfloat16[instructions](Floats(value))[0])


@extensibility.register("encoder_convolutions")
struct EncoderConvolutions:
    """Log-mel windows float32 [windows, n_mels, 2 * length] -> float32 [windows, length, width], positions added.

    parameters: uint8 [bytes], two linear layers in bfloat16, packed by graphs/packing.py.
    positional_embedding: float32 [length, width].
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString
    ](
        result: OutputTensor[dtype=DType.float32, rank=3, ...],
        log_mel: InputTensor[dtype=DType.float32, rank=3, ...],
        parameters: InputTensor[dtype=DType.uint8, rank=1, ...],
        positional_embedding: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        var windows = log_mel.shape()[0]
        var n_mels = log_mel.shape()[1]
        var frames = log_mel.shape()[2]
        var length = result.shape()[1]
        var width = result.shape()[2]
        var first = Linear[instructions, DType.bfloat16](Int(parameters.unsafe_ptr()), width, 3 * n_mels)
        var second = Linear[instructions, DType.bfloat16](first.end(), width, 3 * width)
        var source = Int(log_mel.unsafe_ptr())
        var values = Int(result.unsafe_ptr())
        var positions = Int(positional_embedding.unsafe_ptr())

        # A row of zeros before the first and after the last; and what the last line of a row reads beyond it.
        var mel_size = (frames + 2) * n_mels * 2 + LINE
        var hidden_size = (frames + 2) * width * 2 + LINE
        var n_threads = parallelism_level(None)
        var own_size = 2 * second.steps() * TILE + TILE * 4
        var room = alloc[UInt8](windows * (mel_size + hidden_size + 2 * LINE) + n_threads * own_size, alignment=64)
        var mels = Int(room)
        var hidden = mels + ceildiv(windows * mel_size, LINE) * LINE
        var own = hidden + ceildiv(windows * hidden_size, LINE) * LINE
        for window in range(windows):
            for i in range(n_mels):
                store(mels + window * mel_size + i * 2, UInt16(0))
                store(mels + window * mel_size + ((frames + 1) * n_mels + i) * 2, UInt16(0))
            store[DType.uint16, 32](mels + window * mel_size + (frames + 2) * n_mels * 2, SIMD[DType.uint16, 32](0))
            for i in range(width):
                store(hidden + window * hidden_size + i * 2, UInt16(0))
                store(hidden + window * hidden_size + ((frames + 1) * width + i) * 2, UInt16(0))
            store[DType.uint16, 32](hidden + window * hidden_size + (frames + 2) * width * 2, SIMD[DType.uint16, 32](0))

        var strips = ceildiv(frames, 16)

        def transposing(thread: Int) {imm}:
            for index in range(windows):
                _transpose[instructions](
                    source + index * n_mels * frames * 4,
                    n_mels,
                    frames,
                    strips * thread // n_threads * 16,
                    min(frames, strips * (thread + 1) // n_threads * 16),
                    mels + index * mel_size + n_mels * 2,
                )

        sync_parallelize(transposing, n_threads)

        @always_inline
        def convolve[is_last: Bool](thread: Int) {imm}:
            var linear = second if is_last else first
            var rows_in_all = length if is_last else frames
            var tiles = own + thread * own_size
            var block = tiles + 2 * second.steps() * TILE
            var sides = ceildiv(rows_in_all, SIDE)
            begin_products[instructions]()
            for index in range(windows * sides * thread // n_threads, windows * sides * (thread + 1) // n_threads):
                var window = index // sides
                var row = index % sides * SIDE
                var rows = min(SIDE, rows_in_all - row)
                if is_last:
                    var start = hidden + window * hidden_size + 2 * row * width * 2
                    _tiles_of_windows(start, 2 * width * 2, rows, linear.steps(), tiles)
                else:
                    var start = mels + window * mel_size + row * n_mels * 2
                    _tiles_of_windows(start, n_mels * 2, rows, linear.steps(), tiles)
                for column in range(0, width, SIDE):
                    linear.block(rows, tiles, block, column, block)
                    for i in range(rows):
                        comptime for half in range(2):
                            var sums = gelu(load[DType.float32, 16](block + i * SIDE * 4 + half * 64))
                            var place = column + half * 16
                            comptime if is_last:
                                sums += load[DType.float32, 16](positions + ((row + i) * width + place) * 4)
                                var target = values + ((window * length + row + i) * width + place) * 4
                                store[DType.float32, 16](target, sums)
                            else:
                                var target = hidden + window * hidden_size + ((row + i + 1) * width + place) * 2
                                store[DType.uint16, 16](target, to_bfloat16[instructions](sums))
            end_products[instructions]()

        def first_convolution(thread: Int) {imm}:
            convolve[False](thread)

        def second_convolution(thread: Int) {imm}:
            convolve[True](thread)

        sync_parallelize(first_convolution, n_threads)
        sync_parallelize(second_convolution, n_threads)
        room.free()
