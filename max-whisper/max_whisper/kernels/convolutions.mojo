"""The encoder's two convolutions in one operation, in bfloat16 or float32.

Rows of a sound that follow each other lie one after the other, so that the three that a convolution's kernel sees are
one line of memory: each convolution is a linear layer of three rows.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min
from std.memory import alloc

from .blocks import MOST_ROWS, Blocks
from .floats import is_float
from .linear import ColumnParameters, Linear, gelu_rows
from .rows import to_tiles
from .team import Team, in_team
from .tiles import LINE, LINES, SIDE, TILE, Floats, load, store, to_bfloat16
from .work import RowWork

comptime STRIP = 256  # frames that a task transposes at once
comptime MOST_TILES = 1 << 20  # bytes that the rows of a task may take as tiles: half of a core's cache


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


@fieldwise_init
struct ConvolveRows[instructions: StaticString, weight: DType, is_last: Bool](RowWork):
    """Makes results of a convolution's sums: their GELU, and of the last one's positions are added to them."""

    var parameters: ColumnParameters[Self.weight]
    var sums: Int
    var target: Int
    var positions: Int
    var width: Int

    comptime TOGETHER = 2

    @always_inline
    def rows[count: Int](self, first: Int):
        comptime size = 4 if Self.is_last or is_float[Self.weight]() else 2
        var values = gelu_rows[count](self.parameters, self.sums, 0, first)
        comptime for i in range(2 * count):
            var some = values.slice[16, offset=i * 16]()
            var place = (first + i // 2) * self.width + i % 2 * 16
            comptime if Self.is_last:
                store[DType.float32, 16](
                    self.target + place * 4, some + load[DType.float32, 16](self.positions + place * 4)
                )
            else:
                _store[Self.instructions, Self.weight](self.target + place * size, some)


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
        var side_size = max(first.side_size(), second.side_size())
        var for_each = windows * ceildiv(length, SIDE) // n_threads
        var together = max(1, min(min(MOST_ROWS // SIDE, MOST_TILES // side_size), for_each))
        var own_size = together * side_size + 2 * TILE * 4
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

        var strips = ceildiv(frames, STRIP)

        @always_inline
        def convolve[is_last: Bool](item: Int, tiles: Int) {imm}:
            var linear = second if is_last else first
            var rows_in_all = length if is_last else frames
            var parts = ceildiv(rows_in_all, together * SIDE)
            var window = item // parts
            var row = item % parts * together * SIDE
            var rows = min(together * SIDE, rows_in_all - row)
            if is_last:
                var start = hidden + window * hidden_size + 2 * row * width * size
                _tiles_of_windows(start, 2 * width * size, rows, linear, tiles)
            else:
                var start = mels + window * mel_size + row * n_mels * size
                _tiles_of_windows(start, n_mels * size, rows, linear, tiles)
            var blocks = Blocks.of(rows, linear, tiles, 0, tiles + together * side_size)
            blocks.multiply(0)
            for number in range(blocks.count()):
                var column = blocks.column(number)
                var place = (row + blocks.first(number)) * width + column
                var target = values + (window * length * width + place) * 4
                comptime if not is_last:
                    target = hidden + window * hidden_size + (width + place) * size
                var finish = ConvolveRows[instructions, weight, is_last](
                    linear.parameters(column), blocks.sums(number), target, positions + place * 4, width
                )
                blocks.multiply_beside(number + 1, finish, blocks.rows(number))

        def work(mut team: Team) {imm}:
            var memory = own + team.thread * own_size

            def transposing(item: Int) {imm}:
                var window, strip = item // strips, item % strips
                _transpose[instructions, weight](
                    source + window * n_mels * frames * 4,
                    n_mels,
                    frames,
                    strip * STRIP,
                    min(frames, (strip + 1) * STRIP),
                    mels + window * mel_size + n_mels * size,
                )

            def first_convolution(item: Int) {imm}:
                convolve[False](item, memory)

            def second_convolution(item: Int) {imm}:
                convolve[True](item, memory)

            team.share(windows * strips, transposing)
            team.share(windows * ceildiv(frames, together * SIDE), first_convolution)
            team.share(windows * ceildiv(length, together * SIDE), second_convolution)

        in_team[instructions](n_threads, 3, work)
        room.free()
