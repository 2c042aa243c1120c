"""The samples of several frames side by side, so that a vector can hold the same sample of each.

A frame has 400 samples and begins 160, a hop, after the one before it. Samples [COLUMNS, 160], a row for each hop, are
transposed to [160, COLUMNS]: sample n of frame f is then at row n mod 160 and column f + n div 160, next to that of
frame f + 1. power_spectrum.mojo reads this layout.
"""

from ..memory.views import View

comptime WINDOW = 400  # samples of a frame
comptime HOP = 160  # samples from one frame to the next
comptime FRAMES = 32  # frames that are laid out together; a multiple of BLOCK and of every width of vectors
comptime BLOCK = 8  # rows and columns that are transposed together
comptime COLUMNS = FRAMES + BLOCK  # hops that the frames reach over: FRAMES + 2, in whole blocks
comptime Row = SIMD[DType.float32, BLOCK]


@always_inline
def transpose_hops(samples: View[DType.float32], target: View[DType.float32]):
    """Samples [1, n] from a frame's first one on to float32 [160, COLUMNS].

    The last n mod 8 samples, which are of no whole frame, and those from n on are taken as zeros.
    """
    for column in range(0, COLUMNS, BLOCK):
        for row in range(0, HOP, BLOCK):
            var rows = Array[Row, BLOCK](fill=0)
            comptime for i in range(BLOCK):
                var first = (column + i) * HOP + row
                if first + BLOCK <= samples.columns:
                    rows[i] = samples.load[BLOCK](0, first)
            # To interleave the first half of a block with the second, three times, transposes it.
            comptime for _ in range(3):
                var interleaved = Array[Row, BLOCK](fill=0)
                comptime for i in range(BLOCK // 2):
                    var pair = rows[i].interleave(rows[i + BLOCK // 2])
                    interleaved[2 * i] = pair.slice[BLOCK]()
                    interleaved[2 * i + 1] = pair.slice[BLOCK, offset=BLOCK]()
                rows = interleaved^
            comptime for i in range(BLOCK):
                target.store(row + i, column, rows[i])
