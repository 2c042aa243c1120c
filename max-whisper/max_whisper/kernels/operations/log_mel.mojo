"""The logarithm of the mel power of Whisper's frames: 25 ms each, one every 10 ms.

    result[m, f] = log10(max(sum over k of filters[m, k] * |X[f, k]|^2, 1e-10))
X[f] is the spectrum of frame f times the window (spectrum/power_spectrum.mojo). It is `log_mel_spectrogram` of
whisper/audio.py as far as its logarithm; log_mel.py has the rest, and the same in NumPy. The graph `log10_mel`
(graphs/log_mel.py) calls this.
"""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min
from std.memory import bitcast

from ..memory.arena import Arena
from ..memory.team import Team, in_team
from ..memory.views import View, row_of, view_of
from ..spectrum.complex import LANES, Lanes
from ..spectrum.framing import COLUMNS, FRAMES, HOP, WINDOW, transpose_hops
from ..spectrum.power_spectrum import BINS, PowerSpectrum, Scratch
from .checks import expect_at_least, expect_equal, expect_range

comptime NAME = "log10_mel"
comptime LEAST_POWER = 1e-10  # a smaller one is not told from none


@always_inline
def _log10(x: Lanes) -> Lanes:
    """The logarithm of normal positive numbers, wrong by 1e-11 at most."""
    # x = 2^exponent * mantissa, with a mantissa from sqrt(0.5) to sqrt(2); the bits are those of sqrt(0.5).
    var bits = bitcast[DType.int64, LANES](x)
    var exponent = (bits - 0x3FE6A09E667F3BCD) >> 52
    var mantissa = bitcast[DType.float64, LANES](bits - (exponent << 52))
    # ln(mantissa) = 2 artanh(z) = 2 (z + z^3 / 3 + z^5 / 5 + ...)
    var z = (mantissa - 1) / (mantissa + 1)
    var square = z * z
    var series = Lanes(1.0 / 11)
    comptime for i in range(5):
        comptime next = 1 / Float64(9 - 2 * i)
        series = series.fma(square, Lanes(next))
    comptime log10_of_2 = 0.30102999566398119521
    comptime log10_of_e = 0.43429448190325182765
    return exponent.cast[DType.float64]().fma(Lanes(log10_of_2), series * z * (2 * log10_of_e))


@fieldwise_init
struct MelFilters(ImplicitlyCopyable):
    """Triangular filters, each over a band of bins."""

    var weights: View[DType.float64]  # [n_mels, 201]
    var bands: View[DType.int64]  # [n_mels, 2]: the bin at which a filter begins, and the one at which it has ended

    @always_inline
    def log10_power(self, mel: Int, powers: View[DType.float64]) -> SIMD[DType.float32, LANES]:
        """The logarithm of a filter's power. powers: [201, LANES]."""
        var total = Lanes(0)
        for k in range(Int(self.bands.load(mel, 0)), Int(self.bands.load(mel, 1))):
            total = powers.load[LANES](k, 0).fma(Lanes(self.weights.load(mel, k)), total)
        return _log10(max(total, Lanes(LEAST_POWER))).cast[DType.float32]()

    def check(self, n_mels: Int) raises:
        """That there are as many filters as results, and that each lies within the bins."""
        expect_equal(NAME, "rows of filters", self.weights.rows, n_mels)
        expect_equal(NAME, "bins of filters", self.weights.columns, BINS)
        expect_equal(NAME, "rows of bands", self.bands.rows, n_mels)
        expect_equal(NAME, "columns of bands", self.bands.columns, 2)
        for mel in range(n_mels):
            var begin = Int(self.bands.load(mel, 0))
            expect_range(NAME, "a band's first bin", begin, 0, BINS)
            expect_range(NAME, "a band's end", Int(self.bands.load(mel, 1)), begin, BINS)


@fieldwise_init
struct ThreadMemory(ImplicitlyCopyable):
    """What one thread has for itself."""

    var samples: View[DType.float32]  # [160, COLUMNS]
    var scratch: Scratch

    @staticmethod
    def take(mut arena: Arena) -> Self:
        return Self(arena.take[DType.float32](HOP, COLUMNS), Scratch.take(arena))

    @staticmethod
    def size() -> Int:
        var arena = Arena.measure()
        _ = Self.take(arena)
        return arena.used


@extensibility.register("log10_mel")
struct Log10Mel:
    """The logarithm of the mel power of frames, float32 [n_mels, frames], not below -10.

    samples: float32, at least 240 + 160 * frames.
    window: float64 [400].
    filters: float64 [n_mels, 201].
    bands: int64 [n_mels, 2], the bin at which each filter begins and the bin before which it ends.
    """

    @staticmethod
    def execute[
        target: StaticString
    ](
        result: OutputTensor[dtype=DType.float32, rank=2, ...],
        samples: InputTensor[dtype=DType.float32, rank=1, ...],
        window: InputTensor[dtype=DType.float64, rank=1, ...],
        filters: InputTensor[dtype=DType.float64, rank=2, ...],
        bands: InputTensor[dtype=DType.int64, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        var log_mel = view_of(result)
        var recording = row_of(samples)
        var mel_filters = MelFilters(view_of(filters), view_of(bands))
        var frames = log_mel.columns
        expect_equal(NAME, "samples of the window", window.shape()[0], WINDOW)
        mel_filters.check(log_mel.rows)
        expect_at_least(NAME, "samples", recording.columns, WINDOW - HOP + HOP * frames)

        var n_parts = ceildiv(frames, FRAMES)
        var n_threads = min(parallelism_level(None), n_parts)
        var measured = Arena.measure()
        _ = PowerSpectrum.take(measured)
        var arena = Arena.allocate(measured.used + n_threads * ThreadMemory.size())
        var spectrum = PowerSpectrum.take(arena)
        spectrum.fill(row_of(window))
        var memories = arena.take[DType.uint8](n_threads, ThreadMemory.size())

        def compute_parts(mut team: Team) {imm}:
            var own = Arena.of(memories.row(team.thread))
            var memory = ThreadMemory.take(own)
            var transposed = memory.samples.reshaped(1, HOP * COLUMNS)
            var powers = memory.scratch.powers

            def compute_part(part: Int) {imm}:
                var start = part * FRAMES
                transpose_hops(recording.columns_from(start * HOP, recording.columns - start * HOP), memory.samples)
                for frame in range(start, min(start + FRAMES, frames), LANES):
                    spectrum.compute(transposed, frame - start, memory.scratch)
                    for mel in range(log_mel.rows):
                        var values = mel_filters.log10_power(mel, powers)
                        if frame + LANES <= frames:
                            log_mel.store(mel, frame, values)
                        else:
                            for i in range(frames - frame):
                                log_mel.store(mel, frame + i, values[i])

            team.share(n_parts, compute_part)

        in_team(n_threads, 1, compute_parts)
        arena.free()
