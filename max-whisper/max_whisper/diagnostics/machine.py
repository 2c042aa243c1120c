"""What a benchmark ran on and with: a number without these says little."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from max_whisper.version import __version__

PACKAGES = ("max", "torch", "openai-whisper", "numpy", "av", "tiktoken")


def machine() -> dict[str, Any]:
    """The processor, memory, GPUs and system of this machine."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "gpus": _gpus(),
        "system": platform.platform(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str | None]:
    """The versions of max-whisper, of its commit in a clone, and of the packages whose speed is compared."""
    found: dict[str, str | None] = {"max-whisper": __version__, "commit": _commit()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    name = _answer("sysctl", "-n", "machdep.cpu.brand_string")
    return name or platform.processor() or platform.machine()


def _gpus() -> list[str]:
    names = _answer("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    return names.splitlines() if names else []


def _commit() -> str | None:
    """The commit of the clone, with a mark where files that git knows have changed since."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    commit = _answer("git", "-C", str(root), "rev-parse", "HEAD")
    changed = _answer("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return f"{commit} with changes" if commit and changed else commit


def _answer(program: str, *arguments: str) -> str | None:
    """What a program prints, or None where it is not installed or fails."""
    if shutil.which(program) is None:
        return None
    result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None
