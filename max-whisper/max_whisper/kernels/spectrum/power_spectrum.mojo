"""The power spectrum of frames of 400 samples, in float64.

Of samples x and a window w it is |X[k]|^2 for k from 0 to 200, with
    X[k] = sum over n of e^(-2 pi i nk / 400) w[n] x[n].
400 is 16 * 25, which have no factor in common. So the transform is transforms of 16 and then of 25 with no factors
between them (Good 1958, Thomas 1963): with n = (25 i + 16 j) mod 400,
    X[k] = sum over j of e^(-2 pi i jk / 25) times the sum over i of e^(-2 pi i ik / 16) w[n] x[n].
A transform of 16 is one of 4 x 4, and one of 25 of 5 x 5 (Cooley and Tukey 1965).

A vector holds the same sample of several frames, each in a lane of its own: a frame's values do not depend on its
place. operations/log_mel.mojo calls this for the samples that framing.mojo lays out.
"""

from std.math import cos, min, pi, sin

from ..memory.arena import Arena
from ..memory.views import View
from .complex import LANES, Complex, Lanes
from .framing import COLUMNS, HOP, WINDOW

comptime BINS = WINDOW // 2 + 1
comptime REAL_BINS = 9  # of a transform of 16 real numbers; the other 7 are conjugates of these


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
def _transform_25(source: View[DType.float64], target: View[DType.float64]):
    """The transform of complex numbers [25, 2 * LANES]."""
    var columns = Array[Complex, 25](fill=Complex(0, 0))
    comptime for j in range(5):
        var x = Array[Complex, 5](fill=Complex(0, 0))
        comptime for i in range(5):
            x[i] = Complex.load(source, 5 * i + j)
        var column = _transform_5(x)
        comptime for i in range(5):
            columns[5 * i + j] = column[i].turn[i * j, 25]() if i * j > 0 else column[i]
    comptime for i in range(5):
        var x = Array[Complex, 5](fill=Complex(0, 0))
        comptime for j in range(5):
            x[j] = columns[5 * i + j]
        var row = _transform_5(x)
        comptime for j in range(5):
            row[j].store(target, i + 5 * j)


@always_inline
def _transform_16(x: Array[Lanes, 16]) -> Array[Complex, REAL_BINS]:
    """The first 9 numbers of the transform of 16 real ones."""
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


@fieldwise_init
struct Scratch(ImplicitlyCopyable):
    """What one thread needs for the spectra of LANES frames."""

    var rows: View[DType.float64]  # complex [9 * 25, 2 * LANES]: the transforms of 16, for each of their numbers 25
    var transform: View[DType.float64]  # complex [25, 2 * LANES]: the transform of one of these 9 rows
    var powers: View[DType.float64]  # [201, LANES]: the result

    @staticmethod
    def take(mut arena: Arena) -> Self:
        return Self(
            arena.take[DType.float64](REAL_BINS * 25, 2 * LANES),
            arena.take[DType.float64](25, 2 * LANES),
            arena.take[DType.float64](BINS, LANES),
        )


@fieldwise_init
struct PowerSpectrum(ImplicitlyCopyable):
    """Computes power spectra.

    Tables hold what depends on no sample: to find where a sample lies would take longer than the arithmetic.
    """

    var sample_offsets: View[DType.int64]  # [25, 16]: where sample n of the first frame lies, in the transforms' order
    var window: View[DType.float64]  # [25, 16]: w[n], in the same order
    var bins: View[DType.int64]  # [9, 25]: the bin of each number of the transforms of 25

    @staticmethod
    def take(mut arena: Arena) -> Self:
        """One whose tables `fill` has to fill."""
        return Self(
            arena.take[DType.int64](25, 16), arena.take[DType.float64](25, 16), arena.take[DType.int64](REAL_BINS, 25)
        )

    def fill(self, window: View[DType.float64]):
        """Fill the tables. window: [1, 400]."""
        for j in range(25):
            for i in range(16):
                var n = (25 * i + 16 * j) % WINDOW
                self.sample_offsets.store(j, i, Int64(n % HOP * COLUMNS + n // HOP))
                self.window.store(j, i, window[n])
        for i in range(REAL_BINS):
            for j in range(25):
                var k = (225 * i + 176 * j) % WINDOW  # it is i modulo 16 and j modulo 25
                self.bins.store(i, j, Int64(min(k, WINDOW - k)))

    @always_inline
    def compute(self, samples: View[DType.float32], frame: Int, scratch: Scratch):
        """The spectra of LANES frames from `frame` on, to the scratch's `powers`.

        samples: [1, 160 * COLUMNS], as `transpose_hops` lays them out.
        """
        for j in range(25):
            var x = Array[Lanes, 16](fill=0)
            comptime for i in range(16):
                var values = samples.load[LANES](0, Int(self.sample_offsets.load(j, i)) + frame)
                x[i] = values.cast[DType.float64]() * self.window.load(j, i)
            var transformed = _transform_16(x)
            comptime for i in range(REAL_BINS):
                transformed[i].store(scratch.rows, 25 * i + j)
        for i in range(REAL_BINS):
            _transform_25(scratch.rows.rows_from(25 * i, 25), scratch.transform)
            for j in range(25):
                scratch.powers.store(Int(self.bins.load(i, j)), 0, Complex.load(scratch.transform, j).power())
