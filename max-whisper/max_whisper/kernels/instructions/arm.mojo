"""Arm's dot products (sdot, bfdot) and its products of 2 x 2 results (smmla, bfmmla), register by register.

They are written as text: LLVM knows a CPU by its model, and one that it does not know may have them all the same. See
Arm Architecture Reference Manual for A-profile. Called by matmul/simd_gemm.mojo and arm_gemm.mojo.
"""

from std.sys import inlined_assembly


@always_inline
def dot_arm[
    weight: DType, result: DType, lanes: Int
](accumulators: SIMD[result, lanes], a: SIMD[DType.int32, lanes], b: SIMD[DType.int32, lanes]) -> SIMD[result, lanes]:
    """Each accumulator plus the dot product of the lane's 4 bytes of a and b: 4 of int8 or 2 of bfloat16."""
    comptime int8_dot = ".arch_extension dotprod\nsdot $0.4s, $2.16b, $3.16b"
    comptime bfloat16_dot = ".arch_extension bf16\nbfdot $0.4s, $2.8h, $3.8h"
    return inlined_assembly[
        int8_dot if weight == DType.int8 else bfloat16_dot,
        SIMD[result, lanes],
        constraints="=w,0,w,w",
        has_side_effect=False,
    ](accumulators, a, b)


@always_inline
def matrix_dot[
    weight: DType, result: DType
](accumulators: SIMD[result, 4], a: SIMD[DType.int64, 2], b: SIMD[DType.int32, 4]) -> SIMD[result, 4]:
    """Results [2, 2] plus the product of 2 rows and 2 columns of 8 bytes of k."""
    comptime int8_dot = ".arch_extension i8mm\nsmmla $0.4s, $2.16b, $3.16b"
    comptime bfloat16_dot = ".arch_extension bf16\nbfmmla $0.4s, $2.8h, $3.8h"
    return inlined_assembly[
        int8_dot if weight == DType.int8 else bfloat16_dot,
        SIMD[result, 4],
        constraints="=w,0,w,w",
        has_side_effect=False,
    ](accumulators, a, b)
