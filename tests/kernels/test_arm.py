"""Linear layers with Arm's instructions, compiled for Linux on Arm and run by an emulator, against their NumPy twins.

Skipped where there is no cross compiler (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross) or no emulator
(qemu-user or qemu-user-static).
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mojo.run import subprocess_run_mojo

from max_whisper.models.whisper.graphs.packing import pack_linear, to_bfloat16
from max_whisper.runtime.kernels import KERNELS

HERE = Path(__file__).parent
COMPILER = shutil.which("aarch64-linux-gnu-gcc")
EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
CPUS = {"i8mm": "max", "dotprod": "neoverse-n1", "plain": "cortex-a72"}
"""What is emulated: a CPU that has these instructions, and of the others' none that would be better."""

pytestmark = pytest.mark.skipif(not (COMPILER and EMULATOR), reason="no cross compiler or emulator")
Linear = Callable[[np.ndarray, np.ndarray, np.ndarray, str], np.ndarray]


@pytest.fixture(scope="module", params=CPUS)
def linear(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Linear:
    """A linear layer on an emulated CPU: x [rows, depth], weight [columns, depth], bias, compute type -> results."""
    folder = tmp_path_factory.mktemp("arm")
    program, part = str(folder / "linear"), str(folder / "linear.o")
    target = ["--target-triple", "aarch64-unknown-linux-gnu", "--target-cpu", "cortex-a72", "--emit", "object"]
    defined = ["-D", f"instructions={request.param}", "-I", str(KERNELS.parent), "--disable-warnings"]
    subprocess_run_mojo(["build", *target, *defined, str(HERE / "linear.mojo"), "-o", part], check=True)
    subprocess.run([str(COMPILER), "-static", "-O1", str(HERE / "linear.c"), part, "-lm", "-o", program], check=True)

    def run(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, compute_type: str) -> np.ndarray:
        packed = b"".join(array.tobytes() for array in pack_linear(weight, bias, compute_type))
        sizes = map(str, (len(x), len(weight), x.shape[1], len(packed)))
        command = [str(EMULATOR), "-cpu", CPUS[request.param], program, compute_type, *sizes]
        done = subprocess.run(command, input=x.tobytes() + packed, capture_output=True, check=True)
        return np.frombuffer(done.stdout, np.float32).reshape(len(x), len(weight))

    return run


@pytest.mark.parametrize("rows", [1, 4, 7, 17, 32])
def test_int8(linear: Linear, rows: int) -> None:
    generator = np.random.default_rng(rows)
    x, weight = (generator.standard_normal(shape, dtype=np.float32) for shape in ((rows, 80), (64, 80)))
    bias = generator.standard_normal(64, dtype=np.float32)
    steps = np.abs(weight).max(axis=1, keepdims=True) / np.float32(127)
    lowest = x.min(axis=1, keepdims=True)
    row_steps = (x.max(axis=1, keepdims=True) - lowest) / np.float32(255)
    values = lowest + np.rint((x - lowest) / row_steps) * row_steps
    twin = values @ (np.rint(weight / steps) * steps).T + bias
    result = linear(x, weight, bias, "int8")
    # Here and there a value falls to the other side of a half.
    np.testing.assert_allclose(result, twin, rtol=0, atol=3 * float(row_steps.max() * np.abs(weight).max()))
    assert np.mean(np.abs(result - twin) < 1e-5) > 0.95


def test_int8_of_the_largest_values(linear: Linear) -> None:
    signs = 1 - 2 * (np.arange(16)[:, None] >> np.arange(4) & 1)
    patterns = np.tile(signs, (2, 20)).astype(np.float32)
    result = linear(patterns, patterns, np.zeros(32, np.float32), "int8")
    np.testing.assert_allclose(result, patterns @ patterns.T, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 4, 7, 17, 32])
def test_bfloat16(linear: Linear, rows: int) -> None:
    generator = np.random.default_rng(rows)
    x, weight = (generator.standard_normal(shape, dtype=np.float32) for shape in ((rows, 80), (64, 80)))
    bias = generator.standard_normal(64, dtype=np.float32)
    kept = [(to_bfloat16(values).astype(np.uint32) << 16).view(np.float32).astype(np.float64) for values in (x, weight)]
    np.testing.assert_allclose(linear(x, weight, bias, "bfloat16"), kept[0] @ kept[1].T + bias, rtol=0, atol=1e-4)
