"""A float32 as the sum of three bfloat16, for products of float32 by instructions that multiply bfloat16 only.

Each part is what is left of the value, rounded. With 8 significant bits each they hold all 24. Of the nine products of
the parts of two values the six largest are added up in float32; the others are below 2^-24 of the whole, what rounding
a float32 product may lose too (Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype
For Higher-Precision Computations"). A float16, with 11 significant bits, is the sum of two. Called where operands are
packed: pack_rows.mojo, attention/packing.mojo.
"""

from std.memory import bitcast

from ..instructions.elementwise import Floats, to_bfloat16
from ..instructions.isa import Isa


@always_inline
def split[isa: Isa](values: Floats) -> Array[SIMD[DType.uint16, 16], 3]:
    """Three bfloat16, as their bits, whose sum is the value."""
    var parts = Array[SIMD[DType.uint16, 16], 3](fill=SIMD[DType.uint16, 16](0))
    var rest = values
    comptime for part in range(3):
        parts[part] = to_bfloat16[isa](rest)
        rest -= bitcast[DType.float32, 16](parts[part].cast[DType.uint32]() << 16)
    return parts^
