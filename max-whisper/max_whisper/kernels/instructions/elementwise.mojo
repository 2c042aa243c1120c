"""Functions of each of 16 float32: powers of two, exponential, GELU, rounding to bfloat16.

All take and give registers; none reads memory. Polynomials were fitted for the least largest error
over the range that each function states. Called by every level above.
"""

from std.math import round
from std.memory import bitcast
from std.sys import inlined_assembly

from .isa import Isa

comptime Floats = SIMD[DType.float32, 16]


@always_inline
def larger(one: SIMD[DType.float32, _], other: type_of(one)) -> type_of(one):
    """The larger of each pair of numbers; `max` takes three instructions because it also says what NaN gives."""
    return one.gt(other).select(one, other)


@always_inline
def smaller(one: SIMD[DType.float32, _], other: type_of(one)) -> type_of(one):
    """The smaller of each pair of numbers."""
    return one.lt(other).select(one, other)


comptime EXPONENT_STEPS = 256  # steps of 1 that `powers_of_two` rounds exponents to
comptime BFLOAT16_BIAS = 127  # of bfloat16's exponents


@always_inline
def to_bfloat16[isa: Isa](values: Floats) -> SIMD[DType.uint16, 16]:
    """Values rounded to the nearest bfloat16, as their bits."""
    comptime if isa.has_avx512_bf16:
        return inlined_assembly[
            "vcvtneps2bf16 $1, $0", SIMD[DType.uint16, 16], constraints="=v,v", has_side_effect=False
        ](values)
    else:
        return bitcast[DType.uint16, 16](values.cast[DType.bfloat16]())


@always_inline
def powers_of_two[isa: Isa](one: Floats, other: Floats) -> SIMD[DType.uint16, 32]:
    """2 ^ (x / EXPONENT_STEPS - BFLOAT16_BIAS) as the bits of bfloat16: of 4 of `one`, then 4 of `other`, and so on.

    What is below 2^-126 becomes 0, 2^128 and more infinite or not a number. But for a factor that all have alike, the
    error is below 0.7 %, in the root mean square 0.2 %; half of bfloat16's last digit is 0.4 %, in the root mean square
    0.17 %.
    """
    comptime if isa.has_avx512_bf16:
        # Above the point stands the exponent. Of the fraction f below it, by its first 6 bits, the table has
        # EXPONENT_STEPS * (1 + f - 2^f), which taken away from f makes it the significand.
        var table = SIMD[DType.uint8, 64](
            0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 14, 15, 16, 16, 17, 18, 18, 19, 19, 20, 20, 21, 21, 21, 21, 22,
            22, 22, 22, 22, 22, 22, 22, 22, 22, 21, 21, 21, 20, 20, 20, 19, 18, 18, 17, 16, 16, 15, 14, 13, 12, 11, 10, 9,
            8, 7, 5, 4, 2, 1,
        )
        var exponents = pack_words(one, other)
        var excess = inlined_assembly[
            "vpermb $2, $1, $0 {$3} {z}", SIMD[DType.uint16, 32], constraints="=v,v,v,^Yk", has_side_effect=False
        ](exponents >> 2, table, UInt64(0x5555555555555555))
        return (exponents - excess) >> 1
    else:
        var bits = SIMD[DType.uint16, 32](0)
        comptime step = 1 / Float32(EXPONENT_STEPS)
        # At most 2^128, which is infinite: more would wrap around.
        var halves = (
            to_bfloat16[isa](power_of_two(smaller(one * step - BFLOAT16_BIAS, Floats(128)))),
            to_bfloat16[isa](power_of_two(smaller(other * step - BFLOAT16_BIAS, Floats(128)))),
        )
        comptime for i in range(16):
            bits[i // 4 * 8 + i % 4] = halves[0][i]
            bits[i // 4 * 8 + 4 + i % 4] = halves[1][i]
        return bits


@always_inline
def pack_words(one: Floats, other: Floats) -> SIMD[DType.uint16, 32]:
    """The nearest integers from 0 to 65535, of 4 of `one`, then 4 of `other`, and so on, as AVX-512 packs them."""
    return inlined_assembly[
        "vpackusdw $2, $1, $0", SIMD[DType.uint16, 32], constraints="=v,v,v", has_side_effect=False
    ](_rounded(one), _rounded(other))


@always_inline
def pack_bytes[isa: Isa](values: Array[Floats, 4]) -> SIMD[DType.uint8, 64]:
    """Values from 0 to 255, rounded to the nearest integer, of two as near to the even one."""
    comptime if isa.has_avx512_bf16:
        var words = Array[SIMD[DType.uint16, 32], 2](fill=SIMD[DType.uint16, 32](0))
        comptime for i in range(2):
            words[i] = pack_words(values[2 * i], values[2 * i + 1])
        # Each quarter of the bytes has 4 of each of the values.
        var order = SIMD[DType.int32, 16](0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
        return inlined_assembly[
            "vpackuswb $2, $1, $0\nvpermd $0, $3, $0",
            SIMD[DType.uint8, 64],
            constraints="=&v,v,v,v",
            has_side_effect=False,
        ](words[0], words[1], order)
    else:
        var bytes = Array[SIMD[DType.uint8, 16], 4](fill=SIMD[DType.uint8, 16](0))
        comptime for i in range(4):
            bytes[i] = round(values[i]).cast[DType.int32]().cast[DType.uint8]()
        return bytes[0].join(bytes[1]).join(bytes[2].join(bytes[3]))


@always_inline
def _rounded(x: Floats) -> SIMD[DType.int32, 16]:
    """The nearest integers, as AVX-512 finds them."""
    return inlined_assembly[
        "vcvtps2dq $1, $0", SIMD[DType.int32, 16], constraints="=v,v", has_side_effect=False
    ](x)


@always_inline
def power_of_two(exponents: Floats) -> Floats:
    """Powers of two, 2^128 being infinite: relative error below 5e-5; what is below 2^-126 becomes that."""
    var clipped = larger(exponents, Floats(-126))
    var whole = round(clipped)
    var rest = clipped - whole
    var series = rest.fma(Floats(0.009618129107), Floats(0.05550410866))
    series = series.fma(rest, Floats(0.2402265070))
    series = series.fma(rest, Floats(0.6931471806))
    series = series.fma(rest, Floats(1))
    return bitcast[DType.float32, 16](bitcast[DType.int32, 16](series) + (whole.cast[DType.int32]() << 23))


@always_inline
def add_pairs[isa: Isa](accumulators: Floats, values: SIMD[DType.uint16, 32]) -> Floats:
    """Each accumulator plus two values of bfloat16, given as their bits."""
    comptime if isa.has_avx512_bf16:
        return inlined_assembly["vdpbf16ps $3, $2, $0", Floats, constraints="=v,0,v,v", has_side_effect=False](
            accumulators, values, SIMD[DType.uint16, 32](0x3F80)
        )
    else:
        var both = bitcast[DType.uint32, 16](values)
        return accumulators + bitcast[DType.float32, 16](both << 16) + bitcast[DType.float32, 16](both & 0xFFFF0000)


@always_inline
def power_of_two_float32(exponents: Floats) -> Floats:
    """2 to the exponents, which are below 128: relative error below 2e-7; what is below 2^-126 becomes that."""
    var clipped = larger(exponents, Floats(-126))
    var whole = round(clipped)
    var rest = clipped - whole
    var series = Floats(1.5403530393381609954e-4)
    comptime coefficients: Array[Float32, 6] = [
        1.3333558146428443423e-3, 9.6181291076284771619e-3, 5.5504108664821579953e-2,
        2.4022650695910071233e-1, 6.9314718055994530942e-1, 1.0,
    ]
    comptime for i in range(6):
        comptime next = coefficients[i]
        series = series.fma(rest, Floats(next))
    return bitcast[DType.float32, 16](bitcast[DType.int32, 16](series) + (whole.cast[DType.int32]() << 23))


comptime LOWEST_GELU = Float32(-0.17)  # at -0.75, rounded down


@always_inline
def exponential(x: Floats) -> Floats:
    """Powers e^x of x that are at most 0: relative error below 1e-6; what is below e^-87 becomes that."""
    return power_of_two_float32(x * 1.4426950408889634)


@always_inline
def gelu(x: SIMD[DType.float32, _]) -> type_of(x):
    """The Gaussian error linear unit x * P(X <= x) (Hendrycks and Gimpel 2016), the probability wrong by 2e-5 at most.

    The probability less one half is an odd polynomial between -4.3 and 4.3, fitted so that the largest error is least.
    """
    comptime coefficients: Array[Float32, 10] = [
        -1.9565257e-12, 2.1995795e-10, -1.1111306e-08, 3.3617826e-07, -6.8728823e-06,
        1.0178968e-04, -1.1408245e-03, 9.8803453e-03, -6.6396564e-02, 3.9890933e-01,
    ]
    comptime Values = type_of(x)
    var clipped = smaller(larger(x, Values(-4.3)), Values(4.3))
    var square = clipped * clipped
    comptime first = coefficients[0]
    var series = Values(first)
    comptime for i in range(1, 10):
        comptime next = coefficients[i]
        series = series.fma(square, Values(next))
    return x * clipped.fma(series, Values(0.5))


@always_inline
def gelu_float32(x: SIMD[DType.float32, _]) -> type_of(x):
    """As `gelu`, the probability wrong by 2e-7 at most, as PyTorch's is.

    The probability less one half is an odd function that is 0.5 to the precision of float32 from 5.4 on, here a
    quotient of polynomials, fitted so that the largest error is least.
    """
    comptime above: Array[Float32, 7] = [
        1.16104168e-10, -2.22569803e-08, 3.13338660e-06, 1.58955183e-04, 4.43501677e-03, 3.47848237e-02, 3.98942173e-01,
    ]
    comptime below: Array[Float32, 5] = [5.86752358e-05, 1.76357641e-03, 2.84298379e-02, 2.53857583e-01, 1.0]
    comptime Values = type_of(x)
    var clipped = smaller(larger(x, Values(-5.4)), Values(5.4))
    var square = clipped * clipped
    comptime first_above = above[0]
    comptime first_below = below[0]
    var numerator = Values(first_above)
    var denominator = Values(first_below)
    comptime for i in range(1, 7):
        comptime next = above[i]
        numerator = numerator.fma(square, Values(next))
    comptime for i in range(1, 5):
        comptime next = below[i]
        denominator = denominator.fma(square, Values(next))
    return x * (clipped * numerator / denominator + 0.5)
