"""AMX, Intel's tile registers: eight of 16 rows of 64 bytes, tmm0 to tmm7, and products of two into a third.

`tdpbusd c, b, a` adds to c int32 [16, 16] the product of a uint8 [16, 64] and b int8 [64, 16]; `tdpbf16ps` to float32
that of bfloat16 [16, 32] and [32, 16]. b has in each row the next 4 bytes of k for 16 columns (matmul/tiles.mojo). See
Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18. Called by matmul/amx_gemm.mojo.
"""

from std.ffi import external_call
from std.sys import inlined_assembly
from std.sys.intrinsics import PrefetchOptions, prefetch

from ..memory.views import Bytes, Data, View

comptime TILE_ROWS = 16
comptime ROW_BYTES = 64  # of a row of a tile
comptime TILE_BYTES = TILE_ROWS * ROW_BYTES
comptime BLOCK = 2 * TILE_ROWS  # rows and columns of a block of results, which is four tiles
comptime BLOCK_ROW_BYTES = BLOCK * 4


@always_inline
def begin_tiles():
    """Configure a thread's tiles, before its first product."""
    # Linux gives tiles to processes that ask: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
    _ = external_call["syscall", Int](Int(158), Int(0x1023), Int(18))
    var configuration = Array[UInt8, 64](fill=0)
    configuration[0] = 1  # palette
    for tile in range(8):
        configuration[16 + 2 * tile] = ROW_BYTES
        configuration[48 + tile] = TILE_ROWS
    inlined_assembly["ldtilecfg ($0)", NoneType, constraints="r,~{memory}", has_side_effect=True](
        configuration.unsafe_ptr()
    )


@always_inline
def end_tiles():
    """Release a thread's tiles after its last product: the system no longer saves them when it switches threads."""
    inlined_assembly["tilerelease", NoneType, constraints="", has_side_effect=True]()


@fieldwise_init
struct TileOperands(ImplicitlyCopyable):
    """The operands of a product of tiles: $0 and $1 in its instructions are two panels of A, $2 and $3 two of B.

    $4 is 64, the bytes of a row of A or B; $5 is 128, those of a row of a block of results.
    """

    var a: Data[DType.uint8]
    var a_next: Data[DType.uint8]
    var b: Data[DType.uint8]
    var b_next: Data[DType.uint8]

    @staticmethod
    @always_inline
    def of(a: Bytes, b: Bytes) -> Self:
        """Panels [1 or 2, bytes] of A and [2, bytes] of B. Of a single panel of A the second is the same."""
        return Self(a.pointer(0, 0), a.pointer(a.rows - 1, 0), b.pointer(0, 0), b.pointer(b.rows - 1, 0))

    @always_inline
    def issue[instructions: StaticString](self, a_byte: Int, b_byte: Int):
        """Run instructions on what lies so many bytes further on in the panels."""
        inlined_assembly[instructions, NoneType, constraints="r,r,r,r,r,r,~{memory}", has_side_effect=True](
            Int(self.a) + a_byte,
            Int(self.a_next) + a_byte,
            Int(self.b) + b_byte,
            Int(self.b_next) + b_byte,
            Int(ROW_BYTES),
            Int(BLOCK_ROW_BYTES),
        )

    @always_inline
    def prefetch_a[next: Bool](self, byte: Int):
        """Begin to bring a row of A into the first cache; past the end of A it does nothing."""
        _prefetch((self.a_next if next else self.a).unsafe_offset(byte))

    @always_inline
    def prefetch_b[next: Bool](self, byte: Int):
        """As `prefetch_a` of B."""
        _prefetch((self.b_next if next else self.b).unsafe_offset(byte))


@always_inline
def _prefetch(place: Data[DType.uint8]):
    prefetch[PrefetchOptions().for_read().high_locality().to_data_cache()](place)


@always_inline
def zero_results[tiles: Int]():
    """Set the accumulators, tiles 0 and 1, or 0 to 3, to zero."""
    inlined_assembly["tilezero %tmm0\ntilezero %tmm1", NoneType, constraints="", has_side_effect=True]()
    comptime if tiles == 4:
        inlined_assembly["tilezero %tmm2\ntilezero %tmm3", NoneType, constraints="", has_side_effect=True]()


@always_inline
def load_results[tiles: Int](block: View[DType.float32]):
    """Load the accumulators of 2 or 4 tiles from a block of results, 32 bits [32, 32]."""
    _check(block)
    inlined_assembly[
        "tileloadd ($0,$1,1), %tmm0\ntileloadd 64($0,$1,1), %tmm1",
        NoneType,
        constraints="r,r,~{memory}",
        has_side_effect=True,
    ](block.address(), Int(BLOCK_ROW_BYTES))
    comptime if tiles == 4:
        inlined_assembly[
            "tileloadd ($0,$1,1), %tmm2\ntileloadd 64($0,$1,1), %tmm3",
            NoneType,
            constraints="r,r,~{memory}",
            has_side_effect=True,
        ](block.address(TILE_ROWS), Int(BLOCK_ROW_BYTES))


@always_inline
def store_results(rows: Int, block: View[DType.float32]):
    """Store the accumulators of up to 16, or up to 32 rows to a block of results, 32 bits [32, 32]."""
    _check(block)
    inlined_assembly[
        "tilestored %tmm0, ($0,$1,1)\ntilestored %tmm1, 64($0,$1,1)",
        NoneType,
        constraints="r,r,~{memory}",
        has_side_effect=True,
    ](block.address(), Int(BLOCK_ROW_BYTES))
    if rows > TILE_ROWS:
        inlined_assembly[
            "tilestored %tmm2, ($0,$1,1)\ntilestored %tmm3, 64($0,$1,1)",
            NoneType,
            constraints="r,r,~{memory}",
            has_side_effect=True,
        ](block.address(TILE_ROWS), Int(BLOCK_ROW_BYTES))


@always_inline
def _check(block: View[DType.float32]):
    debug_assert(
        block.rows == BLOCK and block.columns == BLOCK and block.stride == BLOCK, "a block of results is not [32, 32]"
    )


@always_inline
def load_queries(queries: Bytes):
    """Load two panels [2, 2048] of A, two tiles of k each, to tiles 4 to 7; any other product replaces them."""
    debug_assert(
        queries.rows == 2 and queries.columns == 2 * TILE_BYTES and queries.stride == 2 * TILE_BYTES,
        "queries are not two panels of two tiles",
    )
    inlined_assembly[
        "tileloadd ($0,$1,1), %tmm4\n"
        "tileloadd 1024($0,$1,1), %tmm5\n"
        "tileloadd 2048($0,$1,1), %tmm6\n"
        "tileloadd 3072($0,$1,1), %tmm7",
        NoneType,
        constraints="r,r,~{memory}",
        has_side_effect=True,
    ](queries.address(), Int(ROW_BYTES))


@always_inline
def store_right_results(block: View[DType.float32]):
    """Store tiles 0 and 1 as the right half of a block of results, upper and lower quarter."""
    _check(block)
    inlined_assembly[
        "tilestored %tmm0, 64($0,$2,1)\ntilestored %tmm1, 64($1,$2,1)",
        NoneType,
        constraints="r,r,r,~{memory}",
        has_side_effect=True,
    ](block.address(), block.address(TILE_ROWS), Int(BLOCK_ROW_BYTES))
