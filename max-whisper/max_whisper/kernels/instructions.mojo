"""What the kinds of CPUs can do, by their names in graphs/fused.py, as far as kernels depend on it."""

@always_inline
def has_avx512[instructions: StaticString]() -> Bool:
    return has_avx512_bf16[instructions]() or instructions == "avx512_vnni" or instructions == "avx512"


@always_inline
def has_avx512_bf16[instructions: StaticString]() -> Bool:
    return instructions == "amx" or instructions == "avx512_bf16"


@always_inline
def has_vnni[instructions: StaticString]() -> Bool:
    """Whether there is `vpdpbusd`."""
    return has_avx512_bf16[instructions]() or instructions == "avx512_vnni" or instructions == "avx_vnni"


@always_inline
def has_avx2[instructions: StaticString]() -> Bool:
    """Whether AVX2 is the most that there is, with or without `vpdpbusd`."""
    return instructions == "avx_vnni" or instructions == "avx2"


@always_inline
def is_arm[instructions: StaticString]() -> Bool:
    """Whether there is `sdot`."""
    return instructions == "i8mm" or instructions == "dotprod"


@always_inline
def lanes_of[instructions: StaticString]() -> Int:
    """How many sums of 32 bits one register holds."""
    return 16 if has_avx512[instructions]() else 8 if has_avx2[instructions]() else 4


@always_inline
def zero_of_int8[instructions: StaticString]() -> Int32:
    """What stands for zero among 8-bit values on the left of a product: Intel's dot products take unsigned ones there."""
    return 128 if has_vnni[instructions]() else 0
