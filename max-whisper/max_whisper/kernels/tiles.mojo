"""Matrix products of 32 x 32 results out of tiles of 1 KB, the one primitive on which the other kernels stand.

A tile is 16 lines of 64 bytes. On the left a line is a row's next 64 bytes along the depth: 64 values of 8 bits, or 32 of
16 bits. On the right a line belongs to the next 4 bytes of depth and holds them for 16 columns, one column after the
other. That is how AMX reads its operands, and AVX-512's dot products (VNNI, BF16) read the same lines one at a time.
"""

from std.ffi import external_call
from std.memory import bitcast
from std.sys import inlined_assembly

from .dots import product_of_lines
from .instructions import has_avx512_bf16

comptime SIDE = 32  # rows and columns of a result
comptime LINE = 64  # bytes
comptime LINES = 16  # lines of a tile; rows or columns that one tile has
comptime TILE = LINE * LINES  # bytes

comptime Data[dtype: DType] = Pointer[Scalar[dtype], MutAnyOrigin]
comptime Floats = SIMD[DType.float32, 16]


@always_inline
def at[dtype: DType](address: Int) -> Data[dtype]:
    return Data[dtype](unsafe_from_address=address)


@always_inline
def load[dtype: DType, width: Int](address: Int) -> SIMD[dtype, width]:
    return at[dtype](address).unsafe_load[width=width]()


@always_inline
def store[dtype: DType, width: Int](address: Int, values: SIMD[dtype, width]):
    at[dtype](address).unsafe_store(values)


@always_inline
def store[dtype: DType, //](address: Int, value: Scalar[dtype]):
    at[dtype](address).unsafe_store(value)


@always_inline
def values_in_line[weight: DType]() -> Int:
    """Values along the depth that a line on the left has."""
    return 64 if weight == DType.int8 else 32


@always_inline
def to_bfloat16[instructions: StaticString](values: Floats) -> SIMD[DType.uint16, 16]:
    """Values rounded to bfloat16, as their bits."""
    comptime if has_avx512_bf16[instructions]():
        return inlined_assembly[
            "vcvtneps2bf16 $1, $0", SIMD[DType.uint16, 16], constraints="=v,v", has_side_effect=False
        ](values)
    else:
        return bitcast[DType.uint16, 16](values.cast[DType.bfloat16]())


@always_inline
def begin_products[instructions: StaticString]():
    """What a thread does before its first product."""
    comptime if instructions == "amx":
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
def end_products[instructions: StaticString]():
    """What a thread does after its last product, so that nobody saves tiles that are not used."""
    comptime if instructions == "amx":
        inlined_assembly["tilerelease", NoneType, constraints="", has_side_effect=True]()


@always_inline
def product[
    instructions: StaticString, weight: DType, *, adds: Bool = False
](rows: Int, left: Int, left_stride: Int, right: Int, right_stride: Int, steps: Int, result: Int):
    """The product of `rows` rows, at most 32, and 32 columns over a depth of `steps` lines.

    weight int8: signed 8-bit values on the right, on the left too or unsigned ones (`zero_of_int8`), int32 sums.
    bfloat16: both sides, float32 sums. left_stride, right_stride: bytes from the tiles of 16 rows or columns to those of
    the next 16.
    result: [32, 32] of 32 bits, to which the product is added if it `adds`; rows from `rows` on have no meaning.
    """
    multiply[instructions, weight, adds=adds](rows, left, left_stride, right, right_stride, steps, result)
    keep[instructions](rows, result)


@always_inline
def multiply[
    instructions: StaticString, weight: DType, *, adds: Bool = False
](rows: Int, left: Int, left_stride: Int, right: Int, right_stride: Int, steps: Int, result: Int):
    """As `product`, whose result is there only after `keep`, before any other product.

    What a thread does between the two goes on beside the product, if it does not wait for the room that a CPU has for
    values on their way to memory: AMX's stores take nearly all of it until the product is done.
    """
    comptime if instructions == "amx":
        if rows > LINES:
            _multiply_amx[weight, adds](left, left_stride, right, right_stride, steps, result)
        else:
            _half_multiply_amx[weight, adds](left, right, right_stride, steps, result)
    else:
        product_of_lines[instructions, weight, adds](rows, left, left_stride, right, right_stride, steps, result)


@always_inline
def keep[instructions: StaticString](rows: Int, result: Int):
    """Bring the result of `multiply` to where that was told."""
    comptime if instructions == "amx":
        if rows > LINES:
            inlined_assembly[
                "tilestored %tmm0, ($0,$2,1)\n"
                "tilestored %tmm1, 64($0,$2,1)\n"
                "tilestored %tmm2, ($1,$2,1)\n"
                "tilestored %tmm3, 64($1,$2,1)",
                NoneType,
                constraints="r,r,r,~{memory}",
                has_side_effect=True,
            ](result, result + LINES * SIDE * 4, Int(SIDE * 4))
        else:
            inlined_assembly[
                "tilestored %tmm0, ($0,$1,1)\ntilestored %tmm1, 64($0,$1,1)",
                NoneType,
                constraints="r,r,~{memory}",
                has_side_effect=True,
            ](result, Int(SIDE * 4))


@always_inline
def _multiply_amx[
    weight: DType, adds: Bool
](left: Int, left_stride: Int, right: Int, right_stride: Int, steps: Int, result: Int):
    comptime loads = (
        "tileloadd ($0,$4,1), %tmm4\n"
        "tileloadd ($2,$4,1), %tmm6\n"
        "tileloadd ($1,$4,1), %tmm5\n"
        "tileloadd ($3,$4,1), %tmm7\n"
    )
    comptime int8_dots = (
        "tdpbusd %tmm6, %tmm4, %tmm0\n"
        "tdpbusd %tmm6, %tmm5, %tmm2\n"
        "tdpbusd %tmm7, %tmm4, %tmm1\n"
        "tdpbusd %tmm7, %tmm5, %tmm3"
    )
    comptime bfloat16_dots = (
        "tdpbf16ps %tmm6, %tmm4, %tmm0\n"
        "tdpbf16ps %tmm6, %tmm5, %tmm2\n"
        "tdpbf16ps %tmm7, %tmm4, %tmm1\n"
        "tdpbf16ps %tmm7, %tmm5, %tmm3"
    )
    comptime step = loads + (int8_dots if weight == DType.int8 else bfloat16_dots)
    comptime if adds:
        inlined_assembly[
            "tileloadd ($0,$2,1), %tmm0\n"
            "tileloadd 64($0,$2,1), %tmm1\n"
            "tileloadd ($1,$2,1), %tmm2\n"
            "tileloadd 64($1,$2,1), %tmm3",
            NoneType,
            constraints="r,r,r,~{memory}",
            has_side_effect=True,
        ](result, result + LINES * SIDE * 4, Int(SIDE * 4))
    else:
        inlined_assembly[
            "tilezero %tmm0\ntilezero %tmm1\ntilezero %tmm2\ntilezero %tmm3",
            NoneType,
            constraints="",
            has_side_effect=True,
        ]()
    for k in range(steps):
        var offset = k * TILE
        inlined_assembly[step, NoneType, constraints="r,r,r,r,r,~{memory}", has_side_effect=True](
            left + offset, left + left_stride + offset, right + offset, right + right_stride + offset, Int(LINE)
        )


@always_inline
def _half_multiply_amx[weight: DType, adds: Bool](left: Int, right: Int, right_stride: Int, steps: Int, result: Int):
    """As `_multiply_amx` for 16 rows."""
    comptime loads = (
        "tileloadd ($0,$3,1), %tmm4\n"
        "tileloadd ($1,$3,1), %tmm6\n"
        "tileloadd ($2,$3,1), %tmm7\n"
    )
    comptime int8_dots = "tdpbusd %tmm6, %tmm4, %tmm0\ntdpbusd %tmm7, %tmm4, %tmm1"
    comptime bfloat16_dots = "tdpbf16ps %tmm6, %tmm4, %tmm0\ntdpbf16ps %tmm7, %tmm4, %tmm1"
    comptime step = loads + (int8_dots if weight == DType.int8 else bfloat16_dots)
    comptime if adds:
        inlined_assembly[
            "tileloadd ($0,$1,1), %tmm0\ntileloadd 64($0,$1,1), %tmm1",
            NoneType,
            constraints="r,r,~{memory}",
            has_side_effect=True,
        ](result, Int(SIDE * 4))
    else:
        inlined_assembly["tilezero %tmm0\ntilezero %tmm1", NoneType, constraints="", has_side_effect=True]()
    for k in range(steps):
        var offset = k * TILE
        inlined_assembly[step, NoneType, constraints="r,r,r,r,~{memory}", has_side_effect=True](
            left + offset, right + offset, right + right_stride + offset, Int(LINE)
        )
