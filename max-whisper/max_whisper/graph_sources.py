"""The sources that compiled graphs depend on: the Python that traces them, and the Mojo of the operations they call.

Imports of our own modules are followed through nested packages. One that cannot be followed is an error: a source that
is left out would let a stale graph be read from the cache.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

_REGISTERED = re.compile(r'^@extensibility\.register\("(\w+)"\)', re.MULTILINE)
_MOJO_TEXT = re.compile(r'"""(?:[^\\]|\\.)*?"""|"(?:[^"\\\n]|\\.)*"|#[^\n]*', re.DOTALL)
_MOJO_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b|import[ \t]+([^\n]+))", re.MULTILINE)
_MOJO_NAMES = re.compile(r"[ \t]*(?:\(([^)]*)\)|([^\n]*))")


class UnfollowedImportError(Exception):
    """An import of one of our own modules whose source was not found."""


def graph_sources(builder: Path, kernels: Path) -> list[Path]:
    """The modules that the graphs of one Python module depend on, by name.

    builder: the module, in a package such as `max_whisper/graphs`. Counted are the modules of that package that it
    imports, those of the folder `kernels` in which an operation is registered that one of them names, and all that
    these import in turn. Raises UnfollowedImportError for an import from that package or among the kernels that leads
    to no file.
    """
    python = _reachable([builder], lambda path, text: _python_imports(path, text, builder.parent))
    traced = "".join(python.values())
    operations = [
        path
        for path in sorted(kernels.rglob("*.mojo"))
        if any(f'"{name}"' in traced for name in _REGISTERED.findall(path.read_text()))
    ]
    mojo = _reachable(operations, lambda path, text: mojo_imports(path, text, kernels))
    return sorted([*python, *mojo], key=lambda path: (path.name, path))


def _reachable(starts: list[Path], imported: Callable[[Path, str], Iterator[Path]]) -> dict[Path, str]:
    """The text of the files, of those that they import, and so on."""
    texts: dict[Path, str] = {}
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path not in texts:
            texts[path] = path.read_text()
            waiting += imported(path, texts[path])
    return texts


def _python_imports(path: Path, text: str, package: Path) -> Iterator[Path]:
    """The files of the modules of a package that one of them imports."""
    top = package
    while (top.parent / "__init__.py").is_file():
        top = top.parent
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.ImportFrom):
            folder = top.parent if not node.level else path.parents[node.level - 1]
            start = folder.joinpath(*(node.module.split(".") if node.module else []))
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                start = top.parent.joinpath(*alias.name.split("."))
                if start == package or package in start.parents:
                    yield from _modules(start, [], ".py", path, node.lineno)
            continue
        else:
            continue
        if start == package or package in start.parents:
            yield from _modules(start, names, ".py", path, node.lineno)
        elif start == package.parent and package.name in names:
            yield from _modules(package, [], ".py", path, node.lineno)


def mojo_imports(path: Path, text: str, kernels: Path) -> Iterator[Path]:
    """The files of the kernels' modules that one of them imports."""
    # Texts and comments may read like imports; blanked, they leave all lines where they were.
    code = _MOJO_TEXT.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    for match in _MOJO_IMPORT.finditer(code):
        module, plain = match.groups()
        line = code.count("\n", 0, match.start(1) if module else match.start(2)) + 1
        if module:
            names = _names(code, match.end())
            start = _mojo_module(module, path, kernels, line)
            if start:
                yield from _modules(start, names, ".mojo", path, line)
            continue
        for name in plain.split(","):
            start = _mojo_module(name.split(" as ")[0].strip(), path, kernels, line)
            if start:
                yield from _modules(start, [], ".mojo", path, line)


def _names(code: str, start: int) -> list[str]:
    """The names that follow on `import`, in parentheses over several lines or without."""
    match = _MOJO_NAMES.match(code, start)
    assert match
    listed = match.group(1) or match.group(2) or ""
    return [name.split(" as ")[0].strip() for name in listed.split(",") if name.strip()]


def _mojo_module(module: str, path: Path, kernels: Path, line: int) -> Path | None:
    """Where a module of the kernels lies, without its ending; None for one of somebody else."""
    name = module.lstrip(".")
    level = len(module) - len(name)
    parts = name.split(".") if name else []
    if not level:
        return kernels.parent.joinpath(*parts) if parts[0] == kernels.name else None
    folder = path.parents[level - 1]
    if folder != kernels and kernels not in folder.parents:
        raise UnfollowedImportError(f"{path}:{line}: {module} leads out of {kernels}")
    return folder.joinpath(*parts)


def _modules(start: Path, names: list[str], ending: str, path: Path, line: int) -> Iterator[Path]:
    """The file of a module, or of a package and of those of its modules that are imported by name."""
    module = start.with_name(start.name + ending)
    package = start / f"__init__{ending}"
    if module.is_file():
        yield module
    elif package.is_file():
        yield package
        modules = [start / f"{name}{ending}" for name in names]
        yield from (file for file in modules if file.is_file())
        packages = [start / name / f"__init__{ending}" for name in names]
        yield from (file for file in packages if file.is_file())
    else:
        raise UnfollowedImportError(f"{path}:{line}: imports {start.name}, but there is no {module} and no {package}")
