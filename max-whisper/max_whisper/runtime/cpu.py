"""What the CPU is and can do, as the system tells."""

import platform
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

_NEEDED = {
    "amx": {"amx_tile", "amx_int8", "amx_bf16"},
    "avx512_bf16": {"avx512bw", "avx512_vnni", "avx512_bf16", "avx512vbmi"},
    "avx512_vnni": {"avx512bw", "avx512_vnni"},
    "avx512": {"avx512bw"},
    "avx_vnni": {"avx2", "fma", "avx_vnni"},
    "avx2": {"avx2", "fma"},
    "i8mm": {"asimddp", "i8mm", "bf16"},
    "dotprod": {"asimddp"},
    "plain": set[str](),
}
"""The features that each of `graphs.fused.INSTRUCTIONS` needs, as Linux names them, the best first."""
_APPLE_NAMES = {"FEAT_DotProd": "asimddp", "FEAT_I8MM": "i8mm", "FEAT_BF16": "bf16"}


def cpu_instructions() -> str:
    """The best of `graphs.fused.INSTRUCTIONS` that this CPU has."""
    return all_cpu_instructions()[0]


def all_cpu_instructions() -> list[str]:
    """Those of `graphs.fused.INSTRUCTIONS` that this CPU has, the best first."""
    return instructions_of(cpu_architecture())


def instructions_of(architecture: str) -> list[str]:
    """Those of `graphs.fused.INSTRUCTIONS` that a CPU has of which `cpu_architecture` says this, the best first."""
    features = set(architecture.split())
    return [name for name, needed in _NEEDED.items() if needed <= features]


@cache
def cpu_architecture() -> str:
    """The CPU's model and features, separated by blanks."""
    with suppress(OSError):
        told = from_cpuinfo(Path("/proc/cpuinfo").read_text())
        if told:
            return told
    if platform.system() == "Darwin":
        with suppress(OSError, subprocess.CalledProcessError):
            command = ["sysctl", "machdep.cpu.brand_string", "hw.optional.arm"]
            return from_sysctl(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return f"{platform.machine()} {platform.processor()}"


def from_cpuinfo(text: str) -> str:
    """Model and features of the first processor in Linux's /proc/cpuinfo; nothing where it names none."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return " ".join(fields[name] for name in ("model name", "CPU part", "flags", "Features") if name in fields)


def from_sysctl(text: str) -> str:
    """Model and features as macOS's sysctl prints them, features by the names that Linux has for them."""
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    model = fields.pop("machdep.cpu.brand_string", "")
    present = [name.removeprefix("hw.optional.arm.") for name, value in fields.items() if value == "1"]
    return " ".join([model, *(_APPLE_NAMES.get(name, name) for name in present)])
