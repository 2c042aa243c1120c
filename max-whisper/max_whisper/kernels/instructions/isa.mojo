"""The kinds of CPU that the operations have code for, the best first: their names, and what each has.

Graphs name a kind by `name` (models/whisper/graphs/fused.py, `INSTRUCTIONS`); runtime/cpu.py says which features a CPU
must have for it. tests/kernels/test_isa.py compares the three. All code below an operation's entry takes an `Isa`.
"""

from std.math import max


@fieldwise_init
struct Isa(Equatable, ImplicitlyCopyable):
    """What a kind of CPU has for products of matrices."""

    var name: StaticString
    var lanes: Int  # 32-bit accumulators in one register
    var has_amx: Bool  # tiles: tdpbusd, tdpbf16ps
    var has_avx512: Bool  # registers of 512 bits
    var has_avx512_bf16: Bool  # vdpbf16ps, vcvtneps2bf16 and, of VBMI, vpermb
    var has_vnni: Bool  # vpdpbusd
    var has_dotprod: Bool  # Arm: sdot
    var has_i8mm: Bool  # Arm: smmla, bfmmla, bfdot

    @staticmethod
    def named[name: StaticString]() -> Self:
        """The kind of that name."""
        comptime number = _number_of[name]()
        comptime assert number >= 0, "no kind of CPU has this name; see instructions/isa.mojo"
        comptime isa = ISAS[max(number, 0)]
        return isa

    def a_zero_point(self) -> Int32:
        """The 8-bit value that stands for zero in A of a product A * B: vpdpbusd and tdpbusd take A unsigned."""
        return 128 if self.has_vnni else 0


comptime ISAS: Array[Isa, 9] = [
    _x86("amx",         lanes=16, amx=True,  avx512=True,  bf16=True,  vnni=True),
    _x86("avx512_bf16", lanes=16, amx=False, avx512=True,  bf16=True,  vnni=True),
    _x86("avx512_vnni", lanes=16, amx=False, avx512=True,  bf16=False, vnni=True),
    _x86("avx512",      lanes=16, amx=False, avx512=True,  bf16=False, vnni=False),
    _x86("avx_vnni",    lanes=8,  amx=False, avx512=False, bf16=False, vnni=True),
    _x86("avx2",        lanes=8,  amx=False, avx512=False, bf16=False, vnni=False),
    _arm("i8mm",        dotprod=True,  i8mm=True),
    _arm("dotprod",     dotprod=True,  i8mm=False),
    _arm("plain",       dotprod=False, i8mm=False),  # registers of 128 bits, which every CPU has
]


def _x86(name: StaticString, *, lanes: Int, amx: Bool, avx512: Bool, bf16: Bool, vnni: Bool) -> Isa:
    return Isa(name, lanes, amx, avx512, bf16, vnni, False, False)


def _arm(name: StaticString, *, dotprod: Bool, i8mm: Bool) -> Isa:
    return Isa(name, 4, False, False, False, False, dotprod, i8mm)


def _number_of[name: StaticString]() -> Int:
    """Where a name is in `ISAS`; -1 where it is not."""
    comptime for number in range(len(ISAS)):
        comptime isa = ISAS[number]
        comptime if isa.name == name:
            return number
    return -1
