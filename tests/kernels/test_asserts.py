"""Asserts of the kernels: they hold through whole models, and one that does not ends the process with a message.

Linear layers and attention by themselves run with asserts in test_tiles.py and test_floats.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import max_whisper
from max_whisper.graphs.packing import COMPUTE_TYPES

RECORDING = Path(__file__).resolve().parents[2] / "audio_samples" / "greeting.ogg"
OUTSIDE = """
from pathlib import Path
import sys
import numpy as np
from max.driver import Buffer
from max.dtype import DType
from max.graph import DeviceRef, Graph, TensorType, ops
from benchmarks.kernel_parts import packaged_parts
from tests.kernels.asserting import asserting_session

cpu, kernels = DeviceRef.CPU(), packaged_parts(Path("tests/kernels/outside").resolve())
inputs = [TensorType(DType.float32, ["rows", "columns"], cpu), TensorType(DType.int64, [2], cpu)]
with Graph("load", input_types=inputs, custom_extensions=[kernels]) as graph:
    graph.output(*ops.custom("load_at", cpu, list(graph.inputs), [TensorType(DType.float32, [1], cpu)]))
model = asserting_session().load(graph, custom_extensions=[kernels])
x = Buffer.from_numpy(np.arange(12, dtype=np.float32).reshape(3, 4))
for row, column in ((2, 3), (3, 0)):
    (value,) = model.execute(x, Buffer.from_numpy(np.array([row, column])))
    print("loaded", value.to_numpy()[0], flush=True)
"""

WHOLE = """
import sys
from max import engine
from tests.kernels.asserting import asserting_session

engine.InferenceSession = lambda devices: asserting_session()
import max_whisper

model = max_whisper.load_model("nano", device="cpu", compute_type=sys.argv[1])
for beam_size in (None, 3):
    print(model.transcribe(sys.argv[2], beam_size=beam_size).text)
"""


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in Python, in a process that imports what this one does."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=variables)


def test_an_access_outside_its_view_ends_the_process() -> None:
    done = run(OUTSIDE)
    assert "loaded 11.0" in done.stdout
    assert done.returncode < 0
    assert "rows 3 to 4 and columns 0 to 1 of a view [3, 4]" in done.stdout + done.stderr
    assert done.stdout.count("loaded") == 1


@pytest.mark.parametrize("compute_type", COMPUTE_TYPES)
def test_asserts_hold_through_whole_models(tmp_path: Path, compute_type: str) -> None:
    # In a cache of its own: graphs with asserts are not to be found by anybody else.
    done = run(WHOLE, compute_type, str(RECORDING), MAX_WHISPER_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    model = max_whisper.load_model("nano", device="cpu", compute_type=compute_type)
    texts = [model.transcribe(RECORDING, beam_size=beam_size).text for beam_size in (None, 3)]
    assert done.stdout.splitlines() == texts
