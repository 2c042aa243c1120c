"""The options of `load_model`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from max_whisper.backends import BACKENDS, COMPUTE_TYPES
from max_whisper.checks import Form, integer, word
from max_whisper.definitions import FASTER, OPENAI, CommandLine, Options, check_options, option
from max_whisper.errors import OptionError
from max_whisper.options.foreign_names import FOREIGN_LOADING_NAMES
from max_whisper.runtime.devices import DEVICES, check_device_name

DEFAULT_MODEL = "turbo"  # openai-whisper's command line has the same
DEMONSTRATION_MODEL = "nano"  # comes with the package, and works with no network
MODEL_VARIABLE = "MAX_WHISPER_MODEL"  # of the environment: another default

_MODEL = "model"
_BOTH = (OPENAI, FASTER)


def default_model() -> str:
    """The model where none is named: MAX_WHISPER_MODEL of the environment, else `turbo`."""
    return os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL


def without_network(asking: str) -> str:
    """What takes the place of a model that cannot be downloaded. asking: how the demonstration model is asked for."""
    return f"{asking} is a small demonstration model that comes with the package"


def _model(name: str, value: Any) -> str | Path:
    if value is None:
        return default_model()
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError
    return value if isinstance(value, str) else Path(value)


def _device(name: str, value: Any) -> str:
    check_device_name(value)
    return str(value)


@dataclass(frozen=True)
class LoadOptions(Options):
    """The options of `load_model`, checked as the object is made: OptionError, or DeviceError for a device."""

    model: str | Path | None = option(  # noqa: RUF009
        None,
        help="an official name (tiny, turbo), a .pt or .safetensors file, a Hugging Face folder or repository id; None "
        f"is {MODEL_VARIABLE} of the environment, else {DEFAULT_MODEL}",
        group=_MODEL,
        form=Form("a name or a path", Path, "MODEL", _model, takes_none=True),
        origin=_BOTH,
        command_line=CommandLine(
            help="an official name (tiny, turbo), a .pt or .safetensors file, a Hugging Face folder or repository id "
            f"(default: {MODEL_VARIABLE} of the environment, else {DEFAULT_MODEL})"
        ),
    )
    backend: str = option(
        "max",
        help="max is MAX Graph, torch openai-whisper itself, hybrid MAX's encoder with PyTorch's decoder",
        group=_MODEL,
        form=word(BACKENDS),
    )
    device: str = option(
        "auto",
        help="auto is a GPU where the backend can use one, else the CPU",
        group=_MODEL,
        form=Form(f"one of {', '.join(DEVICES)}", str, "WORD", _device, DEVICES),
        origin=_BOTH,
    )
    compute_type: str = option(
        "auto",
        help="float32 gives the reference's tokens and is what auto means; bfloat16 and int8, for backend max on a "
        "CPU, are faster and give nearly always the same words",
        group=_MODEL,
        form=word(COMPUTE_TYPES),
        origin=(FASTER,),
    )
    threads: int = option(
        0,
        help="the most threads of the CPU; 0 is one for each core; all models of a process have the same",
        group=_MODEL,
        form=integer("a number of at least 1, or 0 for one on each core", 0),
        origin=(OPENAI,),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.compute_type in ("bfloat16", "int8") and self.backend != "max":
            raise OptionError(f"compute_type: backend {self.backend} computes in float32, got {self.compute_type!r}")

    @classmethod
    def elsewhere(cls) -> Mapping[str, str]:
        """Names in other programs."""
        return FOREIGN_LOADING_NAMES

    @property
    def chosen_model(self) -> str | Path:
        """`model`, which is never None once the object is made."""
        return cast("str | Path", self.model)

    @property
    def precision(self) -> str:
        """The compute type that `compute_type` means: float32, bfloat16 or int8."""
        return "float32" if self.compute_type == "auto" else self.compute_type
