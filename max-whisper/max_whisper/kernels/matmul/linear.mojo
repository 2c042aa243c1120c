"""Linear layers: y = x * weight^T + bias, 32 x 32 results at a time. Called by operations/.

Of x of 8 bits, x = minimum + scale * q for each row, and weights of int8, w = column_scale * i for each column, a
result is scale * column_scale * (sum of q * i) + minimum * (sum of w) + bias, where the first sum is of integers.
"""

from ..instructions.elementwise import Floats, gelu, gelu_float32
from ..instructions.isa import Isa
from ..memory.views import Bytes, View
from .epilogue import Epilogue, NoEpilogue, apply_rows
from .gemm import gemm
from .tiles import BLOCK, PANEL, ROW_BYTES, TILE_BYTES, a_tile_bytes, b_tile_bytes, is_float, k_tiles_of, tile_k


@fieldwise_init
struct ColumnParameters[weight: DType](Copyable):
    """What makes results of the accumulators of 32 columns, in two halves."""

    var bias: Array[Floats, 2]
    var scales: Array[Floats, 2]  # for int8, what the columns' weights are to be times
    var weight_sums: Array[Floats, 2]  # for int8, of the columns' weights

    @always_inline
    def result[half: Int](self, block: View[DType.float32], quantization: View[DType.float32], row: Int) -> Floats:
        """Half a row's results. block: accumulators [32, 32]. quantization: of int8, scale and minimum [rows, 2]."""
        comptime if Self.weight == DType.int8:
            var accumulators = block.bits[DType.int32]().load[16](row, half * 16).cast[DType.float32]()
            var scale = quantization.load(row, 0)
            var minimum = Floats(quantization.load(row, 1))
            return accumulators.fma(self.scales[half] * scale, minimum.fma(self.weight_sums[half], self.bias[half]))
        else:
            return block.load[16](row, half * 16) + self.bias[half]


@always_inline
def gelu_of_results[
    weight: DType, //, count: Int
](
    parameters: ColumnParameters[weight], block: View[DType.float32], quantization: View[DType.float32], row: Int
) -> SIMD[DType.float32, 32 * count]:
    """The GELU of `count` rows of 32 results."""
    var values = SIMD[DType.float32, 32 * count](0)
    comptime for i in range(2 * count):
        values = values.insert[offset=i * 16](parameters.result[i % 2](block, quantization, row + i // 2))
    return gelu_float32(values) if is_float[weight]() else gelu(values)


@fieldwise_init
struct ResultEpilogue[weight: DType](Copyable, Epilogue):
    """Makes results of accumulators, in their place."""

    var parameters: ColumnParameters[Self.weight]
    var block: View[DType.float32]  # [32, 32]
    var quantization: View[DType.float32]  # [rows, 2]

    comptime ROWS = 1

    @always_inline
    def apply[count: Int](self, row: Int):
        comptime for i in range(count):
            comptime for half in range(2):
                var values = self.parameters.result[half](self.block, self.quantization, row + i)
                self.block.store(row + i, half * 16, values)


@fieldwise_init
struct Linear[isa: Isa, weight: DType](ImplicitlyCopyable):
    """A linear layer's parameters, one block of bytes as `pack_linear` (graphs/packing.py) writes them.

    bias float32 [out_features]; for int8 the columns' scales and the sums of their weights, float32 [out_features]
    each; then panels of B, whose k is in_features.
    """

    comptime VECTORS = 3 if Self.weight == DType.int8 else 1

    var vectors: View[DType.float32]  # [VECTORS, out_features]
    var panels: Bytes  # [out_features / 16, bytes of a panel]
    var in_features: Int

    @staticmethod
    def size(out_features: Int, in_features: Int) -> Int:
        """Bytes of a layer; out_features, a multiple of 32."""
        return out_features * 4 * Self.VECTORS + out_features // PANEL * Self._panel_bytes(in_features)

    @staticmethod
    def of(parameters: Bytes, out_features: Int, in_features: Int) -> Self:
        """The layer in a row of `size` bytes."""
        debug_assert(
            parameters.rows == 1 and parameters.columns == Self.size(out_features, in_features),
            "a linear layer of ",
            parameters.columns,
            " bytes",
        )
        var vector_bytes = out_features * 4 * Self.VECTORS
        var vectors = parameters.columns_from(0, vector_bytes).bits[DType.float32]()
        var panels = parameters.columns_from(vector_bytes, parameters.columns - vector_bytes)
        return Self(
            vectors.reshaped(Self.VECTORS, out_features),
            panels.reshaped(out_features // PANEL, Self._panel_bytes(in_features)),
            in_features,
        )

    @staticmethod
    def _panel_bytes(in_features: Int) -> Int:
        return k_tiles_of[Self.isa, Self.weight](in_features) * b_tile_bytes[Self.isa, Self.weight]()

    @always_inline
    def out_features(self) -> Int:
        return self.vectors.columns

    @always_inline
    def k_tiles(self) -> Int:
        return k_tiles_of[Self.isa, Self.weight](self.in_features)

    @always_inline
    def a_panel_bytes(self) -> Int:
        """Bytes of 16 rows of x, packed."""
        return self.k_tiles() * a_tile_bytes[Self.isa, Self.weight]()

    @always_inline
    def results(
        self, rows: Int, a: Bytes, quantization: View[DType.float32], column: Int, block: View[DType.float32]
    ):
        """Results of up to 32 rows, two panels of A, and 32 columns from `column` on: float32 [32, 32].

        quantization: float32 [rows, 2], what `pack_row` returned for each row.
        """
        var none = NoEpilogue()
        self.multiply(rows, a, column, 0, self.k_tiles(), block, none, 0)
        apply_rows(ResultEpilogue(self.parameters(column), block, quantization), 0, rows)

    @always_inline
    def multiply[
        E: Epilogue, //
    ](
        self,
        rows: Int,
        a: Bytes,
        column: Int,
        first_k_tile: Int,
        k_tiles: Int,
        block: View[DType.float32],
        epilogue: E,
        epilogue_rows: Int,
    ):
        """Accumulators of up to 32 rows and 32 columns from `column` on, beside the epilogue of another block.

        Of k it takes some of the tiles, which `a`, two panels, has alone.
        """
        comptime tile_bytes = b_tile_bytes[Self.isa, Self.weight]()
        var b = self.panels.part(column // PANEL, first_k_tile * tile_bytes, 2, k_tiles * tile_bytes)
        gemm[Self.isa, Self.weight](rows, a, b, k_tiles, block, epilogue, epilogue_rows)

    @always_inline
    def parameters(self, column: Int) -> ColumnParameters[Self.weight]:
        """Those of the 32 columns from `column` on."""
        var bias = Array[Floats, 2](fill=Floats(0))
        var scales = Array[Floats, 2](fill=Floats(1))
        var weight_sums = Array[Floats, 2](fill=Floats(0))
        comptime for half in range(2):
            bias[half] = self.vectors.load[16](0, column + half * 16)
            comptime if Self.weight == DType.int8:
                scales[half] = self.vectors.load[16](1, column + half * 16)
                weight_sums[half] = self.vectors.load[16](2, column + half * 16)
        return ColumnParameters[Self.weight](bias^, scales^, weight_sums^)

    def weights_of(self, column: Int, result: View[DType.float32]):
        """The weights of a column: float32 [1, in_features], a multiple of 16; not where they are sums of bfloat16."""
        var panel = self.panels.row(column // PANEL)
        comptime if is_float[Self.weight]():
            comptime row_bytes = b_tile_bytes[Self.isa, Self.weight]() // PANEL
            var start = column % PANEL * (row_bytes // PANEL)
            for i in range(self.in_features):
                var weight = panel.load_as[Self.weight, 1](0, i * row_bytes + start)
                result.store(0, i, weight.cast[DType.float32]())
            return
        comptime is_int8 = Self.weight == DType.int8
        comptime together = 4 if is_int8 else 2
        comptime k = tile_k[Self.isa, Self.weight]()
        var scale = Float32(1)
        comptime if is_int8:
            scale = self.vectors.load(1, column)
        for i in range(0, self.in_features, together):
            var byte = i // k * TILE_BYTES + i % k // together * ROW_BYTES + column % PANEL * 4
            var weights = panel.load_as[Self.weight, together](0, byte)
            result.store(0, i, weights.cast[DType.float32]() * scale)
