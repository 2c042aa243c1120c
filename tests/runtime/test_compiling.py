"""Compiled graphs: kept once, under a name that changes with all they depend on; devices."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from max import driver, engine
from max.dtype import DType
from max.graph import Graph, TensorType

from max_whisper.errors import CheckpointError, DeviceError
from max_whisper.models.whisper import compiled
from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.models.whisper.compiled import compile_ahead, load_fused_graphs, load_graphs
from max_whisper.models.whisper.graphs import fused, whisper
from max_whisper.progress import Step
from max_whisper.runtime import compiling, devices
from max_whisper.runtime.compiling import GraphRecipe, compile_graphs, compile_session, compiled_entry
from max_whisper.runtime.cpu import cpu_instructions
from max_whisper.runtime.devices import Device, select_device
from max_whisper.runtime.kernels import KERNELS

CPU = select_device("cpu")


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def progress(messages: list[str]) -> Callable[[Step], None]:
    return lambda step: messages.append(step.message)


def compiled_file() -> Path:
    nano = load_checkpoint("nano")
    load_fused_graphs(nano, CPU, "float32")
    recipe = compiled.fused_recipe(nano, CPU, "float32", cpu_instructions())
    return compiled_entry(CPU, recipe).path


def cache_key(device: Device, recipe: GraphRecipe) -> str:
    return compiled_entry(device, recipe).name


def test_a_second_start_compiles_nothing(
    monkeypatch: pytest.MonkeyPatch, messages: list[str], progress: Callable[[Step], None]
) -> None:
    assert compiled_file().exists()

    def compile_again(*_: object, **__: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiling.engine.InferenceSession, "compile", compile_again)
    monkeypatch.setattr(fused, "build_fused_graphs", compile_again)
    load_fused_graphs(load_checkpoint("nano"), CPU, "float32", progress)
    assert messages == ["loading the model"]


def doubling() -> GraphRecipe:
    """A graph that is compiled in a moment."""

    def build() -> Graph:
        with Graph("doubling", input_types=[TensorType(DType.float32, ["n"], CPU.reference)]) as graph:
            graph.output(graph.inputs[0].tensor * 2)
        return graph

    return GraphRecipe("doubling", Path(fused.__file__), {}, build, "a doubling", "a moment")


def doubled(graphs: engine.CompiledModel) -> list[float]:
    with compile_session(CPU) as session:
        (result,) = session.init(graphs).execute(driver.Buffer.from_numpy(np.array([1.5, -2], np.float32)))
    return result.to_numpy().tolist()


def flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [lambda content: content[:1000], flip_a_bit, lambda content: b""])
def test_a_damaged_file_is_compiled_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    messages: list[str],
    progress: Callable[[Step], None],
    damage: Callable[[bytes], bytes],
) -> None:
    """Cut short, one bit of machine code changed, and empty."""
    monkeypatch.setattr(compiling, "compiled_dir", lambda: tmp_path)
    with compile_session(CPU) as session:
        _, path = compile_graphs(session, CPU, doubling(), progress)
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        graphs, _ = compile_graphs(session, CPU, doubling(), progress)
        assert doubled(graphs) == [3, -4]
        assert messages == ["compiling a doubling for this CPU, once, a moment"] * 2
        visible = [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")]
        assert visible == [path.parent.name]  # nothing half-written beside it
        graphs, _ = compile_graphs(session, CPU, doubling(), progress)
    assert doubled(graphs) == [3, -4]
    assert len(messages) == 2


def test_a_disk_that_is_full_when_graphs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the one that MAX 26.7 raised on a file system of 900 kB."""

    class Session:
        def compile(self, *_: object, **__: object) -> object:
            return self

        def export_mef(self, path: Path) -> None:
            path.write_bytes(b"half")
            raise ValueError("available space in disk less than requested size")

    monkeypatch.setattr(compiling, "compiled_dir", lambda: tmp_path)
    with pytest.raises(CheckpointError, match=r"cannot write .* \(available space .*MAX_WHISPER_CACHE$"):
        compiling.compile_graphs(Session(), CPU, doubling())
    assert [path for path in tmp_path.rglob("*") if path.suffix != ".lock"] == []


def test_compiling_ahead_reads_no_weights_and_is_what_loading_reads(
    monkeypatch: pytest.MonkeyPatch, messages: list[str], progress: Callable[[Step], None]
) -> None:
    nano = load_checkpoint("nano")
    load_fused_graphs(nano, CPU, "float32")
    monkeypatch.setattr(type(nano.weights), "__getitem__", lambda *_: pytest.fail("read a weight"))
    monkeypatch.setattr(type(nano.weights), "stored", lambda *_: pytest.fail("read a weight"))
    assert compile_ahead(nano, CPU, "float32", progress).is_file()
    assert messages == []  # what loading has compiled is found


def test_a_folder_that_cannot_be_written_is_told_before_compiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiling, "compiled_dir", lambda: tmp_path / "file" / "compiled")
    monkeypatch.setattr(whisper, "build_graphs", lambda *_, **__: pytest.fail("traced"))
    with pytest.raises(CheckpointError, match=r"cannot write .*MAX_WHISPER_CACHE"):
        load_graphs(load_checkpoint("nano"), CPU)


def test_the_name_changes_with_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nano = load_checkpoint("nano")
    plain = compiled.graph_recipe(nano, CPU, every_layer=False)
    wider = replace(nano, dims=replace(nano.dims, n_vocab=51866))
    names = [
        cache_key(CPU, plain),
        cache_key(CPU, replace(plain, parameters={**plain.parameters, "stored": "float32"})),
        cache_key(CPU, compiled.graph_recipe(nano, CPU, every_layer=True)),
        cache_key(CPU, compiled.graph_recipe(wider, CPU, every_layer=False)),
        cache_key(GpuLike("gpu", driver.CPU()), plain),
        cache_key(CPU, compiled.fused_recipe(nano, CPU, "int8", "avx2")),
        cache_key(CPU, compiled.fused_recipe(nano, CPU, "int8", "plain")),
        cache_key(CPU, compiled.fused_recipe(nano, CPU, "bfloat16", "plain")),
    ]
    with monkeypatch.context() as changed:
        changed.setattr(driver, "__version__", "0.0.0")
        names.append(cache_key(CPU, plain))
    with monkeypatch.context() as changed:
        changed.setattr(devices, "cpu_architecture", lambda: "another CPU")
        names.append(cache_key(CPU, plain))
    with monkeypatch.context() as changed:
        kernels = shutil.copytree(KERNELS, tmp_path / "kernels")
        (kernels / "operations" / "few_rows_linear.mojo").write_text("# another kernel")
        changed.setattr(compiling, "KERNELS", kernels)
        names.append(cache_key(CPU, plain))
        (kernels / "operations" / "encoder.mojo").write_text("# a kernel that these graphs do not call")
        assert cache_key(CPU, plain) == names[-1]
    names.append(cache_key(CPU, replace(plain, builder=Path(fused.__file__))))
    assert len(set(names)) == len(names)
    assert names[0] == cache_key(CPU, plain)


class GpuLike(Device):
    """A device with the name of a GPU, on a machine that may have none."""

    @property
    def architecture(self) -> str:
        return "sm_90a"


def test_child_processes_see_the_environment_as_it_was() -> None:
    compiled_file()
    seen = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout.splitlines()
    for name in ("PYTHONEXECUTABLE", "PYTHONHOME", "PYTHONPATH", "MOJO_PYTHON_LIBRARY"):
        told = [line for line in seen if line.startswith(f"{name}=")]
        assert told == ([f"{name}={os.environ[name]}"] if name in os.environ else [])


def test_a_start_with_compiled_fused_graphs_does_without_max_nn() -> None:
    program = (
        "import sys, max_whisper; max_whisper.load_model('nano', compute_type='int8'); print('max.nn' in sys.modules)"
    )
    for _ in range(2):  # the first may compile
        seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "False"


def test_devices() -> None:
    assert select_device("cpu").name == "cpu"
    assert select_device("auto").name in ("cpu", "gpu")
    with pytest.raises(DeviceError, match="unknown device 'tpu': choose one of auto, cpu, gpu"):
        select_device("tpu")


def test_the_device_is_told_before_a_model_is_looked_for() -> None:
    from max_whisper import load_model

    for backend in ("max", "hybrid", "torch"):
        with pytest.raises(DeviceError, match="unknown device 'tpu'"):
            load_model("no such model", backend=backend, device="tpu")
