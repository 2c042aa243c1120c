"""The sources that compiled graphs depend on: the Python that traces them, and the Mojo of the operations they call."""

import re
from collections.abc import Callable
from pathlib import Path

_PYTHON_IMPORT = re.compile(r"^\s*from max_whisper\.models\.whisper\.graphs\.(\w+) import", re.MULTILINE)
_MOJO_IMPORT = re.compile(r"^\s*from \.(\w+) import", re.MULTILINE)
_REGISTERED = re.compile(r'^@extensibility\.register\("(\w+)"\)', re.MULTILINE)


def graph_sources(builder: Path, kernels: Path) -> list[Path]:
    """The modules that the graphs of one Python module depend on, by name.

    builder: the module, in the folder `graphs`. Counted are the modules of that folder that it imports, those of the
    folder `kernels` in which an operation is registered that one of them names, and all that these import in turn.
    """
    folder = builder.parent
    python = _reachable([builder], lambda text: [folder / f"{name}.py" for name in _PYTHON_IMPORT.findall(text)])
    traced = "".join(python.values())
    operations = [
        path
        for path in kernels.glob("*.mojo")
        if any(f'"{name}"' in traced for name in _REGISTERED.findall(path.read_text()))
    ]
    mojo = _reachable(operations, lambda text: [kernels / f"{name}.mojo" for name in _MOJO_IMPORT.findall(text)])
    return sorted([*python, *mojo], key=lambda path: path.name)


def _reachable(starts: list[Path], imported: Callable[[str], list[Path]]) -> dict[Path, str]:
    """The text of the files, of those that they import, and so on."""
    texts: dict[Path, str] = {}
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path not in texts:
            texts[path] = path.read_text()
            waiting += imported(texts[path])
    return texts
