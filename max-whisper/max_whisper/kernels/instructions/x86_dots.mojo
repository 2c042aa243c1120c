"""Dot products of 4 bytes in each 32-bit lane of registers: accumulators += a * b, whatever the kind of CPU has for it.

int8: 4 values of a (unsigned on x86 with VNNI, `Isa.a_zero_point`) and b, to int32. bfloat16: 2 values, to float32.
Where no instruction takes such small values they are widened first (`is_widened`): int8 to int16, of which pmaddwd
multiplies pairs; bfloat16 to float32. Called by matmul/simd_gemm.mojo.
"""

from std.memory import bitcast
from std.sys import CompilationTarget, inlined_assembly, llvm_intrinsic

from .arm import dot_arm
from .isa import Isa


@always_inline
def is_widened[isa: Isa, weight: DType]() -> Bool:
    """Whether values are brought to twice their size before they are multiplied."""
    comptime if weight == DType.int8:
        return not isa.has_vnni and not isa.has_dotprod
    else:
        return not isa.has_avx512_bf16 and not isa.has_i8mm


@always_inline
def widened_half[weight: DType, half: Int, lanes: Int](values: SIMD[DType.int32, lanes]) -> SIMD[DType.int32, lanes]:
    """The first or the second of each two values, widened: int8 to int16, bfloat16 to float32."""
    comptime if weight == DType.int8:
        var pairs = bitcast[DType.int16, 2 * lanes](values)
        return bitcast[DType.int32, lanes]((pairs << 8 if half == 0 else pairs) >> 8)
    else:
        return values << 16 if half == 0 else values & SIMD[DType.int32, lanes](-0x10000)


@always_inline
def dot[
    isa: Isa, weight: DType, result: DType, lanes: Int
](accumulators: SIMD[result, lanes], a: SIMD[DType.int32, lanes], b: SIMD[DType.int32, lanes]) -> SIMD[result, lanes]:
    """Each accumulator plus the dot product of the lane's 4 bytes, of widened values where `is_widened`."""
    comptime if isa.has_dotprod and not is_widened[isa, weight]():
        return dot_arm[weight](accumulators, a, b)
    elif weight == DType.int8:
        return _dot_int8[isa](accumulators, a, b)
    else:
        return _dot_bfloat16[isa](accumulators, a, b)


@always_inline
def _dot_int8[
    isa: Isa, result: DType, lanes: Int
](accumulators: SIMD[result, lanes], a: SIMD[DType.int32, lanes], b: SIMD[DType.int32, lanes]) -> SIMD[result, lanes]:
    comptime if isa.has_avx512 and isa.has_vnni:
        return llvm_intrinsic["llvm.x86.avx512.vpdpbusd.512", SIMD[result, lanes]](
            accumulators, bitcast[DType.uint8, 4 * lanes](a), bitcast[DType.int8, 4 * lanes](b)
        )
    elif isa.has_vnni:
        return inlined_assembly[
            "{vex} vpdpbusd $3, $2, $0", SIMD[result, lanes], constraints="=x,0,x,x", has_side_effect=False
        ](accumulators, a, b)
    else:
        var values = bitcast[DType.int16, 2 * lanes](a)
        var weights = bitcast[DType.int16, 2 * lanes](b)
        comptime if CompilationTarget.is_x86():
            comptime wide = "llvm.x86.avx512.pmaddw.d.512" if lanes == 16 else "llvm.x86.avx2.pmadd.wd"
            comptime name = wide if lanes > 4 else "llvm.x86.sse2.pmadd.wd"
            return accumulators + llvm_intrinsic[name, SIMD[result, lanes]](values, weights)
        else:
            var first = (a << 16 >> 16) * (b << 16 >> 16)
            return ((a >> 16) * (b >> 16) + first).cast[result]() + accumulators


@always_inline
def _dot_bfloat16[
    isa: Isa, result: DType, lanes: Int
](accumulators: SIMD[result, lanes], a: SIMD[DType.int32, lanes], b: SIMD[DType.int32, lanes]) -> SIMD[result, lanes]:
    comptime if isa.has_avx512_bf16:
        # Not as an intrinsic: LLVM knows a CPU by its model, and a virtual one may have more than its model tells.
        return inlined_assembly[
            "vdpbf16ps $3, $2, $0", SIMD[result, lanes], constraints="=v,0,v,v", has_side_effect=False
        ](accumulators, a, b)
    else:
        # Not `fma`, which is a call where a CPU has no such instruction.
        return bitcast[result, lanes](a) * bitcast[result, lanes](b) + accumulators
