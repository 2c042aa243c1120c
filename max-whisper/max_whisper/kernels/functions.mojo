"""Functions of 16 float32 at once."""

from std.math import erf, round
from std.memory import bitcast

from .tiles import Floats


@always_inline
def larger(one: Floats, other: Floats) -> Floats:
    """The larger of each pair of numbers; `max` takes three instructions because it also says what NaN gives."""
    return one.gt(other).select(one, other)


@always_inline
def smaller(one: Floats, other: Floats) -> Floats:
    """The smaller of each pair of numbers."""
    return one.lt(other).select(one, other)


@always_inline
def power_of_two(exponents: Floats) -> Floats:
    """2 to the exponents, which are at most 0: relative error below 5e-5; what is below 2^-126 becomes that."""
    var clipped = larger(exponents, Floats(-126))
    var whole = round(clipped)
    var rest = clipped - whole
    var series = rest.fma(Floats(0.009618129107), Floats(0.05550410866))
    series = series.fma(rest, Floats(0.2402265070))
    series = series.fma(rest, Floats(0.6931471806))
    series = series.fma(rest, Floats(1))
    return bitcast[DType.float32, 16](bitcast[DType.int32, 16](series) + (whole.cast[DType.int32]() << 23))


@always_inline
def power_of_two_float32(exponents: Floats) -> Floats:
    """2 to the exponents, which are at most 0: relative error below 2e-7; what is below 2^-126 becomes that."""
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


@always_inline
def exponential(x: Floats) -> Floats:
    """e to the x, which is at most 0: relative error below 1e-6; what is below e^-87 becomes that."""
    return power_of_two_float32(x * 1.4426950408889634)


@always_inline
def gelu(x: Floats) -> Floats:
    """The Gaussian error linear unit x * P(X <= x) (Hendrycks and Gimpel 2016), the probability wrong by 2e-5 at most.

    The probability less one half is an odd polynomial between -4.3 and 4.3, fitted so that the largest error is least.
    """
    comptime coefficients: Array[Float32, 10] = [
        -1.9565257e-12, 2.1995795e-10, -1.1111306e-08, 3.3617826e-07, -6.8728823e-06,
        1.0178968e-04, -1.1408245e-03, 9.8803453e-03, -6.6396564e-02, 3.9890933e-01,
    ]
    var clipped = smaller(larger(x, Floats(-4.3)), Floats(4.3))
    var square = clipped * clipped
    comptime first = coefficients[0]
    var series = Floats(first)
    comptime for i in range(1, 10):
        comptime next = coefficients[i]
        series = series.fma(square, Floats(next))
    return x * clipped.fma(series, Floats(0.5))


@always_inline
def gelu_float32(x: Floats) -> Floats:
    """The Gaussian error linear unit to the precision of float32."""
    return x * Floats(0.5) * (1 + erf(x * Floats(0.7071067811865476)))
