"""Products of float32 against NumPy in float64, with every kind of instruction this CPU has."""

import math
from functools import partial

import numpy as np
import pytest
from max.dtype import DType
from max.engine import Model
from max.graph import DeviceRef, TensorType
from max.graph import Module as GraphModule

from benchmarks.kernel_parts import packaged_parts
from max_whisper.cpu import all_cpu_instructions
from max_whisper.graphs.packing import linear_size, pack_linear, split_bfloat16
from tests.kernels.asserting import asserting_session
from tests.kernels.test_tiles import execute, growing_heads, normalized, trace_operation

# Each way in which products of float32 differ: sums of bfloat16, and registers of 512, 256 and 128 bits.
INSTRUCTIONS = [name for name in all_cpu_instructions() if name in ("amx", "avx512", "avx2", "dotprod", "plain")]
COLUMNS, DEPTH = 64, 80  # a last tile along the depth that is to be filled up
WEIGHTS = {"float16": DType.float16, "float32": DType.float32}
EPSILON = float(np.finfo(np.float32).eps)


def form(weight: str, instructions: str) -> str:
    """The format in which the products read such weights."""
    return {"float16": "bfloat16x2", "float32": "bfloat16x3"}[weight] if instructions == "amx" else weight


@pytest.fixture(scope="module")
def kernels() -> dict[str, Model]:
    """Every kernel, compiled together, with asserts."""
    module = GraphModule()
    cpu = DeviceRef.CPU()
    trace = partial(trace_operation, module)

    for instructions in INSTRUCTIONS:
        for weight, dtype in WEIGHTS.items():
            inputs = [
                TensorType(DType.float32, ["rows", DEPTH], cpu),
                TensorType(DType.float32, [2, DEPTH], cpu),
                TensorType(DType.uint8, [linear_size(COLUMNS, DEPTH, form(weight, instructions))], cpu),
            ]
            result = TensorType(DType.float32, ["rows", COLUMNS], cpu)
            name = f"linear {instructions} {weight}"
            trace(name, "linear_alone", inputs, result, instructions=instructions, weight=dtype, epilogue="gelu")
        heads = TensorType(DType.float32, ["heads", "rows", 64], cpu)
        keys = TensorType(DType.float32, ["heads", "positions", 64], cpu)
        inputs = [heads, keys, keys, TensorType(DType.int64, [3], cpu)]
        kind = {"instructions": instructions, "kind": DType.float32}
        trace(f"attention {instructions}", "attention_alone", inputs, heads, **kind)
        trace(f"window {instructions}", "window_attention_alone", inputs[:-1], heads, **kind)
    return asserting_session().load_all(module, custom_extensions=[packaged_parts()])


@pytest.mark.parametrize("rows", [1, 3, 5, 16, 33, 130])
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_a_linear_layer_with_gelu(kernels: dict[str, Model], instructions: str, weight: str, rows: int) -> None:
    generator = np.random.default_rng(rows)
    x = generator.standard_normal((rows, DEPTH), dtype=np.float32)
    values = generator.standard_normal((COLUMNS, DEPTH), dtype=np.float32).astype(weight).astype(np.float32) / 8
    gamma, beta, bias = (generator.standard_normal(size, dtype=np.float32) for size in (DEPTH, DEPTH, COLUMNS))
    parts = pack_linear(values, bias, form(weight, instructions))
    packed = np.concatenate([part.reshape(-1).view(np.uint8) for part in parts])
    result = execute(kernels[f"linear {instructions} {weight}"], x, np.stack([gamma, beta]), packed)

    left = normalized(x, gamma, beta)
    sums = left @ values.T.astype(np.float64) + bias
    twin = sums / 2 * (1 + np.vectorize(math.erf)(sums / math.sqrt(2)))
    # What float32 loses: half a unit of the magnitudes that are added up, in the product and in the normalization.
    magnitude = np.abs(left) @ np.abs(values).T + np.abs(bias)
    assert np.abs((result - twin) / magnitude).max() < 4 * EPSILON
    assert np.abs((result - twin) / magnitude).mean() < EPSILON / 4


@pytest.mark.parametrize(
    ("rows", "positions", "first", "seen", "grows"),
    [(64, 1500, 0, 1500, 0), (1, 1, 0, 1, 1), (1, 45, 0, 45, 1), (40, 40, 0, 1, 1), (5, 70, 33, 66, 1)],
    ids=["audio", "first token", "token", "prompt", "after padding"],
)
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_attention(
    kernels: dict[str, Model], instructions: str, rows: int, positions: int, first: int, seen: int, grows: int
) -> None:
    generator = np.random.default_rng(positions)
    queries = 3 * generator.standard_normal((2, rows, 64), dtype=np.float32)
    keys, values = (generator.standard_normal((2, positions, 64), dtype=np.float32) for _ in range(2))
    result = execute(kernels[f"attention {instructions}"], queries, keys, values, np.array([first, seen, grows]))

    scores = queries.astype(np.float64) @ keys.transpose(0, 2, 1) / 8
    number, position = np.arange(rows)[:, None], np.arange(positions)
    scores[:, (position < first) | (position >= seen + grows * number)] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    twin = weights / weights.sum(axis=-1, keepdims=True) @ values
    np.testing.assert_allclose(result, twin, rtol=0, atol=1e-5)


@pytest.mark.parametrize("growth", [1.0, 200.0], ids=["near", "far"])
@pytest.mark.parametrize(("rows", "positions"), [(64, 1500), (44, 256), (5, 70), (33, 20)])
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_attention_to_a_window(
    kernels: dict[str, Model], instructions: str, rows: int, positions: int, growth: float
) -> None:
    queries, keys, values = growing_heads(rows, positions, growth)
    result = execute(kernels[f"window {instructions}"], queries, keys, values)

    scores = queries.astype(np.float64) @ keys.transpose(0, 2, 1) / 8
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    twin = weights / weights.sum(axis=-1, keepdims=True) @ values
    # What a score loses is in proportion to it, and in proportion to that a weight is wrong.
    np.testing.assert_allclose(result, twin, rtol=0, atol=1e-5 * growth)


def test_float16_and_float32_are_sums_of_bfloat16() -> None:
    generator = np.random.default_rng(0)
    values = generator.standard_normal(10_000).astype(np.float32) * 10.0 ** generator.integers(-4, 4, 10_000)
    for parts, dtype in ((2, np.float16), (3, np.float32)):
        given = values.astype(dtype).astype(np.float32)
        split = [(part.astype(np.uint32) << 16).view(np.float32) for part in split_bfloat16(given, parts)]
        np.testing.assert_array_equal(np.sum(split, axis=0, dtype=np.float64), given)
