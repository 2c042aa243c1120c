"""The encoder's convolutions, in bfloat16 or float32: gelu(conv2(gelu(conv1(log_mel)))) + positions.

Frames that follow each other lie one after the other, so that the three that a convolution's kernel sees are one piece
of memory: each convolution is a linear layer of 3 * channels features (im2col without a copy). The second one moves by
two frames. Called by the graph `encoder` (graphs/fused.py).
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min

from ..instructions.elementwise import Floats, to_bfloat16
from ..instructions.isa import Isa
from ..instructions.product_team import in_product_team
from ..matmul.epilogue import Epilogue
from ..matmul.linear import ColumnParameters, Linear, gelu_of_results
from ..matmul.linear_blocks import MOST_ROWS, LinearBlocks, take_accumulators
from ..matmul.pack_rows import pack_row
from ..matmul.tiles import BLOCK, PANEL, ROW_BYTES, TILE_BYTES, is_float, panel_of, row_of_panel
from ..memory.arena import Arena
from ..memory.team import Team
from ..memory.views import Bytes, View, row_of, view_of
from .checks import expect_equal, expect_multiple, expect_range

comptime NAME = "encoder_convolutions"
comptime KERNEL = 3  # frames that a convolution sees
comptime STRIP = 256  # frames that a task transposes at once
comptime MOST_TILE_BYTES = 1 << 20  # that the rows of a task may take as A: half of a core's cache


@always_inline
def _between[weight: DType]() -> DType:
    """The type of the values that a convolution reads, bfloat16 as its bits."""
    return DType.float32 if is_float[weight]() else DType.uint16


@always_inline
def _store[
    isa: Isa, weight: DType
](target: View[_between[weight]()], row: Int, column: Int, values: Floats):
    """Store 16 values in the precision that a convolution reads."""
    comptime if is_float[weight]():
        target.bits[DType.float32]().store(row, column, values)
    else:
        target.bits[DType.uint16]().store(row, column, to_bfloat16[isa](values))


@fieldwise_init
struct Frames[weight: DType](ImplicitlyCopyable):
    """Values [frames + 2, channels] of each window, in one row of memory; the first and the last frame are zero.

    A row is as long as its last product reads: the last tile of k goes on behind the last frame, where zeros are, too.
    """

    comptime PADDING = ROW_BYTES // 2  # values

    var values: View[_between[Self.weight]()]  # [windows, (frames + 2) * channels + PADDING]
    var frames: Int
    var channels: Int

    @staticmethod
    def take(mut arena: Arena, windows: Int, frames: Int, channels: Int) -> Self:
        var size = (frames + 2) * channels + Self.PADDING
        return Self(arena.take[_between[Self.weight]()](windows, size), frames, channels)

    @always_inline
    def inner(self, window: Int) -> View[_between[Self.weight]()]:
        """The frames between the first and the last: [frames, channels]."""
        var row = self.values.part(window, self.channels, 1, self.frames * self.channels)
        return row.reshaped(self.frames, self.channels)

    def clear_edges(self):
        """Make the first and the last frame of each window zero, and what lies behind."""
        for window in range(self.values.rows):
            self.values.part(window, 0, 1, self.channels).fill(0)
            var end = (self.frames + 1) * self.channels
            self.values.part(window, end, 1, self.values.columns - end).fill(0)

    @always_inline
    def pack[
        isa: Isa, stride: Int
    ](self, window: Int, first: Int, rows: Int, linear: Linear[isa, Self.weight], a: Bytes):
        """Rows of a convolution as A: row i sees three frames from (first + i) * stride on, the zero one counted in."""
        var bytes = self.values.row(window).bits[DType.uint8]()
        for row in range(rows):
            var start = (first + row) * stride * self.channels
            comptime if is_float[Self.weight]():
                var seen = self.values.part(window, start, 1, linear.in_features)
                _ = pack_row[isa, Self.weight](seen.bits[DType.float32](), a, row)
            else:
                for k_tile in range(linear.k_tiles()):
                    var values = bytes.load_as[DType.uint16, 32](0, start * 2 + k_tile * ROW_BYTES)
                    a.store_as(panel_of(row), row_of_panel(row) * ROW_BYTES + k_tile * TILE_BYTES, values)


@fieldwise_init
struct ConvolutionEpilogue[isa: Isa, weight: DType, is_last: Bool](Epilogue):
    """Makes results of a convolution's accumulators: their GELU, and of the last one's positions are added to them."""

    var parameters: ColumnParameters[Self.weight]
    var block: View[DType.float32]
    var frames: View[_between[Self.weight]()]  # [rows, 32], the target of the first
    var result: View[DType.float32]  # [rows, 32], the target of the last
    var positions: View[DType.float32]  # [rows, 32]

    comptime ROWS = 2

    @always_inline
    def apply[count: Int](self, row: Int):
        var values = gelu_of_results[count](self.parameters, self.block, View[DType.float32].empty(), row)
        comptime for i in range(2 * count):
            var half = values.slice[16, offset=i * 16]()
            comptime column = i % 2 * 16
            comptime if Self.is_last:
                self.result.store(row + i // 2, column, half + self.positions.load[16](row + i // 2, column))
            else:
                _store[Self.isa, Self.weight](self.frames, row + i // 2, column, half)


def _transpose[
    isa: Isa, weight: DType
](log_mel: View[DType.float32], first: Int, last: Int, target: View[_between[weight]()]):
    """Frames first, a multiple of 16, to last of float32 [n_mels, frames] to [frames, n_mels], 16 x 16 at a time."""
    for mel in range(0, log_mel.rows, 16):
        for frame in range(first, last, 16):
            var count = min(16, log_mel.columns - frame)
            var block = Array[Floats, 16](fill=Floats(0))
            comptime for i in range(16):
                if count == 16:
                    block[i] = log_mel.load[16](mel + i, frame)
                else:
                    for j in range(count):
                        block[i][j] = log_mel.load(mel + i, frame + j)
            for j in range(count):
                var values = Floats(0)
                comptime for i in range(16):
                    values[i] = block[i][j]
                _store[isa, weight](target, frame + j, mel, values)


@extensibility.register("encoder_convolutions")
struct EncoderConvolutions:
    """Log-mel windows float32 [windows, n_mels, 2 * length] -> float32 [windows, length, width], positions added.

    parameters: uint8 [bytes], two linear layers of `weight`, bfloat16, float16 or float32, [width, 3 * n_mels] and
    [width, 3 * width], packed by graphs/packing.py. positional_embedding: float32 [length, width].
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
        comptime isa = Isa.named[instructions]()
        comptime Layer = Linear[isa, weight]
        var windows, n_mels, frames = log_mel.shape()[0], log_mel.shape()[1], log_mel.shape()[2]
        var length, width = result.shape()[1], result.shape()[2]
        expect_multiple(NAME, "n_mels", n_mels, 16)
        expect_multiple(NAME, "the width", width, BLOCK)
        expect_range(NAME, "the length of a window", length, 1, 1 << 20)
        expect_equal(NAME, "frames of a log-mel window", frames, 2 * length)
        expect_equal(NAME, "windows of the result", result.shape()[0], windows)
        expect_equal(NAME, "the length of positional_embedding", positional_embedding.shape()[0], length)
        expect_equal(NAME, "the width of positional_embedding", positional_embedding.shape()[1], width)
        var sizes = (Layer.size(width, KERNEL * n_mels), Layer.size(width, KERNEL * width))
        expect_equal(NAME, "the parameters' bytes", parameters.shape()[0], sizes[0] + sizes[1])

        var bytes = row_of(parameters)
        var conv1 = Layer.of(bytes.columns_from(0, sizes[0]), width, KERNEL * n_mels)
        var conv2 = Layer.of(bytes.columns_from(sizes[0], sizes[1]), width, KERNEL * width)
        var source, values, positions = view_of(log_mel), view_of(result), view_of(positional_embedding)
        var n_threads = parallelism_level(None)
        var panel_bytes = max(conv1.a_panel_bytes(), conv2.a_panel_bytes())
        var for_each = windows * ceildiv(length, BLOCK) // n_threads
        var most = min(MOST_ROWS // BLOCK, MOST_TILE_BYTES // (2 * panel_bytes))
        var together = max(1, min(most, for_each)) * BLOCK  # rows of a task

        @always_inline
        def take(mut arena: Arena) {imm} -> Tuple[Frames[weight], Frames[weight], Bytes, View[DType.float32]]:
            return (
                Frames[weight].take(arena, windows, frames, n_mels),
                Frames[weight].take(arena, windows, frames, width),
                arena.take[DType.uint8](n_threads * together // PANEL, panel_bytes),
                arena.take[DType.float32](n_threads * 2, BLOCK * BLOCK),
            )

        var measured = Arena.measure()
        _ = take(measured)
        var arena = Arena.allocate(measured.used)
        var memory = take(arena)
        var mels, hidden = memory[0], memory[1]
        var all_a, all_accumulators = memory[2], memory[3]
        mels.clear_edges()
        hidden.clear_edges()
        var strips = ceildiv(frames, STRIP)

        @always_inline
        def convolve[is_last: Bool](item: Int, thread: Int) {imm}:
            var linear = conv2 if is_last else conv1
            var rows_in_all = length if is_last else frames
            var parts = ceildiv(rows_in_all, together)
            var window, first = item // parts, item % parts * together
            var rows = min(together, rows_in_all - first)
            var panels = together // PANEL
            var a = all_a.rows_from(thread * panels, panels).reshaped(panels, linear.a_panel_bytes())
            comptime if is_last:
                hidden.pack[isa, 2](window, first, rows, linear, a)
            else:
                mels.pack[isa, 1](window, first, rows, linear, a)
            var accumulators = all_accumulators.rows_from(2 * thread, 2)
            var blocks = LinearBlocks.of(rows, linear, a, View[DType.float32].at(64, rows, 2), accumulators)
            blocks.multiply(0)
            for number in range(blocks.count()):
                var column, count, row = blocks.column(number), blocks.rows_of(number), first + blocks.row(number)
                var frames_here = View[_between[weight]()].empty()
                var result_here = View[DType.float32].empty()
                var positions_here = View[DType.float32].empty()
                comptime if is_last:
                    result_here = values.part(window * length + row, column, count, BLOCK)
                    positions_here = positions.part(row, column, count, BLOCK)
                else:
                    frames_here = hidden.inner(window).part(row, column, count, BLOCK)
                var epilogue = ConvolutionEpilogue[isa, weight, is_last](
                    linear.parameters(column), blocks.block(number), frames_here, result_here, positions_here
                )
                blocks.multiply_beside(number + 1, epilogue, count)

        def convolve_all(mut team: Team) {imm}:
            var thread = team.thread

            def transpose_strip(item: Int) {imm}:
                var window, first = item // strips, item % strips * STRIP
                var log_mel_here = source.rows_from(window * n_mels, n_mels)
                _transpose[isa, weight](log_mel_here, first, min(frames, first + STRIP), mels.inner(window))

            def first_convolution(item: Int) {imm}:
                convolve[False](item, thread)

            def second_convolution(item: Int) {imm}:
                convolve[True](item, thread)

            team.share(windows * strips, transpose_strip)
            team.share(windows * ceildiv(frames, together), first_convolution)
            team.share(windows * ceildiv(length, together), second_convolution)

        in_product_team[isa](n_threads, 3, convolve_all)
        arena.free()
