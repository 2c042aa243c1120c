"""The rate of a linear layer with each kind of instructions that this CPU has.

    python -m benchmarks.instructions
    taskset -c 0 python -m benchmarks.instructions      # on one core

A window's rows in the shape of tiny's first MLP layer: normalization and quantization of the rows are in the time.
"""

import argparse
import statistics
import time

import numpy as np
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession, Model
from max.graph import DeviceRef, Graph, TensorType, ops
from max.graph import Module as GraphModule

from max_whisper.cpu import all_cpu_instructions
from max_whisper.graphs import packaged_kernels
from max_whisper.graphs.packing import linear_size, pack_linear

ROWS, COLUMNS, DEPTH = 1500, 1536, 384
TYPES = {"int8": DType.int8, "bfloat16": DType.bfloat16}


def compiled() -> dict[str, Model]:
    """A linear layer for each kind of instructions and compute type, by both names."""
    module = GraphModule()
    cpu = DeviceRef.CPU()
    result = TensorType(DType.float32, [ROWS, COLUMNS], cpu)
    for instructions in all_cpu_instructions():
        for compute_type, weight in TYPES.items():
            inputs = [
                TensorType(DType.float32, [ROWS, DEPTH], cpu),
                TensorType(DType.float32, [2, DEPTH], cpu),
                TensorType(DType.uint8, [linear_size(COLUMNS, DEPTH, compute_type)], cpu),
            ]
            name = f"{instructions} {compute_type}"
            with Graph(name, input_types=inputs, module=module, custom_extensions=[packaged_kernels()]) as graph:
                parameters = {"instructions": instructions, "weight": weight, "finish": "store"}
                graph.output(*ops.custom("linear_alone", cpu, list(graph.inputs), [result], parameters))
    return InferenceSession(devices=[CPU()]).load_all(module, custom_extensions=[packaged_kernels()])


def rate(model: Model, compute_type: str, runs: int) -> float:
    """10^9 operations a second, by the median time of so many runs after one."""
    generator = np.random.default_rng(0)
    weight, x = (generator.standard_normal((size, DEPTH), dtype=np.float32) for size in (COLUMNS, ROWS))
    packed = np.concatenate([part.reshape(-1).view(np.uint8) for part in pack_linear(weight, None, compute_type)])
    normalization = np.stack([np.ones(DEPTH, np.float32), np.zeros(DEPTH, np.float32)])
    buffers = [Buffer.from_numpy(array) for array in (x, normalization, packed)]
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        model.execute(*buffers)
        times.append(time.perf_counter() - began)
    return 2 * ROWS * COLUMNS * DEPTH / statistics.median(times[1:]) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="of each, after one (default: %(default)s)")
    runs = parser.parse_args().runs
    print("| instructions | compute type | 10^9 operations a second |\n|---|---|---|")
    for name, model in compiled().items():
        instructions, compute_type = name.split()
        print(f"| {instructions} | {compute_type} | {rate(model, compute_type, runs):,.0f} |")


if __name__ == "__main__":
    main()
