"""The parameters of a block of the encoder or decoder as views of one row of bytes.

The parts, their order and their sizes are defined in graphs/packing.py (`encoder_block`, `decoder_block`). A graph
gives an operation their names, which are compared when the graph is compiled, and their offsets, which lie in the
packed file and are compared with the sizes that the kernels read when the operation is called.
"""

from ..instructions.isa import Isa
from ..matmul.linear import Linear
from ..memory.views import Bytes, View


@always_inline
def norm_at(parameters: Bytes, offset: Int, width: Int) -> View[DType.float32]:
    """A layer normalization in a row of bytes: gamma and beta, float32 [2, width]."""
    return parameters.columns_from(offset, 8 * width).bits[DType.float32]().reshaped(2, width)


@fieldwise_init
struct EncoderBlock[isa: Isa, weight: DType](ImplicitlyCopyable):
    """A block of the encoder."""

    comptime NAMES = "attn_ln attn.query_key_value attn.out mlp_ln mlp.fc1 mlp.fc2"
    comptime Layer = Linear[Self.isa, Self.weight]

    var attn_ln: View[DType.float32]
    var query_key_value: Self.Layer
    var out: Self.Layer
    var mlp_ln: View[DType.float32]
    var fc1: Self.Layer
    var fc2: Self.Layer

    @staticmethod
    def sizes(width: Int) -> List[Int]:
        """The bytes of each part."""
        return [
            8 * width,
            Self.Layer.size(3 * width, width),
            Self.Layer.size(width, width),
            8 * width,
            Self.Layer.size(4 * width, width),
            Self.Layer.size(width, 4 * width),
        ]

    @staticmethod
    def of(parameters: Bytes, offsets: View[DType.int64], width: Int) -> Self:
        """The block in a row of bytes."""
        return Self(
            norm_at(parameters, Int(offsets[0]), width),
            _linear_at[Self.isa, Self.weight](parameters, offsets, 1, 3 * width, width),
            _linear_at[Self.isa, Self.weight](parameters, offsets, 2, width, width),
            norm_at(parameters, Int(offsets[3]), width),
            _linear_at[Self.isa, Self.weight](parameters, offsets, 4, 4 * width, width),
            _linear_at[Self.isa, Self.weight](parameters, offsets, 5, width, 4 * width),
        )


@fieldwise_init
struct DecoderBlock[isa: Isa, weight: DType](ImplicitlyCopyable):
    """A block of the decoder; cross-attention's keys and values are made by cross_keys_values."""

    comptime NAMES = (
        "attn_ln attn.query_key_value attn.out cross_attn_ln cross_attn.query cross_attn.out mlp_ln mlp.fc1 mlp.fc2"
    )
    comptime Layer = Linear[Self.isa, Self.weight]

    var attn_ln: View[DType.float32]
    var query_key_value: Self.Layer
    var out: Self.Layer
    var cross_attn_ln: View[DType.float32]
    var cross_query: Self.Layer
    var cross_out: Self.Layer
    var mlp_ln: View[DType.float32]
    var fc1: Self.Layer
    var fc2: Self.Layer

    @staticmethod
    def sizes(width: Int) -> List[Int]:
        """The bytes of each part."""
        var square = Self.Layer.size(width, width)
        return [
            8 * width,
            Self.Layer.size(3 * width, width),
            square,
            8 * width,
            square,
            square,
            8 * width,
            Self.Layer.size(4 * width, width),
            Self.Layer.size(width, 4 * width),
        ]

    @staticmethod
    def of(parameters: Bytes, offsets: View[DType.int64], width: Int) -> Self:
        """The block in a row of bytes."""
        return Self(
            norm_at(parameters, Int(offsets[0]), width),
            _linear_at[Self.isa, Self.weight](parameters, offsets, 1, 3 * width, width),
            _linear_at[Self.isa, Self.weight](parameters, offsets, 2, width, width),
            norm_at(parameters, Int(offsets[3]), width),
            _linear_at[Self.isa, Self.weight](parameters, offsets, 4, width, width),
            _linear_at[Self.isa, Self.weight](parameters, offsets, 5, width, width),
            norm_at(parameters, Int(offsets[6]), width),
            _linear_at[Self.isa, Self.weight](parameters, offsets, 7, 4 * width, width),
            _linear_at[Self.isa, Self.weight](parameters, offsets, 8, width, 4 * width),
        )


@always_inline
def _linear_at[
    isa: Isa, weight: DType
](
    parameters: Bytes, offsets: View[DType.int64], part: Int, out_features: Int, in_features: Int
) -> Linear[isa, weight]:
    """The linear layer that is a part of a row of bytes."""
    var start, end = Int(offsets[part]), Int(offsets[part + 1])
    return Linear[isa, weight].of(parameters.columns_from(start, end - start), out_features, in_features)
