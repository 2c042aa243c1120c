"""Which sources compiled graphs depend on: all that they use, and no others."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from max.graph import DeviceRef
from max.graph import Module as GraphModule

from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.models.whisper.graphs import fused, whisper
from max_whisper.models.whisper.graphs.packing import Packing
from max_whisper.models.whisper.graphs.whisper import build_graphs
from max_whisper.runtime.graph_sources import graph_sources
from max_whisper.runtime.kernels import KERNELS

DIMS = load_checkpoint("nano").dims
PACKING = Packing.of("int8", is_float16=True, has_amx=False)


def names(builder: ModuleType) -> list[str]:
    return [path.name for path in graph_sources(Path(builder.__file__ or ""), KERNELS)]


def test_the_graphs_of_one_module_and_the_kernels_they_call() -> None:
    assert {"whisper.py", "decoder.py", "encoder.py", "layers.py", "few_rows_linear.mojo"} <= set(names(whisper))
    assert "fused.py" not in names(whisper)
    assert {"fused.py", "packing.py", "encoder.mojo", "attention.mojo", "tiles.mojo"} <= set(names(fused))
    assert not {"whisper.py", "alone.mojo", "few_rows_linear.mojo"} & set(names(fused))


@pytest.mark.parametrize(
    ("builder", "trace"),
    [
        (whisper, lambda: build_graphs(DIMS, DeviceRef.CPU())),
        (fused, lambda: fused.build_fused_graphs(DIMS, packing=PACKING, instructions="plain")),
    ],
    ids=["float32", "fused"],
)
def test_every_operation_of_a_traced_graph_is_in_a_counted_source(
    builder: ModuleType, trace: Callable[[], GraphModule]
) -> None:
    called = set(re.findall(r'mo\.custom \[symbol = "(\w+)"', str(trace().mlir_module)))
    assert called
    counted = "".join((KERNELS / name).read_text() for name in names(builder) if name.endswith(".mojo"))
    assert {name for name in called if f'register("{name}")' not in counted} == set()


def test_imports_are_followed_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "builder.py").write_text(
        'from max_whisper.models.whisper.graphs.part import x\nops.custom("first", x)\n'
    )
    (tmp_path / "part.py").write_text("from max_whisper.models.whisper.graphs.builder import y\n")
    (tmp_path / "first.mojo").write_text('from .shared import (\n    x,\n)\n\n\n@extensibility.register("first")\n')
    (tmp_path / "second.mojo").write_text('from .shared import x\n\n\n@extensibility.register("second")\n')
    (tmp_path / "shared.mojo").write_text("from .deepest import x\nimport extensibility\n")
    (tmp_path / "deepest.mojo").write_text("")
    found = graph_sources(tmp_path / "builder.py", tmp_path)
    assert [path.name for path in found] == ["builder.py", "deepest.mojo", "first.mojo", "part.py", "shared.mojo"]


def test_a_module_that_is_not_where_it_is_looked_for_is_no_silent_gap(tmp_path: Path) -> None:
    (tmp_path / "builder.py").write_text("from max_whisper.models.whisper.graphs.gone import x\n")
    with pytest.raises(FileNotFoundError):
        graph_sources(tmp_path / "builder.py", tmp_path)
