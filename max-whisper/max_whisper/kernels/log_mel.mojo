"""The logarithm of the mel power of Whisper's frames: 25 ms each, one every 10 ms."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max, min
from std.memory import alloc, bitcast

from .fourier import BINS, HOP, LANES, LANES_SIZE, Lanes, Spectrum
from .team import Team, in_team
from .tiles import load, store

comptime LEAST = 1e-10  # power that is told from none
comptime BLOCK = 8  # rows and columns that are transposed together
comptime TOGETHER = 32  # frames whose samples are laid out together; a multiple of LANES and of BLOCK
comptime COLUMNS = TOGETHER + BLOCK  # hops that they reach over, and some more
comptime Row = SIMD[DType.float32, BLOCK]


@always_inline
def _lay_out(samples: Int, n_samples: Int, target: Int):
    """Samples float32 [COLUMNS, 160] to float32 [160, COLUMNS], with zeros for those from n_samples on."""
    for column in range(0, COLUMNS, BLOCK):
        for row in range(0, HOP, BLOCK):
            var rows = Array[Row, BLOCK](fill=0)
            comptime for i in range(BLOCK):
                var place = (column + i) * HOP + row
                if place + BLOCK <= n_samples:
                    rows[i] = load[DType.float32, BLOCK](samples + place * 4)
            # To interleave the first half of a block with the second, three times, transposes it.
            comptime for _ in range(3):
                var interleaved = Array[Row, BLOCK](fill=0)
                comptime for i in range(BLOCK // 2):
                    var pair = rows[i].interleave(rows[i + BLOCK // 2])
                    interleaved[2 * i] = pair.slice[BLOCK]()
                    interleaved[2 * i + 1] = pair.slice[BLOCK, offset=BLOCK]()
                rows = interleaved^
            comptime for i in range(BLOCK):
                store[DType.float32, BLOCK](target + ((row + i) * COLUMNS + column) * 4, rows[i])


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


@extensibility.register("log10_mel")
struct Log10Mel:
    """Samples float32 [240 + 160 frames] -> log10 of the mel power, not below -10: float32 [n_mels, frames].

    window: float64 [400]. filters: float64 [n_mels, 201]. bands: int64 [n_mels, 2], the bin at which each filter begins
    and the one at which it has ended.
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
        var n_mels = result.shape()[0]
        var frames = result.shape()[1]
        var n_samples = samples.shape()[0]
        var source = Int(samples.unsafe_ptr())
        var values = Int(result.unsafe_ptr())
        var weights = Int(filters.unsafe_ptr())
        var edges = Int(bands.unsafe_ptr())

        comptime Powers = Spectrum[COLUMNS]
        comptime layout_size = HOP * COLUMNS * 4
        comptime own_size = layout_size + Powers.SCRATCH + BINS * LANES_SIZE
        comptime tables_size = ceildiv(Powers.TABLES, 64) * 64
        var parts = ceildiv(frames, TOGETHER)
        var n_tasks = min(parallelism_level(None), parts)
        var room = alloc[UInt8](tables_size + n_tasks * own_size, alignment=64)
        var memory = Int(room) + tables_size
        var spectrum = Powers(Int(room), Int(window.unsafe_ptr()))

        def work(mut team: Team) {imm}:
            var layout = memory + team.thread * own_size
            var scratch = layout + layout_size
            var powers = scratch + Powers.SCRATCH

            def some(part: Int) {imm}:
                var start = part * TOGETHER
                _lay_out(source + start * HOP * 4, n_samples - start * HOP, layout)
                for frame in range(start, min(start + TOGETHER, frames), LANES):
                    spectrum.powers(layout + (frame - start) * 4, scratch, powers)
                    for mel in range(n_mels):
                        var power = Lanes(0)
                        var first = Int(load[DType.int64, 1](edges + mel * 16))
                        var end = Int(load[DType.int64, 1](edges + mel * 16 + 8))
                        for bin in range(first, end):
                            var weight = load[DType.float64, 1](weights + (mel * BINS + bin) * 8)
                            power = load[DType.float64, LANES](powers + bin * LANES_SIZE).fma(Lanes(weight), power)
                        var logarithms = _log10(max(power, Lanes(LEAST))).cast[DType.float32]()
                        var place = values + (mel * frames + frame) * 4
                        if frame + LANES <= frames:
                            store[DType.float32, LANES](place, logarithms)
                        else:
                            for i in range(frames - frame):
                                store(place + i * 4, logarithms[i])

            team.share(parts, some)

        in_team["plain"](n_tasks, 1, work)
        room.free()
