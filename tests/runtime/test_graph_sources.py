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
from max_whisper.runtime.graph_sources import UnfollowedImportError, graph_sources
from max_whisper.runtime.kernels import KERNELS

DIMS = load_checkpoint("nano").dims
PACKING = Packing.of("int8", is_float16=True, has_amx=False)


def sources(builder: ModuleType) -> list[Path]:
    return graph_sources(Path(builder.__file__ or ""), KERNELS)


def names(builder: ModuleType) -> list[str]:
    return [path.name for path in sources(builder)]


def test_the_graphs_of_one_module_and_the_kernels_they_call() -> None:
    assert {"whisper.py", "decoder.py", "encoder.py", "layers.py", "few_rows_linear.mojo"} <= set(names(whisper))
    assert "fused.py" not in names(whisper)
    assert {"fused.py", "packing.py", "encoder.mojo", "window.mojo", "tiles.mojo"} <= set(names(fused))
    assert not {"whisper.py", "linear_alone.mojo", "few_rows_linear.mojo"} & set(names(fused))


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
    counted = "".join(path.read_text() for path in sources(builder) if path.suffix == ".mojo")
    assert {name for name in called if f'register("{name}")' not in counted} == set()


def make(folder: Path, files: dict[str, str]) -> None:
    """Files in a folder; in each package a file that makes it one."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for package in path.relative_to(folder).parents:
            if package.parts:
                (folder / package / f"__init__{path.suffix}").touch()


def found(folder: Path) -> list[str]:
    """The sources of a builder, those of packages left out."""
    paths = graph_sources(folder / "house/graphs/builder.py", folder / "kernels")
    return [path.name for path in paths if not path.name.startswith("__init__")]


def test_imports_are_followed_to_the_end(tmp_path: Path) -> None:
    files = {
        "house/graphs/builder.py": 'from house.graphs.part import x\nops.custom("first", x)\n',
        "house/graphs/part.py": "from house.graphs.builder import y\n",
        "kernels/first.mojo": 'from .shared import (\n    x,\n)\n\n\n@extensibility.register("first")\n',
        "kernels/second.mojo": 'from .shared import x\n\n\n@extensibility.register("second")\n',
        "kernels/shared.mojo": "from .deepest import x\nimport extensibility\n",
        "kernels/deepest.mojo": "",
    }
    make(tmp_path, files)
    assert found(tmp_path) == ["builder.py", "deepest.mojo", "first.mojo", "part.py", "shared.mojo"]


@pytest.mark.parametrize(
    "statement",
    [
        "from house.graphs.part import x",
        "from house.graphs import part",
        "from house.graphs import (\n    part,\n    other,\n)",
        "from house.graphs.part import *",
        "import house.graphs.part",
        "import house.graphs.part as p",
        "from .part import x",
        "from . import part",
        "def f():\n    from house.graphs.part import x",
    ],
)
def test_every_form_of_a_python_import_is_followed(tmp_path: Path, statement: str) -> None:
    make(tmp_path, {"house/graphs/builder.py": f"import os\nfrom house.audio import z\n{statement}\n"})
    make(tmp_path, {"house/graphs/part.py": "", "house/graphs/unused.py": "", "house/audio.py": ""})
    assert found(tmp_path) == ["builder.py", "part.py"]


@pytest.mark.parametrize(
    "statement",
    [
        "from ..low.tile import x, y as z",
        "from ..low.tile import (\n    x,  # one\n    y,\n)",
        "from ..low.tile import *",
        "from ..low import tile",
        "from ..low import other, tile as t",
        "from kernels.low.tile import x",
        "import kernels.low.tile",
        "import std.math, kernels.low.tile as t",
    ],
)
def test_every_form_of_a_mojo_import_is_followed(tmp_path: Path, statement: str) -> None:
    operation = f'"""Reads as if it were one:\nfrom .gone import x"""\n{statement}\n@extensibility.register("first")\n'
    make(tmp_path, {"house/graphs/builder.py": 'ops.custom("first")\n', "kernels/high/first.mojo": operation})
    make(tmp_path, {"kernels/low/tile.mojo": "from .deep.bit import x\n", "kernels/low/deep/bit.mojo": ""})
    make(tmp_path, {"kernels/low/unused.mojo": ""})
    assert found(tmp_path) == ["bit.mojo", "builder.py", "first.mojo", "tile.mojo"]


def test_a_module_that_is_not_where_it_is_looked_for_is_no_silent_gap(tmp_path: Path) -> None:
    make(tmp_path, {"house/graphs/builder.py": "x = 1\nfrom house.graphs.gone import x\n"})
    with pytest.raises(UnfollowedImportError, match=r"builder\.py:2: imports gone"):
        found(tmp_path)


@pytest.mark.parametrize("statement", ["from .gone import x", "import .gone", "from kernels.gone import (\n    x\n)"])
def test_nor_is_one_of_the_kernels(tmp_path: Path, statement: str) -> None:
    make(tmp_path, {"house/graphs/builder.py": 'ops.custom("first")\n'})
    make(tmp_path, {"kernels/high/first.mojo": f'\n\n{statement}\n@extensibility.register("first")\n'})
    with pytest.raises(UnfollowedImportError, match=r"first\.mojo:3: imports gone"):
        found(tmp_path)


def test_an_import_from_above_the_kernels_is_refused(tmp_path: Path) -> None:
    make(tmp_path, {"house/graphs/builder.py": 'ops.custom("first")\n'})
    make(tmp_path, {"kernels/first.mojo": 'from ..other import x\n@extensibility.register("first")\n'})
    with pytest.raises(UnfollowedImportError, match=r"first\.mojo:1: \.\.other leads out of"):
        found(tmp_path)


def test_every_kernel_is_counted_by_some_graph_and_imports_can_be_followed() -> None:
    counted = {path for builder in (whisper, fused) for path in sources(builder)}
    every = {path for path in KERNELS.rglob("*.mojo") if path.name != "__init__.mojo"}
    assert every - counted == set()
