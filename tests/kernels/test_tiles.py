"""Linear layers and attention over tiles against their NumPy twins, with every kind of instruction this CPU has."""

from functools import partial

import numpy as np
import pytest
from max.driver import Buffer
from max.dtype import DType
from max.engine import Model
from max.graph import DeviceRef, Graph, TensorType, ops
from max.graph import Module as GraphModule

from benchmarks.kernel_parts import packaged_parts
from max_whisper.cpu import all_cpu_instructions
from max_whisper.graphs.packing import linear_size, pack_linear, to_bfloat16
from tests.kernels.asserting import asserting_session

INSTRUCTIONS = all_cpu_instructions()
SHAPES = [(96, 192), (64, 80)]  # columns, depth: whole lines of 64 bytes, and a last one to be filled up
TYPES = {"int8": DType.int8, "bfloat16": DType.bfloat16}


def finish_of(compute_type: str, columns: int) -> str:
    """One of the four linear layers has a GELU."""
    return "gelu" if (compute_type, columns) == ("int8", 96) else "store"


def trace_operation(
    module: GraphModule, name: str, operation: str, inputs: list[TensorType], result: TensorType, **parameters: object
) -> None:
    """A graph that calls one operation."""
    with Graph(name, input_types=inputs, module=module, custom_extensions=[packaged_parts()]) as graph:
        graph.output(*ops.custom(operation, DeviceRef.CPU(), list(graph.inputs), [result], parameters))


@pytest.fixture(scope="module")
def kernels() -> dict[str, Model]:
    """Every kernel, compiled together, with asserts."""
    module = GraphModule()
    cpu = DeviceRef.CPU()
    trace = partial(trace_operation, module)

    for instructions in INSTRUCTIONS:
        for compute_type, weight in TYPES.items():
            for columns, depth in SHAPES:
                finish = finish_of(compute_type, columns)
                inputs = [
                    TensorType(DType.float32, ["rows", depth], cpu),
                    TensorType(DType.float32, [2, depth], cpu),
                    TensorType(DType.uint8, [linear_size(columns, depth, compute_type)], cpu),
                ]
                result = TensorType(DType.float32, ["rows", columns], cpu)
                name = f"linear {instructions} {compute_type} {columns}"
                trace(name, "linear_alone", inputs, result, instructions=instructions, weight=weight, epilogue=finish)
        heads = TensorType(DType.float32, ["heads", "rows", 64], cpu)
        keys = TensorType(DType.float32, ["heads", "positions", 64], cpu)
        inputs = [heads, keys, keys, TensorType(DType.int64, [3], cpu)]
        trace(
            f"attention {instructions}",
            "attention_alone",
            inputs,
            heads,
            instructions=instructions,
            kind=DType.bfloat16,
        )
        window = {"instructions": instructions, "kind": DType.bfloat16}
        trace(f"window {instructions}", "window_attention_alone", inputs[:-1], heads, **window)
    return asserting_session().load_all(module, custom_extensions=[packaged_parts()])


def execute(model: Model, *arrays: np.ndarray) -> np.ndarray:
    return model.execute(*map(Buffer.from_numpy, arrays))[0].to_numpy()


def packed_linear(weight: np.ndarray, bias: np.ndarray, compute_type: str) -> np.ndarray:
    return np.concatenate([part.reshape(-1).view(np.uint8) for part in pack_linear(weight, bias, compute_type)])


def rounded(values: np.ndarray) -> np.ndarray:
    """Values as bfloat16 keeps them, in float64."""
    return (to_bfloat16(values).astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def normalized(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    centered = x.astype(np.float64) - x.mean(axis=1, keepdims=True, dtype=np.float64)
    return centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-5) * gamma + beta


def gelu(x: np.ndarray) -> np.ndarray:
    from torch import from_numpy
    from torch.nn.functional import gelu as torch_gelu

    return torch_gelu(from_numpy(x)).numpy()


@pytest.mark.parametrize("rows", [1, 5, 16, 33, 130])
@pytest.mark.parametrize(("columns", "depth"), SHAPES)
@pytest.mark.parametrize("compute_type", TYPES)
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_a_linear_layer(
    kernels: dict[str, Model], instructions: str, compute_type: str, columns: int, depth: int, rows: int
) -> None:
    generator = np.random.default_rng(rows)
    x, weight = (generator.standard_normal(shape, dtype=np.float32) for shape in ((rows, depth), (columns, depth)))
    gamma, beta, bias = (generator.standard_normal(size, dtype=np.float32) for size in (depth, depth, columns))
    packed = packed_linear(weight, bias, compute_type)
    model = kernels[f"linear {instructions} {compute_type} {columns}"]
    result = execute(model, x, np.stack([gamma, beta]), packed)

    values = normalized(x, gamma, beta)
    if compute_type == "bfloat16":
        twin = rounded(values.astype(np.float32)) @ rounded(weight).T + bias
        # A value half way between two of bfloat16 may fall to either side.
        np.testing.assert_allclose(result, twin, rtol=0, atol=0.02)
        assert np.mean(np.abs(result - twin) < 1e-4) > 0.9
        return
    steps = np.abs(weight).max(axis=1, keepdims=True) / 127
    lowest = values.min(axis=1, keepdims=True)
    row_steps = (values.max(axis=1, keepdims=True) - lowest) / 255
    bits = np.rint((values - lowest) / row_steps)
    sums = (lowest + row_steps * bits) @ (np.rint(weight / steps) * steps).T.astype(np.float64) + bias
    twin = gelu(sums) if finish_of(compute_type, columns) == "gelu" else sums
    np.testing.assert_allclose(result, twin, rtol=0, atol=3 * float((row_steps * np.abs(weight).max()).max()))
    # Of the GELU's probability 2e-5 may be wrong, and here and there a value falls to the other side of a half.
    assert np.mean(np.abs(result - twin) < 1e-3) > 0.9


@pytest.mark.parametrize("weight", ["zeros", "ones"])
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_a_row_of_zeros_gives_the_bias(kernels: dict[str, Model], instructions: str, weight: str) -> None:
    columns, depth = SHAPES[0]
    bias = np.linspace(-3, 3, columns, dtype=np.float32)
    packed = packed_linear(getattr(np, weight)((columns, depth), np.float32), bias, "int8")
    zeros = np.zeros((3, depth), np.float32)
    result = execute(kernels[f"linear {instructions} int8 {columns}"], zeros, np.zeros((2, depth), np.float32), packed)
    np.testing.assert_allclose(result, np.repeat(gelu(bias)[None], 3, axis=0), atol=1e-4)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_sums_of_the_largest_values(kernels: dict[str, Model], instructions: str) -> None:
    """Values and weights of 127 steps to either side, in all patterns of four: pairs of them exceed 16 bits."""
    columns, depth = SHAPES[1]
    signs = 1 - 2 * (np.arange(16)[:, None] >> np.arange(4) & 1)  # [16, 4]
    weight = np.tile(signs, (columns // 16, depth // 4)).astype(np.float32)
    packed = packed_linear(weight, np.zeros(columns, np.float32), "int8")
    model = kernels[f"linear {instructions} int8 {columns}"]
    x = np.zeros((33, depth), np.float32)
    for pattern in signs:
        row = np.tile(pattern, depth // 4).astype(np.float32)
        result = execute(model, x, np.stack([np.ones(depth, np.float32), row]), packed)
        # The values are exact; step times sum and lowest times total, up to 80 each, are rounded and cancel.
        np.testing.assert_allclose(result, np.tile(row @ weight.T, (33, 1)), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("compute_type", TYPES)
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_a_row_does_not_depend_on_how_many_there_are(
    kernels: dict[str, Model], instructions: str, compute_type: str
) -> None:
    columns, depth = SHAPES[1]
    generator = np.random.default_rng(0)
    x, weight = (generator.standard_normal(shape, dtype=np.float32) for shape in ((33, depth), (columns, depth)))
    packed = packed_linear(weight, np.zeros(columns, np.float32), compute_type)
    model = kernels[f"linear {instructions} {compute_type} {columns}"]
    normalization = np.stack([np.ones(depth, np.float32), np.zeros(depth, np.float32)])
    together = execute(model, x, normalization, packed)
    for rows in range(1, 33):
        # Sums of integers are exact; those of floats are added up in another order.
        tolerance = 0 if compute_type == "int8" else 1e-5
        np.testing.assert_allclose(execute(model, x[:rows], normalization, packed), together[:rows], atol=tolerance)


def test_all_kinds_of_instructions_give_the_same_int8_sums(kernels: dict[str, Model]) -> None:
    columns, depth = SHAPES[1]
    generator = np.random.default_rng(1)
    x, weight = (generator.standard_normal(shape, dtype=np.float32) for shape in ((130, depth), (columns, depth)))
    packed = packed_linear(weight, generator.standard_normal(columns, dtype=np.float32), "int8")
    normalization = np.stack([np.ones(depth, np.float32), np.zeros(depth, np.float32)])
    results = [execute(kernels[f"linear {name} int8 {columns}"], x, normalization, packed) for name in INSTRUCTIONS]
    for result in results:
        # The integers' sums are equal; for signed values what zero stands for is another float32, which is rounded.
        np.testing.assert_allclose(result, results[0], rtol=1e-6, atol=2e-5)


@pytest.mark.parametrize(
    ("rows", "positions", "first", "seen", "grows"),
    [
        (64, 1500, 0, 1500, 0),  # audio
        (1, 1, 0, 1, 1),  # the first token
        (1, 45, 0, 45, 1),
        (40, 40, 0, 1, 1),  # a prompt: each token sees those before it and itself
        (5, 70, 33, 66, 1),  # after padding
    ],
)
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_attention(
    kernels: dict[str, Model], instructions: str, rows: int, positions: int, first: int, seen: int, grows: int
) -> None:
    generator = np.random.default_rng(positions)
    queries = 3 * generator.standard_normal((2, rows, 64), dtype=np.float32)
    keys, values = (generator.standard_normal((2, positions, 64), dtype=np.float32) for _ in range(2))
    sight = np.array([first, seen, grows])
    result = execute(kernels[f"attention {instructions}"], queries, keys, values, sight)

    scores = queries.astype(np.float64) @ rounded(keys).transpose(0, 2, 1) / 8
    number, position = np.arange(rows)[:, None], np.arange(positions)
    scores[:, (position < first) | (position >= seen + grows * number)] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    twin = weights / weights.sum(axis=-1, keepdims=True) @ rounded(values)
    np.testing.assert_allclose(result, twin, rtol=0, atol=0.03)
    assert np.sqrt(np.mean((result - twin) ** 2)) < 4e-3


def growing_heads(rows: int, positions: int, growth: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries, keys and values of two heads, whose later keys are so many times as long.

    Scores are then far above those of the first positions, to which attention to a window takes the others.
    """
    generator = np.random.default_rng(positions)
    queries = 3 * generator.standard_normal((2, rows, 64), dtype=np.float32)
    keys, values = (generator.standard_normal((2, positions, 64), dtype=np.float32) for _ in range(2))
    keys[:, positions // 2 :] *= growth
    return queries, keys, values


@pytest.mark.parametrize("growth", [1.0, 200.0], ids=["near", "far"])
@pytest.mark.parametrize(("rows", "positions"), [(64, 1500), (44, 256), (5, 70), (33, 20)])
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_attention_to_a_window(
    kernels: dict[str, Model], instructions: str, rows: int, positions: int, growth: float
) -> None:
    queries, keys, values = growing_heads(rows, positions, growth)
    result = execute(kernels[f"window {instructions}"], queries, keys, values)

    scores = rounded(queries * np.float32(np.log2(np.e) / 8)) @ rounded(keys).transpose(0, 2, 1)
    weights = np.exp2(scores - scores.max(axis=-1, keepdims=True))
    twin = weights / weights.sum(axis=-1, keepdims=True) @ rounded(values)
    np.testing.assert_allclose(result, twin, rtol=0, atol=0.03)
    assert np.sqrt(np.mean((result - twin) ** 2)) < 4e-3
