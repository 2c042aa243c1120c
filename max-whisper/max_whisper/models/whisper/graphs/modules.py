"""The modules of `max.nn` that the graphs are made of.

MAX compiles a part of itself when `max.nn` is imported for the first time, and links it with the system's C compiler.
The fused graphs do without `max.nn`, so that only word timestamps, GPUs and backend hybrid need that compiler.
"""

from max_whisper.errors import DeviceError

try:
    from max.nn import Embedding, LayerList, LayerNorm, Linear, Module
except ImportError as error:
    if "c compiler" not in str(error.__cause__):
        raise
    raise DeviceError(
        "word timestamps, GPUs and backend hybrid need a C compiler, with which MAX links a part of itself once;"
        " install gcc or clang (Debian, Ubuntu: apt-get install gcc libc6-dev)"
    ) from error

__all__ = ["Embedding", "LayerList", "LayerNorm", "Linear", "Module"]
