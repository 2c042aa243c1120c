"""One block of the encoder for some rows of a window: x + attention(ln(x)), then x + fc2(gelu(fc1(ln(x)))).

Three steps, between which all rows of a window must have come so far: queries, keys and values (`project`), attention
(`attend_rows`), and everything that needs no other row (`finish`). A task takes up to 128 rows through a step, so that
their values stay in its core's cache and each weight that is read serves all of them. Called by encoder.mojo.
"""

from std.math import ceildiv

from ..attention.packing import HEAD, KeysValues, block_bytes, kind_of, pack_key, pack_query, pack_values, panel_bytes
from ..attention.window import WindowScratch, attend_window, pack_window_key, query_steps
from ..instructions.elementwise import LOWEST_GELU, Floats, larger, to_bfloat16
from ..instructions.isa import Isa
from ..matmul.epilogue import Epilogue, apply_rows
from ..matmul.linear import ColumnParameters, Linear, ResultEpilogue, gelu_of_results
from ..matmul.linear_blocks import MOST_ROWS, LinearBlocks
from ..matmul.pack_rows import layer_norm, pack_row, quantize_row, store_floats
from ..matmul.tiles import BLOCK, PANEL, ROW_BYTES, a_tile_bytes, is_float, k_tiles_of, panel_of, row_of_panel, tile_k
from ..memory.arena import Arena
from ..memory.views import Bytes, View
from .block_parameters import EncoderBlock

comptime HALF = 16  # columns of half a row of a block of results


@always_inline
def parts_of_mlp[weight: DType]() -> Int:
    """Parts that the MLP's hidden values are made and used in.

    Those of float32, three times as large, would not all stay in the core's cache. 8-bit integers must have all at
    once, because a row's scale is that of all of its values.
    """
    return 4 if is_float[weight]() else 1


@fieldwise_init
struct EncoderScratch[isa: Isa, weight: DType](ImplicitlyCopyable):
    """A task's own memory for up to 128 rows."""

    comptime kind = kind_of[Self.weight]()
    comptime PANELS = MOST_ROWS // PANEL

    var row: View[DType.float32]  # [1, width]
    var quantization: View[DType.float32]  # [128, 2], scale and minimum of each row
    var maxima: View[DType.float32]  # [128, 16], whose largest is a row's largest hidden value of the MLP
    var a: Bytes  # A [8, panel] of k = width
    var hidden: View[DType.uint16]  # for int8, the MLP's hidden values, bfloat16 [128, 4 * width]
    var hidden_a: Bytes  # A [8, panel] of k = 4 * width / `parts_of_mlp`
    var attention: WindowScratch[Self.isa, Self.kind]

    @staticmethod
    def take(mut arena: Arena, width: Int) -> Self:
        comptime tile_bytes = a_tile_bytes[Self.isa, Self.weight]()
        var hidden_k = 4 * width // parts_of_mlp[Self.weight]()
        return Self(
            arena.take[DType.float32](1, width),
            arena.take[DType.float32](MOST_ROWS, 2),
            arena.take[DType.float32](MOST_ROWS, 16),
            arena.take[DType.uint8](Self.PANELS, k_tiles_of[Self.isa, Self.weight](width) * tile_bytes),
            arena.take[DType.uint16](MOST_ROWS if Self.weight == DType.int8 else 0, 4 * width),
            arena.take[DType.uint8](Self.PANELS, k_tiles_of[Self.isa, Self.weight](hidden_k) * tile_bytes),
            WindowScratch[Self.isa, Self.kind].take(arena),
        )

    @staticmethod
    def size(width: Int) -> Int:
        var arena = Arena.measure()
        _ = Self.take(arena, width)
        return arena.used

    @always_inline
    def accumulators(self) -> View[DType.float32]:
        """Two blocks of accumulators, in memory that attention does not use at the same time."""
        return self.attention.scores


@fieldwise_init
struct Rows[isa: Isa, kind: DType](ImplicitlyCopyable):
    """Some rows of one window, with its queries, keys and values: [heads, blocks of positions * block_bytes]."""

    var x: View[DType.float32]  # [length, width], of the window
    var queries: Bytes
    var keys: Bytes
    var values: Bytes
    var first: Int  # a multiple of 32
    var count: Int

    @always_inline
    def width(self) -> Int:
        return self.x.columns

    @always_inline
    def heads(self) -> Int:
        return self.queries.rows

    @always_inline
    def queries_of(self, head: Int, block: Int) -> Bytes:
        """The queries of a block of positions, A [2, panel_bytes]; after attention its results."""
        comptime size = block_bytes[Self.isa, Self.kind]()
        return self.queries.part(head, block * size, 1, size).reshaped(2, panel_bytes[Self.isa, Self.kind]())

    @always_inline
    def results_of(self, head: Int, block: Int) -> View[Self.kind]:
        """What attention has left in the queries' place: [32, 64]."""
        return self.queries_of(head, block).bits[Self.kind]().reshaped(BLOCK, HEAD)

    @always_inline
    def keys_values(self, head: Int) -> KeysValues[Self.isa, Self.kind]:
        return KeysValues[Self.isa, Self.kind].of(self.keys.row(head), self.values.row(head), self.x.rows)


@always_inline
def _pack_normalized[
    isa: Isa, weight: DType, //
](rows: Rows[isa, kind_of[weight]()], norm: View[DType.float32], scratch: EncoderScratch[isa, weight]):
    """The rows, normalized, as A."""
    for row in range(rows.count):
        layer_norm(rows.x.row(rows.first + row), norm, scratch.row)
        scratch.quantization.store(row, 0, pack_row[isa, weight](scratch.row, scratch.a, row))


@fieldwise_init
struct QueryEpilogue[isa: Isa, weight: DType](Epilogue):
    """Packs results of a linear layer as one half of a head's width of queries."""

    comptime kind = kind_of[Self.weight]()

    var results: ResultEpilogue[Self.weight]
    var half: Int
    var queries: Bytes

    comptime ROWS = 1

    @always_inline
    def apply[count: Int](self, row: Int):
        self.results.apply[count](row)
        comptime for i in range(count):
            var query = self.results.block.row(row + i)
            pack_query[Self.isa, Self.kind, query_steps[Self.kind]()](query, row + i, self.half, self.queries)


@fieldwise_init
struct KeyEpilogue[isa: Isa, weight: DType, *, for_window: Bool](Epilogue):
    """Packs results of a linear layer as one half of a head's width of keys, for attention to a window or of tokens."""

    comptime kind = kind_of[Self.weight]()

    var results: ResultEpilogue[Self.weight]
    var half: Int
    var position: Int  # of the first row
    var target: KeysValues[Self.isa, Self.kind]

    comptime ROWS = 1

    @always_inline
    def apply[count: Int](self, row: Int):
        self.results.apply[count](row)
        comptime for i in range(count):
            var key, position = self.results.block.row(row + i), self.position + row + i
            comptime if Self.for_window:
                pack_window_key(key, self.half, position, self.target)
            else:
                pack_key(key, self.half, position, self.target)


def project[
    isa: Isa, weight: DType, //
](rows: Rows[isa, kind_of[weight]()], block: EncoderBlock[isa, weight], scratch: EncoderScratch[isa, weight]):
    """The rows' queries, keys and values."""
    _pack_normalized(rows, block.attn_ln, scratch)
    var width = rows.width()
    var linear = block.query_key_value
    var blocks = LinearBlocks.of(rows.count, linear, scratch.a, scratch.quantization, scratch.accumulators())
    blocks.multiply(0)
    for number in range(blocks.count()):
        var column, count = blocks.column(number), blocks.rows_of(number)
        var head, half = column % width // HEAD, column % HEAD // BLOCK
        var position = rows.first + blocks.row(number)
        var results = ResultEpilogue(linear.parameters(column), blocks.block(number), blocks.quantization_of(number))
        if column < width:
            var pack = QueryEpilogue[isa](results^, half, rows.queries_of(head, position // BLOCK))
            blocks.multiply_beside(number + 1, pack, count)
        elif column < 2 * width:
            var pack = KeyEpilogue[isa, for_window=True](results^, half, position, rows.keys_values(head))
            blocks.multiply_beside(number + 1, pack, count)
        else:
            blocks.multiply_beside(number + 1, results, count)
            blocks.block(number).rows_from(count, BLOCK - count).fill(0)
            pack_values(blocks.block(number), half, position // BLOCK, rows.keys_values(head))


def attend_rows[
    isa: Isa, weight: DType, //
](rows: Rows[isa, kind_of[weight]()], head: Int, scratch: EncoderScratch[isa, weight]):
    """Attention of one head for up to 32 rows; its results take the place of their queries."""
    var block = rows.first // BLOCK
    attend_window(
        rows.count,
        rows.queries_of(head, block),
        rows.keys_values(head),
        scratch.attention,
        rows.results_of(head, block),
    )


def finish[
    isa: Isa, weight: DType, //
](rows: Rows[isa, kind_of[weight]()], block: EncoderBlock[isa, weight], scratch: EncoderScratch[isa, weight]):
    """What follows on attention, in place: its output projection and the MLP."""
    for row in range(rows.count):
        var position = rows.first + row
        for head in range(rows.heads()):
            var results = rows.results_of(head, position // BLOCK)
            comptime for i in range(0, HEAD, 16):
                var values = results.load[16](position % BLOCK, i).cast[DType.float32]()
                scratch.row.store(0, head * HEAD + i, values)
        scratch.quantization.store(row, 0, pack_row[isa, weight](scratch.row, scratch.a, row))
    var accumulators = scratch.accumulators()
    _add(rows, LinearBlocks.of(rows.count, block.out, scratch.a, scratch.quantization, accumulators))
    _pack_normalized(rows, block.mlp_ln, scratch)
    comptime parts = parts_of_mlp[weight]()
    var k_tiles = block.fc2.k_tiles() // parts
    for part in range(parts):
        _fc1(rows, block.fc1, part, scratch)
        _add(
            rows,
            LinearBlocks(
                rows.count, block.fc2, scratch.hidden_a, scratch.quantization, accumulators, part * k_tiles, k_tiles
            ),
        )


@fieldwise_init
struct AddEpilogue[weight: DType](Epilogue):
    """Adds results of a linear layer to rows: the residual connection."""

    var parameters: ColumnParameters[Self.weight]
    var block: View[DType.float32]
    var quantization: View[DType.float32]
    var target: View[DType.float32]  # [rows, 32]

    comptime ROWS = 1

    @always_inline
    def apply[count: Int](self, row: Int):
        comptime for i in range(count):
            comptime for half in range(2):
                var added = self.parameters.result[half](self.block, self.quantization, row + i)
                self.target.store(row + i, half * HALF, self.target.load[16](row + i, half * HALF) + added)


def _add[
    isa: Isa, weight: DType, //
](rows: Rows[isa, kind_of[weight]()], blocks: LinearBlocks[isa, weight]):
    """Add a linear layer's results to the rows; its bias with the first part of k."""
    blocks.multiply(0)
    for number in range(blocks.count()):
        var column, count = blocks.column(number), blocks.rows_of(number)
        var target = rows.x.part(rows.first + blocks.row(number), column, count, BLOCK)
        var parameters = blocks.linear.parameters(column)
        if blocks.first_k_tile:
            parameters.bias = Array[Floats, 2](fill=Floats(0))
        var add = AddEpilogue(parameters^, blocks.block(number), blocks.quantization_of(number), target)
        blocks.multiply_beside(number + 1, add, count)


@fieldwise_init
struct GeluEpilogue[isa: Isa, weight: DType](Epilogue):
    """GELU of results of fc1: for int8 as bfloat16 [rows, 4 * width], otherwise as A for fc2."""

    var parameters: ColumnParameters[Self.weight]
    var block: View[DType.float32]
    var quantization: View[DType.float32]
    var first: Int  # the block's first row
    var column: Int  # of the part of the MLP
    var scratch: EncoderScratch[Self.isa, Self.weight]

    comptime ROWS = 2

    @always_inline
    def apply[count: Int](self, row: Int):
        comptime k = tile_k[Self.isa, Self.weight]()
        comptime tile_bytes = a_tile_bytes[Self.isa, Self.weight]()
        var values = gelu_of_results[count](self.parameters, self.block, self.quantization, row)
        comptime for i in range(count):
            var number = self.first + row + i
            var one = values.slice[16, offset=i * 32]()
            var other = values.slice[16, offset=i * 32 + 16]()
            comptime if Self.weight == DType.int8:
                var maxima = self.scratch.maxima
                maxima.store(number, 0, larger(maxima.load[16](number, 0), larger(one, other)))
                self.scratch.hidden.store(number, self.column, to_bfloat16[Self.isa](one))
                self.scratch.hidden.store(number, self.column + HALF, to_bfloat16[Self.isa](other))
            else:
                var panel = panel_of(number)
                var byte = self.column // k * tile_bytes + row_of_panel(number) * ROW_BYTES
                var a = self.scratch.hidden_a
                comptime if is_float[Self.weight]():
                    comptime next = HALF // k * tile_bytes  # with 32 values in a tile it is the same one
                    store_floats[Self.isa](one, a, panel, byte, 0)
                    store_floats[Self.isa](other, a, panel, byte + next, 1)
                else:
                    a.store_as(panel, byte, to_bfloat16[Self.isa](one))
                    a.store_as(panel, byte + 32, to_bfloat16[Self.isa](other))


def _fc1[
    isa: Isa, weight: DType, //
](
    rows: Rows[isa, kind_of[weight]()],
    linear: Linear[isa, weight],
    part: Int,
    scratch: EncoderScratch[isa, weight],
):
    """One of `parts_of_mlp` of the MLP's first half: the GELU of a linear layer, as A for the second half."""
    var hidden = linear.out_features() // parts_of_mlp[weight]()
    comptime if weight == DType.int8:
        for row in range(rows.count):
            scratch.maxima.store(row, 0, Floats(LOWEST_GELU))
    var blocks = LinearBlocks.of(rows.count, linear, scratch.a, scratch.quantization, scratch.accumulators())
    var count = blocks.count() // parts_of_mlp[weight]()
    var begin = count * part
    blocks.multiply(begin)
    for number in range(begin, begin + count):
        var column = blocks.column(number)
        var gelu = GeluEpilogue[isa](
            linear.parameters(column),
            blocks.block(number),
            blocks.quantization_of(number),
            blocks.row(number),
            column % hidden,
            scratch,
        )
        if number + 1 < begin + count:
            blocks.multiply_beside(number + 1, gelu, blocks.rows_of(number))
        else:
            apply_rows(gelu, 0, blocks.rows_of(number))
    comptime if weight == DType.int8:
        # A row's scale is known when all of its columns are. GELU's lowest value is, always.
        for row in range(rows.count):
            var largest = scratch.maxima.load[16](row, 0).reduce_max()
            var values = scratch.hidden.row(row).bits[DType.bfloat16]()
            var quantization = quantize_row[isa](values, LOWEST_GELU, largest, scratch.hidden_a, row)
            scratch.quantization.store(row, 0, quantization)
