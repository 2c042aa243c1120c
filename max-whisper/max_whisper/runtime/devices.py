"""Where graphs run."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from max_whisper.errors import DeviceError
from max_whisper.runtime.cache_folder import give_max_a_folder
from max_whisper.runtime.cpu import cpu_architecture

if TYPE_CHECKING:
    from max import driver
    from max.graph import DeviceRef

DEVICES = ("auto", "cpu", "gpu")
# What other programs call a GPU, without the number that may follow.
_NAMES_OF_GPUS = ("cuda", "rocm", "hip", "mps", "metal")


@dataclass(frozen=True)
class Device:
    """Where graphs run."""

    name: str  # 'cpu' or 'gpu'
    driver: driver.Device

    @property
    def reference(self) -> DeviceRef:
        """The device as graphs name it."""
        from max.graph import DeviceRef

        return DeviceRef.from_device(self.driver)

    @property
    def architecture(self) -> str:
        """What compiled code depends on: the GPU's architecture, or the CPU's model and instruction sets."""
        return self.driver.architecture_name if self.name == "gpu" else cpu_architecture()


def check_device_name(name: str) -> None:
    """Raises DeviceError for a name that is not one of DEVICES."""
    if name not in DEVICES:
        is_gpu = isinstance(name, str) and name.lower().partition(":")[0] in _NAMES_OF_GPUS
        hint = "a GPU is called gpu here" if is_gpu else f"choose one of {', '.join(DEVICES)}"
        raise DeviceError(f"unknown device {name!r}: {hint}")


def select_device(name: str = "auto") -> Device:
    """The device of that name; `auto` is a GPU where there is one, except Apple's, on which nothing was tried yet.

    Raises DeviceError for a name that is none, and for a GPU on a machine without, and CheckpointError where there is
    no folder for MAX's caches.
    """
    check_device_name(name)
    give_max_a_folder()  # before anything of MAX looks for it: even an import may compile
    from max import driver

    has_gpu = driver.accelerator_count() > 0
    if name == "gpu" and not has_gpu:
        raise DeviceError("no GPU that MAX can use was found on this machine; it has: cpu")
    if name == "cpu" or not has_gpu or (name == "auto" and platform.system() == "Darwin"):
        return Device("cpu", driver.CPU())
    return Device("gpu", driver.Accelerator())
