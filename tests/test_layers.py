"""The house: imports go downward only, and no two modules import each other."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from max_whisper.runtime.graph_sources import mojo_imports
from max_whisper.runtime.kernels import KERNELS

PACKAGE = Path(__file__).resolve().parents[1] / "max-whisper" / "max_whisper"

# From the lowest to the highest. A module imports from its own layer and from those before it.
LAYERS = (
    ("errors", "version", "progress", "checks", "definitions", "lazily"),
    ("runtime",),
    ("results",),
    ("audio",),
    ("models", "models.files"),
    ("models.whisper",),
    ("backends",),
    ("options",),
    ("decoding",),
    ("transcription",),
    ("transcriber",),
    ("", "diagnostics"),  # the package's own door, `import max_whisper`
    ("cli",),
    ("__main__",),
)

# What the layers above the backends may know of Whisper: its vocabulary and its sizes, in which decoding is written.
# Its graphs, its weights and their files are known to the backends and below alone.
WHISPER_VOCABULARY = ("models.whisper.dimensions", "models.whisper.languages", "models.whisper.tokenizer")
# The lab of parity looks inside a model, which is its purpose.
LOOKS_INSIDE = ("diagnostics",)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def python_modules() -> dict[str, Path]:
    return {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imported_modules(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules of this package that a module imports, inside functions and for types too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import, which this test does not follow"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == "max_whisper" or name.startswith("max_whisper."):
                inner = name.removeprefix("max_whisper").removeprefix(".")
                yield inner if inner in known else inner.rpartition(".")[0]


def layer_of(module: str) -> int:
    matching = [
        (len(name), number)
        for number, names in enumerate(LAYERS)
        for name in names
        if module == name or (name and module.startswith(f"{name}."))
    ]
    assert matching, f"{module} is in none of LAYERS"
    return max(matching)[1]


def circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that can reach each other."""
    reached: dict[str, set[str]] = {}
    for start in imports:
        waiting, seen = [start], set[str]()
        while waiting:
            for name in imports.get(waiting.pop(), ()):
                if name not in seen:
                    seen.add(name)
                    waiting.append(name)
        reached[start] = seen
    groups = {tuple(sorted(b for b in reached if b in reached[a] and a in reached[b])) for a in reached}
    return [list(group) for group in groups if group]


def python_imports() -> dict[str, set[str]]:
    known = python_modules()
    return {name: set(imported_modules(path, known)) - {name} for name, path in known.items()}


def test_python_imports_go_downward() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, every in python_imports().items()
        for imported in every
        if layer_of(imported) > layer_of(name)
    ]
    assert wrong == []


def test_python_has_no_circles() -> None:
    assert circles(python_imports()) == []


def test_whisper_is_known_to_the_backends_and_below() -> None:
    above = layer_of("backends")
    wrong = [
        f"{name} imports {imported}"
        for name, every in python_imports().items()
        if layer_of(name) > above and not name.startswith(LOOKS_INSIDE)
        for imported in every
        if imported.startswith("models.") and imported not in WHISPER_VOCABULARY
    ]
    assert wrong == []


def test_the_other_layers_know_no_family_of_models() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, every in python_imports().items()
        if name.split(".")[0] in ("runtime", "results", "audio")
        for imported in every
        if imported.startswith("models")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
    ],
)
def test_the_search_for_circles(imports: dict[str, set[str]], expected: list[list[str]]) -> None:
    assert circles(imports) == expected


def test_kernels_import_downward_only() -> None:
    levels = ["memory", "instructions", "matmul", "attention", "sampling", "spectrum", "operations"]
    graph: dict[Path, list[Path]] = {}
    for path in KERNELS.glob("*/*.mojo"):
        graph[path] = [used for used in mojo_imports(path, path.read_text(), KERNELS) if used.name != "__init__.mojo"]
        for used in graph[path]:
            assert levels.index(used.parent.name) <= levels.index(path.parent.name), f"{path} imports {used}"
    TopologicalSorter(graph).prepare()  # raises CycleError
    assert {path.parent.name for path in graph} == set(levels)
