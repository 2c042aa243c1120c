"""The encoder's two convolutions in one operation, in bfloat16 or float32.

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

from .floats import is_float
from .functions import gelu, gelu_float32
from .linear import Linear
from .rows import to_tiles
from .tiles import LINE, LINES, SIDE, TILE, Floats, begin_products, end_products, load, store, to_bfloat16


@always_inline
def _tiles_of_windows[
    instructions: StaticString, weight: DType
](source: Int, stride: Int, rows: Int, linear: Linear[instructions, weight], tiles: Int):
    """Lines of memory that begin `stride` bytes after each other as rows of tiles."""
    var steps = linear.steps()
    for row in range(rows):
        comptime if is_float[weight]():
            _ = to_tiles[instructions, weight](source + row * stride, linear.depth, tiles, row)
            continue
        var line = tiles + row // LINES * steps * TILE + row % LINES * LINE
        for step in range(steps):
            store[DType.uint16, 32](line + step * TILE, load[DType.uint16, 32](source + row * stride + step * LINE))


@always_inline
def _store[instructions: StaticString, weight: DType](place: Int, values: Floats):
    """Values in the precision that the next convolution reads."""
    comptime if is_float[weight]():
        store[DType.float32, 16](place, values)
    else:
        store[DType.uint16, 16](place, to_bfloat16[instructions](values))


def _transpose[
    instructions: StaticString, weight: DType
](log_mel: Int, n_mels: Int, frames: Int, first: Int, last: Int, target: Int):
    """Frames first to last, multiples of 16, of float32 [n_mels, frames] to [frames, n_mels]; mels are 16 and 16."""
    comptime size = 4 if is_float[weight]() else 2
    for mel in range(0, n_mels, 16):
        for frame in range(first, last, 16):
            var count = min(16, frames - frame)
            var block = Array[Floats, 16](fill=Floats(0))
            comptime for i in range(16):
                var place = log_mel + ((mel + i) * frames + frame) * 4
                if count == 16:
                    block[i] = load[DType.float32, 16](place)
                else:
                    for j in range(count):
                        block[i][j] = load[DType.float32, 1](place + j * 4)
            for j in range(count):
                var values = Floats(0)
                comptime for i in range(16):
                    values[i] = block[i][j]
                _store[instructions, weight](target + ((frame + j) * n_mels + mel) * size, values)


@extensibility.register("encoder_convolutions")
struct EncoderConvolutions:
    """Log-mel windows float32 [windows, n_mels, 2 * length] -> float32 [windows, length, width], positions added.

    parameters: uint8 [bytes], two linear layers of `weight`, bfloat16, float16 or float32, packed by
    graphs/packing.py.
    positional_embedding: float32 [length, width].
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType
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
        var first = Linear[instructions, weight](Int(parameters.unsafe_ptr()), width, 3 * n_mels)
        var second = Linear[instructions, weight](first.end(), width, 3 * width)
        var source = Int(log_mel.unsafe_ptr())
        var values = Int(result.unsafe_ptr())
        var positions = Int(positional_embedding.unsafe_ptr())

        # A row of zeros before the first and after the last; and what the last line of a row reads beyond it.
        comptime zero = DType.float32 if is_float[weight]() else DType.uint16
        comptime size = 4 if is_float[weight]() else 2  # bytes of a value
        var mel_size = (frames + 2) * n_mels * size + LINE
        var hidden_size = (frames + 2) * width * size + LINE
        var n_threads = parallelism_level(None)
        var own_size = second.side_size() + TILE * 4
        var room = alloc[UInt8](windows * (mel_size + hidden_size + 2 * LINE) + n_threads * own_size, alignment=64)
        var mels = Int(room)
        var hidden = mels + ceildiv(windows * mel_size, LINE) * LINE
        var own = hidden + ceildiv(windows * hidden_size, LINE) * LINE
        for window in range(windows):
            for i in range(0, n_mels * size, size):
                store(mels + window * mel_size + i, Scalar[zero](0))
                store(mels + window * mel_size + (frames + 1) * n_mels * size + i, Scalar[zero](0))
            for i in range(0, width * size, size):
                store(hidden + window * hidden_size + i, Scalar[zero](0))
                store(hidden + window * hidden_size + (frames + 1) * width * size + i, Scalar[zero](0))
            store[DType.uint8, LINE](mels + (window + 1) * mel_size - LINE, SIMD[DType.uint8, LINE](0))
            store[DType.uint8, LINE](hidden + (window + 1) * hidden_size - LINE, SIMD[DType.uint8, LINE](0))

        var strips = ceildiv(frames, 16)

        def transposing(thread: Int) {imm}:
            for index in range(windows):
                _transpose[instructions, weight](
                    source + index * n_mels * frames * 4,
                    n_mels,
                    frames,
                    strips * thread // n_threads * 16,
                    min(frames, strips * (thread + 1) // n_threads * 16),
                    mels + index * mel_size + n_mels * size,
                )

        sync_parallelize(transposing, n_threads)

        @always_inline
        def convolve[is_last: Bool](thread: Int) {imm}:
            var linear = second if is_last else first
            var rows_in_all = length if is_last else frames
            var tiles = own + thread * own_size
            var block = tiles + second.side_size()
            var sides = ceildiv(rows_in_all, SIDE)
            begin_products[instructions]()
            for index in range(windows * sides * thread // n_threads, windows * sides * (thread + 1) // n_threads):
                var window = index // sides
                var row = index % sides * SIDE
                var rows = min(SIDE, rows_in_all - row)
                if is_last:
                    var start = hidden + window * hidden_size + 2 * row * width * size
                    _tiles_of_windows(start, 2 * width * size, rows, linear, tiles)
                else:
                    var start = mels + window * mel_size + row * n_mels * size
                    _tiles_of_windows(start, n_mels * size, rows, linear, tiles)
                for column in range(0, width, SIDE):
                    linear.block(rows, tiles, block, column, block)
                    for i in range(rows):
                        comptime for half in range(2):
                            var sums = load[DType.float32, 16](block + i * SIDE * 4 + half * 64)
                            sums = gelu_float32(sums) if is_float[weight]() else gelu(sums)
                            var place = column + half * 16
                            comptime if is_last:
                                sums += load[DType.float32, 16](positions + ((row + i) * width + place) * 4)
                                var target = values + ((window * length + row + i) * width + place) * 4
                                store[DType.float32, 16](target, sums)
                            else:
                                var target = hidden + window * hidden_size + ((row + i + 1) * width + place) * size
                                _store[instructions, weight](target, sums)
            end_products[instructions]()

        def first_convolution(thread: Int) {imm}:
            convolve[False](thread)

        def second_convolution(thread: Int) {imm}:
            convolve[True](thread)

        sync_parallelize(first_convolution, n_threads)
        sync_parallelize(second_convolution, n_threads)
        room.free()
