"""The kernel `few_rows_linear` against its NumPy twin."""

import numpy as np
import pytest
from max.driver import Buffer
from max.dtype import DType
from max.engine import Model
from max.graph import DeviceRef, Graph, TensorType, ops
from max.graph import Module as GraphModule

from max_whisper.runtime.kernels import KERNELS
from tests.kernels.asserting import asserting_session

SHAPES = [(37, 64), (3, 192), (1536, 384)]  # out, in: a last tile cut short, fewer columns than a tile, many threads


@pytest.fixture(scope="module")
def kernels() -> dict[str, Model]:
    """The kernel for each shape and precision, compiled together."""
    module = GraphModule()
    cpu = DeviceRef.CPU()
    for columns, depth in SHAPES:
        for dtype in (DType.float16, DType.float32):
            inputs = [TensorType(DType.float32, ["rows", depth], cpu), TensorType(dtype, [columns, depth], cpu)]
            result = TensorType(DType.float32, ["rows", columns], cpu)
            name = f"{columns}x{depth} {dtype.name}"
            with Graph(name, input_types=inputs, module=module, custom_extensions=[KERNELS]) as graph:
                graph.output(*ops.custom("few_rows_linear", cpu, list(graph.inputs), [result]))
    return asserting_session().load_all(module, custom_extensions=[KERNELS])


@pytest.mark.parametrize("rows", [1, 3, 4, 9])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(("columns", "depth"), SHAPES)
def test_it_is_the_product(kernels: dict[str, Model], columns: int, depth: int, dtype: str, rows: int) -> None:
    generator = np.random.default_rng(rows)
    x = generator.standard_normal((rows, depth), dtype=np.float32)
    weight = generator.standard_normal((columns, depth), dtype=np.float32).astype(dtype)
    (result,) = kernels[f"{columns}x{depth} {dtype}"].execute(Buffer.from_numpy(x), Buffer.from_numpy(weight))
    twin = x.astype(np.float64) @ weight.astype(np.float64).T
    np.testing.assert_allclose(result.to_numpy(), twin, rtol=0, atol=1e-5 * np.sqrt(depth))


@pytest.fixture(scope="module")
def loose() -> Model:
    """The kernel in a graph that promises nothing of its inputs."""
    cpu = DeviceRef.CPU()
    inputs = [TensorType(DType.float32, ["rows", "k"], cpu), TensorType(DType.float16, ["columns", "depth"], cpu)]
    result = TensorType(DType.float32, ["rows", "columns"], cpu)
    with Graph("loose", input_types=inputs, custom_extensions=[KERNELS]) as graph:
        graph.output(*ops.custom("few_rows_linear", cpu, list(graph.inputs), [result]))
    return asserting_session().load(graph, custom_extensions=[KERNELS])


@pytest.mark.parametrize(
    ("depth", "weight_depth", "message"),
    [
        (32, 48, "columns of weight is 48, and must be 32"),
        (40, 40, "columns of x is 40, and must be a multiple of 16"),
        (0, 0, "columns of x is 0, and must be a multiple of 16"),
    ],
)
def test_what_does_not_fit_is_refused(loose: Model, depth: int, weight_depth: int, message: str) -> None:
    x, weight = np.zeros((1, depth), np.float32), np.zeros((8, weight_depth), np.float16)
    with pytest.raises(ValueError, match=f"few_rows_linear: {message}"):
        loose.execute(Buffer.from_numpy(x), Buffer.from_numpy(weight))
