"""The power spectrum of frames of 400 samples, in float64.

400 is 16 * 25, which have no factor in common. So the transform is transforms of 16 and then of 25 with no factors between
them (Good 1958, Thomas 1963): with n = (25 i + 16 j) mod 400,
X[k] = sum over j of e^(-2 pi i jk / 25) times the sum over i of e^(-2 pi i ik / 16) x[n].

A vector holds the same sample of several frames, each in a lane of its own: a frame's values do not depend on its place.
"""

from std.math import cos, min, pi, sin
from std.sys import simd_width_of

from .tiles import load, store

comptime WINDOW = 400  # samples of a frame
comptime HOP = 160  # samples from one frame to the next
comptime BINS = WINDOW // 2 + 1
comptime LANES = simd_width_of[DType.float64]()  # frames that are transformed together
comptime Lanes = SIMD[DType.float64, LANES]
comptime LANES_SIZE = LANES * 8  # bytes
comptime NUMBER_SIZE = 2 * LANES_SIZE  # bytes of a Complex


@fieldwise_init
struct Complex(ImplicitlyCopyable):
    """A complex number for each lane."""

    var re: Lanes
    var im: Lanes

    @staticmethod
    @always_inline
    def at(address: Int) -> Self:
        return Self(load[DType.float64, LANES](address), load[DType.float64, LANES](address + LANES_SIZE))

    @always_inline
    def keep(self, address: Int):
        store[DType.float64, LANES](address, self.re)
        store[DType.float64, LANES](address + LANES_SIZE, self.im)

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
        return self.re.fma(self.re, self.im * self.im)


@always_inline
def _transform_5(x: Array[Complex, 5]) -> Array[Complex, 5]:
    comptime cosine1 = cos(2 * pi / 5)
    comptime cosine2 = cos(4 * pi / 5)
    comptime sine1 = sin(2 * pi / 5)
    comptime sine2 = sin(4 * pi / 5)
    var sum1 = x[1] + x[4]
    var sum2 = x[2] + x[3]
    var difference1 = x[1] - x[4]
    var difference2 = x[2] - x[3]
    var even1 = x[0].plus(cosine1, sum1).plus(cosine2, sum2)
    var even2 = x[0].plus(cosine2, sum1).plus(cosine1, sum2)
    var odd1 = (difference1 * sine1).plus(sine2, difference2).quarter_turn()
    var odd2 = (difference1 * sine2).plus(-sine1, difference2).quarter_turn()
    return [x[0] + sum1 + sum2, even1 + odd1, even2 + odd2, even2 - odd2, even1 - odd1]


@always_inline
def _transform_25(source: Int, target: Int):
    """Complex [25] to complex [25]."""
    var columns = Array[Complex, 25](fill=Complex(0, 0))
    comptime for j in range(5):
        var x = Array[Complex, 5](fill=Complex(0, 0))
        comptime for i in range(5):
            x[i] = Complex.at(source + (5 * i + j) * NUMBER_SIZE)
        var column = _transform_5(x)
        comptime for i in range(5):
            columns[5 * i + j] = column[i].turn[i * j, 25]() if i * j > 0 else column[i]
    comptime for i in range(5):
        var x = Array[Complex, 5](fill=Complex(0, 0))
        comptime for j in range(5):
            x[j] = columns[5 * i + j]
        var row = _transform_5(x)
        comptime for j in range(5):
            row[j].keep(target + (i + 5 * j) * NUMBER_SIZE)


@always_inline
def _transform_16(x: Array[Lanes, 16]) -> Array[Complex, 9]:
    """Real numbers to the first 9 of their transform; the other 7 are conjugates of these."""
    # The transforms of x[i], x[i + 4], x[i + 8] and x[i + 12]; of each the first and the third are real.
    var first = Array[Lanes, 4](fill=0)
    var second = Array[Complex, 4](fill=Complex(0, 0))
    var third = Array[Lanes, 4](fill=0)
    comptime for i in range(4):
        var even = x[i] + x[i + 8]
        var odd = x[i + 4] + x[i + 12]
        first[i] = even + odd
        third[i] = even - odd
        var difference = Complex(x[i] - x[i + 8], x[i + 12] - x[i + 4])
        second[i] = difference.turn[i, 16]() if i > 0 else difference
    var first02 = first[0] + first[2]
    var first13 = first[1] + first[3]
    var sum02 = second[0] + second[2]
    var sum13 = second[1] + second[3]
    var difference02 = second[0] - second[2]
    var difference13 = (second[1] - second[3]).quarter_turn()
    comptime diagonal = cos(pi / 4)
    var third_re = (third[1] - third[3]) * diagonal
    var third_im = (third[1] + third[3]) * diagonal
    return [
        Complex(first02 + first13, 0),
        sum02 + sum13,
        Complex(third[0] + third_re, -third[2] - third_im),
        (difference02 - difference13).conjugate(),
        Complex(first[0] - first[2], first[3] - first[1]),
        difference02 + difference13,
        Complex(third[0] - third_re, third[2] - third_im),
        (sum02 - sum13).conjugate(),
        Complex(first02 - first13, 0),
    ]


struct Spectrum[columns: Int](ImplicitlyCopyable):
    """The power spectra of LANES frames at a time, of samples float32 [160, columns]: a column is the hop of a frame.

    What depends on no sample is in tables: finding a place takes longer than the arithmetic.
    """

    comptime TABLES = WINDOW * 16 + 9 * 25 * 8  # bytes
    comptime SCRATCH = 10 * 25 * NUMBER_SIZE  # bytes that each thread needs

    var places: Int  # int64 [25, 16]: bytes from the first sample of a frame to each, in the order of the transforms
    var window: Int  # float64 [25, 16]: what each is times
    var bins: Int  # int64 [9, 25]: the bytes from the first power to each

    def __init__(out self, tables: Int, window: Int):
        """Fills the tables, given room for them and the window, float64 [400]."""
        self.places = tables
        self.window = tables + WINDOW * 8
        self.bins = tables + WINDOW * 16
        for j in range(25):
            for i in range(16):
                var n = (25 * i + 16 * j) % WINDOW
                var index = 16 * j + i
                store(self.places + index * 8, Int64((n % HOP * Self.columns + n // HOP) * 4))
                store(self.window + index * 8, load[DType.float64, 1](window + n * 8))
        for i in range(9):
            for j in range(25):
                var k = (225 * i + 176 * j) % WINDOW  # it is i modulo 16 and j modulo 25
                store(self.bins + (25 * i + j) * 8, Int64(min(k, WINDOW - k) * LANES_SIZE))

    @always_inline
    def powers(self, samples: Int, scratch: Int, result: Int):
        """Power spectra float64 [201, LANES] of the frame that begins at a sample and those after it."""
        for j in range(25):
            var x = Array[Lanes, 16](fill=0)
            comptime for i in range(16):
                var index = (16 * j + i) * 8
                var values = load[DType.float32, LANES](samples + Int(load[DType.int64, 1](self.places + index)))
                x[i] = values.cast[DType.float64]() * load[DType.float64, 1](self.window + index)
            var transformed = _transform_16(x)
            comptime for i in range(9):
                transformed[i].keep(scratch + (25 * i + j) * NUMBER_SIZE)
        var row = scratch + 9 * 25 * NUMBER_SIZE
        for i in range(9):
            _transform_25(scratch + i * 25 * NUMBER_SIZE, row)
            for j in range(25):
                var place = Int(load[DType.int64, 1](self.bins + (25 * i + j) * 8))
                store[DType.float64, LANES](result + place, Complex.at(row + j * NUMBER_SIZE).power())
