"""Products by AMX, Intel's tiles; tiles.mojo says what lies in them."""

from std.ffi import external_call
from std.sys import inlined_assembly
from std.sys.intrinsics import PrefetchOptions, prefetch

from .tiles import LINE, LINES, SIDE, TILE, at
from .work import RowWork, do_rows

comptime RESULT_LINE = SIDE * 4  # bytes of a row of results


@always_inline
def begin_tiles():
    """What a thread does before its first product."""
    # Linux gives tiles to processes that ask: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
    _ = external_call["syscall", Int](Int(158), Int(0x1023), Int(18))
    var configuration = Array[UInt8, 64](fill=0)
    configuration[0] = 1  # palette
    for tile in range(8):
        configuration[16 + 2 * tile] = LINE
        configuration[48 + tile] = LINES
    inlined_assembly["ldtilecfg ($0)", NoneType, constraints="r,~{memory}", has_side_effect=True](
        configuration.unsafe_ptr()
    )


@always_inline
def end_tiles():
    """What a thread does after its last product, so that nobody saves tiles that are not used."""
    inlined_assembly["tilerelease", NoneType, constraints="", has_side_effect=True]()


@always_inline
def multiply_tiles[
    Work: RowWork, //, weight: DType, adds: Bool
](
    rows: Int,
    left: Int,
    left_stride: Int,
    right: Int,
    right_stride: Int,
    steps: Int,
    result: Int,
    work: Work,
    work_rows: Int,
):
    """See `product_beside`; the sums are in tiles 0 to 3, or 0 and 1 of up to 16 rows, until `store_tiles`."""
    comptime dot = "tdpbusd " if weight == DType.int8 else "tdpbf16ps "
    if rows > LINES:
        comptime instructions: Array[StaticString, 4] = [
            "tileloadd ($0,$4,1), %tmm4\ntileloadd ($2,$4,1), %tmm6\n" + dot + "%tmm6, %tmm4, %tmm0",
            "tileloadd ($1,$4,1), %tmm5\n" + dot + "%tmm6, %tmm5, %tmm2",
            "tileloadd ($3,$4,1), %tmm7\n" + dot + "%tmm7, %tmm4, %tmm1",
            dot + "%tmm7, %tmm5, %tmm3",
        ]
        _begin[4, adds](result)
        _run[instructions, TILE, TILE, False](
            left, left + left_stride, right, right + right_stride, steps, work, work_rows
        )
    else:
        comptime instructions: Array[StaticString, 2] = [
            "tileloadd ($0,$4,1), %tmm4\ntileloadd ($2,$4,1), %tmm6\n" + dot + "%tmm6, %tmm4, %tmm0",
            "tileloadd ($3,$4,1), %tmm7\n" + dot + "%tmm7, %tmm4, %tmm1",
        ]
        _begin[2, adds](result)
        _run[instructions, TILE, TILE, False](left, left, right, right + right_stride, steps, work, work_rows)


@always_inline
def store_tiles(rows: Int, result: Int):
    """Store the sums of `rows` rows: [32, 32] of 32 bits."""
    inlined_assembly[
        "tilestored %tmm0, ($0,$1,1)\ntilestored %tmm1, 64($0,$1,1)",
        NoneType,
        constraints="r,r,~{memory}",
        has_side_effect=True,
    ](result, Int(RESULT_LINE))
    if rows > LINES:
        inlined_assembly[
            "tilestored %tmm2, ($0,$1,1)\ntilestored %tmm3, 64($0,$1,1)",
            NoneType,
            constraints="r,r,~{memory}",
            has_side_effect=True,
        ](result + LINES * RESULT_LINE, Int(RESULT_LINE))


@always_inline
def _begin[tiles: Int, adds: Bool](result: Int):
    """Sums from zero, or from those that are there."""
    comptime if adds:
        inlined_assembly[
            "tileloadd ($0,$1,1), %tmm0\ntileloadd 64($0,$1,1), %tmm1",
            NoneType,
            constraints="r,r,~{memory}",
            has_side_effect=True,
        ](result, Int(RESULT_LINE))
        comptime if tiles == 4:
            inlined_assembly[
                "tileloadd ($0,$1,1), %tmm2\ntileloadd 64($0,$1,1), %tmm3",
                NoneType,
                constraints="r,r,~{memory}",
                has_side_effect=True,
            ](result + LINES * RESULT_LINE, Int(RESULT_LINE))
    else:
        inlined_assembly["tilezero %tmm0\ntilezero %tmm1", NoneType, constraints="", has_side_effect=True]()
        comptime if tiles == 4:
            inlined_assembly["tilezero %tmm2\ntilezero %tmm3", NoneType, constraints="", has_side_effect=True]()


@always_inline
def _run[
    Work: RowWork, size: Int, //, instructions: Array[StaticString, size], left_size: Int, right_size: Int, ahead: Bool
](left: Int, next_left: Int, right: Int, next_right: Int, steps: Int, work: Work, work_rows: Int):
    """Give instructions for each step, with rows of work between them.

    Sizes: bytes from a step's tiles to those of the next; `ahead`: fetch these into the first cache.
    """
    comptime of_left = left_size // LINE
    comptime of_right = right_size // LINE
    comptime lines = 2 * (of_left + of_right) if ahead else 0
    # A quarter of the work is left for while the last sums are on their way.
    var pace = (work_rows * 3 << 14) // (steps * size * Work.TOGETHER)
    var due = 0
    var done = 0
    for step in range(steps):
        var on_left, on_right = step * left_size, step * right_size
        comptime for i in range(size):
            comptime text = instructions[i]
            inlined_assembly[text, NoneType, constraints="r,r,r,r,r,r,~{memory}", has_side_effect=True](
                left + on_left,
                next_left + on_left,
                right + on_right,
                next_right + on_right,
                Int(LINE),
                Int(RESULT_LINE),
            )
            comptime for line in range(lines * i // size, lines * (i + 1) // size):
                comptime if line < of_left:
                    _fetch(left + on_left + left_size + line * LINE)
                elif line < 2 * of_left:
                    _fetch(next_left + on_left + left_size + (line - of_left) * LINE)
                elif line < 2 * of_left + of_right:
                    _fetch(right + on_right + right_size + (line - 2 * of_left) * LINE)
                else:
                    _fetch(next_right + on_right + right_size + (line - 2 * of_left - of_right) * LINE)
            due += pace
            while done < (due >> 16) * Work.TOGETHER:
                work.rows[Work.TOGETHER](done)
                done += Work.TOGETHER
    do_rows(work, done, work_rows)


@always_inline
def _fetch(address: Int):
    """Begin to bring a line into the first cache."""
    prefetch[PrefetchOptions().for_read().high_locality().to_data_cache()](at[DType.uint8](address))


@always_inline
def multiply_split[
    Work: RowWork, //, parts: Int, adds: Bool
](
    left: Int,
    left_stride: Int,
    right: Int,
    right_stride: Int,
    steps: Int,
    result: Int,
    work: Work,
    work_rows: Int,
):
    """As `multiply_tiles` where a value on the left is the sum of three bfloat16, and on the right of `parts`.

    Tiles 4 and 5 hold a part of 32 rows, 6 and 7 one of 32 columns; the least products come first.
    """
    comptime left_0 = "tileloadd ($0,$4,1), %tmm4\ntileloadd ($1,$4,1), %tmm5\n"
    comptime left_1 = "tileloadd 1024($0,$4,1), %tmm4\ntileloadd 1024($1,$4,1), %tmm5\n"
    comptime left_2 = "tileloadd 2048($0,$4,1), %tmm4\ntileloadd 2048($1,$4,1), %tmm5\n"
    comptime right_0 = "tileloadd ($2,$4,1), %tmm6\ntileloadd ($3,$4,1), %tmm7\n"
    comptime right_1 = "tileloadd 1024($2,$4,1), %tmm6\ntileloadd 1024($3,$4,1), %tmm7\n"
    comptime right_2 = "tileloadd 2048($2,$4,1), %tmm6\ntileloadd 2048($3,$4,1), %tmm7\n"
    comptime dots = (
        "tdpbf16ps %tmm6, %tmm4, %tmm0\n"
        "tdpbf16ps %tmm6, %tmm5, %tmm2\n"
        "tdpbf16ps %tmm7, %tmm4, %tmm1\n"
        "tdpbf16ps %tmm7, %tmm5, %tmm3\n"
    )
    _begin[4, adds](result)
    comptime if parts == 2:
        comptime instructions: Array[StaticString, 5] = [
            left_1 + right_1 + dots, left_0 + dots, right_0 + dots, left_1 + dots, left_2 + dots
        ]
        _run[instructions, 3 * TILE, 2 * TILE, True](
            left, left + left_stride, right, right + right_stride, steps, work, work_rows
        )
    else:
        comptime instructions: Array[StaticString, 6] = [
            left_0 + right_2 + dots,
            left_1 + right_1 + dots,
            left_0 + dots,
            right_0 + dots,
            left_1 + dots,
            left_2 + dots,
        ]
        _run[instructions, 3 * TILE, 3 * TILE, True](
            left, left + left_stride, right, right + right_stride, steps, work, work_rows
        )


@always_inline
def hold_queries(queries: Int):
    """Load 32 rows of tiles, two along the depth, for `multiply_queries`; any other product replaces them."""
    inlined_assembly[
        "tileloadd ($0,$1,1), %tmm4\n"
        "tileloadd 1024($0,$1,1), %tmm5\n"
        "tileloadd 2048($0,$1,1), %tmm6\n"
        "tileloadd 3072($0,$1,1), %tmm7",
        NoneType,
        constraints="r,r,~{memory}",
        has_side_effect=True,
    ](queries, Int(LINE))


@always_inline
def multiply_queries[Work: RowWork, //](keys: Int, result: Int, work: Work, work_rows: Int):
    """The product of the held rows and 32 columns of bfloat16, two tiles along the depth: float32 [32, 32].

    Half of the tiles that the product of any rows and columns would load.
    """
    comptime instructions: Array[StaticString, 9] = [
        "tileloadd ($2,$4,1), %tmm2\ntilezero %tmm0\ntdpbf16ps %tmm2, %tmm4, %tmm0",
        "tilezero %tmm1\ntdpbf16ps %tmm2, %tmm6, %tmm1",
        "tileloadd 1024($2,$4,1), %tmm3\ntdpbf16ps %tmm3, %tmm5, %tmm0",
        "tdpbf16ps %tmm3, %tmm7, %tmm1",
        "tileloadd 2048($2,$4,1), %tmm2",
        "tilestored %tmm0, ($0,$5,1)\ntilezero %tmm0\ntdpbf16ps %tmm2, %tmm4, %tmm0",
        "tilestored %tmm1, ($1,$5,1)\ntilezero %tmm1\ntdpbf16ps %tmm2, %tmm6, %tmm1",
        "tileloadd 3072($2,$4,1), %tmm3\ntdpbf16ps %tmm3, %tmm5, %tmm0",
        "tdpbf16ps %tmm3, %tmm7, %tmm1",
    ]
    _run[instructions, 0, 0, False](result, result + LINES * RESULT_LINE, keys, keys, 1, work, work_rows)
    inlined_assembly[
        "tilestored %tmm0, 64($0,$2,1)\ntilestored %tmm1, 64($1,$2,1)",
        NoneType,
        constraints="r,r,r,~{memory}",
        has_side_effect=True,
    ](result, result + LINES * RESULT_LINE, Int(RESULT_LINE))
