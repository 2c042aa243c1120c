"""Which instructions products are made of, by what a CPU's system tells."""

import pytest

from max_whisper.models.whisper.graphs.fused import INSTRUCTIONS
from max_whisper.runtime.cpu import all_cpu_instructions, cpu_instructions, from_cpuinfo, from_sysctl, instructions_of

SAPPHIRE_RAPIDS = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8480+
flags\t\t: fpu avx fma avx2 avx512f avx512bw avx_vnni avx512_bf16 avx512vbmi avx512_vnni amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: another
"""


def test_linux_tells_of_intel() -> None:
    told = from_cpuinfo(SAPPHIRE_RAPIDS)
    assert told.startswith("Intel(R) Xeon(R) Platinum 8480+ fpu")
    kinds = instructions_of(told)
    assert kinds == ["amx", "avx512_bf16", "avx512_vnni", "avx512", "avx_vnni", "avx2", "plain"]


def test_macos_tells_of_apple() -> None:
    lines = ["machdep.cpu.brand_string: Apple M1", "hw.optional.arm.FEAT_DotProd: 1", "hw.optional.arm.FEAT_I8MM: 0"]
    assert from_sysctl("\n".join(lines)) == "Apple M1 asimddp"
    assert instructions_of(from_sysctl("\n".join(lines))) == ["dotprod", "plain"]


@pytest.mark.parametrize(
    ("features", "best"),
    [
        ("fma avx2 avx512f avx512bw avx512_vnni avx512_bf16 avx512vbmi", "avx512_bf16"),  # Zen 4
        ("fma avx2 avx512f avx512bw avx512_vnni avx512_bf16", "avx512_vnni"),  # Cooper Lake
        ("fma avx2 avx512f avx512bw", "avx512"),  # Skylake-X
        ("fma avx2 avx512f avx512er", "avx2"),  # Knights Landing
        ("fma avx2 avx_vnni", "avx_vnni"),  # Alder Lake
        ("fma avx2", "avx2"),
        ("avx", "plain"),
        ("fp asimd asimddp i8mm bf16", "i8mm"),  # Neoverse V1
        ("fp asimd asimddp", "dotprod"),  # Neoverse N1
        ("fp asimd", "plain"),
    ],
)
def test_the_best_comes_first(features: str, best: str) -> None:
    assert instructions_of(f"A model of CPU {features}")[0] == best


def test_every_kind_is_known() -> None:
    kinds = all_cpu_instructions()
    assert set(kinds) <= set(INSTRUCTIONS)
    assert (kinds[0], kinds[-1]) == (cpu_instructions(), "plain")
