"""The kernels by themselves, with each kind of instructions that this CPU has, in the shapes of tiny.

    python -m benchmarks.kernels --page docs/benchmarks.md
    taskset -c 0 python -m benchmarks.kernels      # on one core

All are medians, taken in turn. Normalization and quantization of the rows are in the time of a linear layer, and the
layout of queries, keys and values in that of attention.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession, Model
from max.graph import DeviceRef, Graph, TensorType, ops
from max.graph import Module as GraphModule

from max_whisper.audio import N_SAMPLES
from max_whisper.backends.log_mel import CompiledLog10Mel
from max_whisper.diagnostics.machine import machine
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS
from max_whisper.models.whisper.graphs.fused import WEIGHTS
from max_whisper.models.whisper.graphs.log_mel import add_log10_mel
from max_whisper.models.whisper.graphs.packing import pack_linear
from max_whisper.runtime.cpu import all_cpu_instructions

from .kernel_parts import packaged_parts
from .page_part import markdown_table, write_own_part
from .profile import medians

DIMS = OFFICIAL_MODELS["tiny"].dims
FEW_ROWS = "few_rows_linear"


@dataclass(frozen=True)
class Linear:
    """A linear layer of rows normalized, as a fused operation does it."""

    instructions: str
    form: str  # one of packing.FORMATS

    operation = "linear_alone"
    rows = DIMS.n_audio_ctx
    columns = 4 * DIMS.n_audio_state

    def __str__(self) -> str:
        return f"linear, {self.rows} x {DIMS.n_audio_state} x {self.columns}"

    @property
    def operations(self) -> float:
        return 2 * self.rows * DIMS.n_audio_state * self.columns

    def parameters(self) -> dict[str, object]:
        return {"instructions": self.instructions, "weight": WEIGHTS[self.form], "epilogue": "store"}

    def inputs(self) -> list[np.ndarray]:
        depth = DIMS.n_audio_state
        parts = pack_linear(_random(self.columns, depth), None, self.form)
        normalization = np.stack([np.ones(depth, np.float32), np.zeros(depth, np.float32)])
        packed = np.concatenate([part.reshape(-1).view(np.uint8) for part in parts])
        return [_random(self.rows, depth), normalization, packed]

    def result(self) -> tuple[int, ...]:
        return self.rows, self.columns


@dataclass(frozen=True)
class FewRowsLinear:
    """A linear layer of few rows, as graphs of MAX's own operations call it."""

    columns: int

    operation = FEW_ROWS
    instructions = ""
    form = "float16"

    def __str__(self) -> str:
        return f"{FEW_ROWS}, 1 x {DIMS.n_audio_state} x {self.columns}"

    @property
    def operations(self) -> float:
        return 2 * DIMS.n_audio_state * self.columns

    def parameters(self) -> dict[str, object]:
        return {}

    def inputs(self) -> list[np.ndarray]:
        return [_random(1, DIMS.n_audio_state), _random(self.columns, DIMS.n_audio_state).astype(np.float16)]

    def result(self) -> tuple[int, ...]:
        return 1, self.columns


@dataclass(frozen=True)
class WindowAttention:
    """The encoder's attention to a window, of all heads."""

    instructions: str
    form: str

    operation = "window_attention_alone"

    def __str__(self) -> str:
        return f"attention, {DIMS.n_audio_head} x {DIMS.n_audio_ctx} x {DIMS.n_audio_ctx}"

    @property
    def operations(self) -> float:
        return 4 * DIMS.n_audio_ctx**2 * DIMS.n_audio_state

    def parameters(self) -> dict[str, object]:
        return {"instructions": self.instructions, "kind": WEIGHTS[self.form]}

    def inputs(self) -> list[np.ndarray]:
        return [_random(*self.result()) for _ in range(3)]

    def result(self) -> tuple[int, ...]:
        return DIMS.n_audio_head, DIMS.n_audio_ctx, DIMS.n_audio_state // DIMS.n_audio_head


Kernel = Linear | FewRowsLinear | WindowAttention


def kernels() -> list[Kernel]:
    """Each with each kind of instructions."""
    every: list[Kernel] = [FewRowsLinear(DIMS.n_vocab)]
    for instructions in all_cpu_instructions():
        # AMX has no products of float32: they are of sums of bfloat16.
        for form in ("int8", "bfloat16", "bfloat16x2" if instructions == "amx" else "float16"):
            every.append(Linear(instructions, form))
        every += [WindowAttention(instructions, form) for form in ("bfloat16", "float32")]
    return every


def compiled(every: list[Kernel], given: list[list[Buffer]]) -> dict[str, Model]:
    """All of them, for such inputs, as graphs, `0` and so on, and `log10_mel`."""
    module = GraphModule()
    cpu = DeviceRef.CPU()
    add_log10_mel(module)
    for number, (kernel, buffers) in enumerate(zip(every, given, strict=True)):
        inputs = [TensorType(buffer.dtype, buffer.shape, cpu) for buffer in buffers]
        result = TensorType(DType.float32, kernel.result(), cpu)
        with Graph(str(number), input_types=inputs, module=module, custom_extensions=[packaged_parts()]) as graph:
            graph.output(*ops.custom(kernel.operation, cpu, list(graph.inputs), [result], kernel.parameters()))
    return InferenceSession(devices=[CPU()]).load_all(module, custom_extensions=[packaged_parts()])


def report(runs: int) -> str:
    """The table, in Markdown."""
    every = kernels()
    given = [[Buffer.from_numpy(array) for array in kernel.inputs()] for kernel in every]
    models = compiled(every, given)
    calls: dict[str, Callable[[], object]] = {
        str(number): partial(models[str(number)].execute, *buffers) for number, buffers in enumerate(given)
    }
    log10_mel, samples = CompiledLog10Mel(models["log10_mel"]), _random(N_SAMPLES + 240)
    calls["log10_mel"] = lambda: log10_mel(samples, DIMS.n_mels)
    took = medians(calls, runs)
    rows = []
    for number, kernel in enumerate(every):
        milliseconds = took[str(number)]
        rate = kernel.operations / milliseconds / 1e6
        rows.append([str(kernel), kernel.instructions, kernel.form, f"{milliseconds:.2f}", f"{rate:,.0f}"])
    rows.append(["log10_mel, 30 s", "", "float64", f"{took['log10_mel']:.2f}", ""])
    heading = ["kernel", "instructions", "format", "ms", "10^9 operations a second"]
    return f"{machine()['cpu']}.\n\n{markdown_table(heading, rows)}"


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="of each, after one (default: %(default)s)")
    parser.add_argument("--page", metavar="FILE", help="write the table into a page of Markdown")
    options = parser.parse_args()
    text = report(options.runs)
    print(text)
    if options.page:
        write_own_part(Path(options.page), "kernels", text)


if __name__ == "__main__":
    main()
