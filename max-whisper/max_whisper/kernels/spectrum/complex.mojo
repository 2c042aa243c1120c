"""Complex numbers of several frames at once: lane i of each belongs to frame i.

In memory a number is a row of a view float64 [numbers, 2 * LANES]: real parts of all frames, then imaginary ones.
"""

from std.math import cos, pi, sin
from std.sys import simd_width_of

from ..memory.views import View

comptime LANES = simd_width_of[DType.float64]()  # frames that are computed together
comptime Lanes = SIMD[DType.float64, LANES]


@fieldwise_init
struct Complex(ImplicitlyCopyable):
    """A complex number for each lane."""

    var re: Lanes
    var im: Lanes

    @staticmethod
    @always_inline
    def load(numbers: View[DType.float64], number: Int) -> Self:
        return Self(numbers.load[LANES](number, 0), numbers.load[LANES](number, LANES))

    @always_inline
    def store(self, numbers: View[DType.float64], number: Int):
        numbers.store(number, 0, self.re)
        numbers.store(number, LANES, self.im)

    @always_inline
    def __add__(self, other: Self) -> Self:
        return Self(self.re + other.re, self.im + other.im)

    @always_inline
    def __sub__(self, other: Self) -> Self:
        return Self(self.re - other.re, self.im - other.im)

    @always_inline
    def __mul__(self, factor: Float64) -> Self:
        return Self(self.re * factor, self.im * factor)

    @always_inline
    def plus(self, factor: Float64, other: Self) -> Self:
        """This number and a real multiple of another."""
        return Self(other.re.fma(Lanes(factor), self.re), other.im.fma(Lanes(factor), self.im))

    @always_inline
    def quarter_turn(self) -> Self:
        """This number times -i."""
        return Self(self.im, -self.re)

    @always_inline
    def turn[part: Int, whole: Int](self) -> Self:
        """This number times e^(-2 pi i part / whole)."""
        comptime angle = 2 * pi * Float64(part) / Float64(whole)
        comptime cosine = cos(angle)
        comptime sine = sin(angle)
        return Self(self.re.fma(Lanes(cosine), self.im * sine), self.im.fma(Lanes(cosine), self.re * -sine))

    @always_inline
    def conjugate(self) -> Self:
        return Self(self.re, -self.im)

    @always_inline
    def power(self) -> Lanes:
        """The square of its absolute value."""
        return self.re.fma(self.re, self.im * self.im)
