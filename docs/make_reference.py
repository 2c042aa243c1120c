"""Write the reference of the Python API, as HTML, from the docstrings: python docs/make_reference.py

It documents the public door: the names of `max_whisper.__all__`, and the steps that a `progress` function hears of.
pdoc, which the extra `dev` installs, writes the pages. Whatever pdoc warns of is an error.
"""

import argparse
import dataclasses
import inspect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pdoc

import max_whisper

FOLDER = Path(__file__).resolve().parents[1] / "build" / "docs"
MODULES = ("max_whisper", "max_whisper.progress", r"!max_whisper\.(?!progress$)")  # no other module of the package

_ENTRY = re.compile(r"^(\w+): (?=\S)")  # a line of a docstring
_FIELD = re.compile(r"^    (\w+): [^#\n]*  # (.*)$", re.MULTILINE)  # a line of a class


def write_reference(folder: Path) -> None:
    """Write a page for each module, and an index, into `folder`."""
    for name in max_whisper.__all__:
        # A name may be imported only when it is asked for; pdoc looks at those that are there.
        setattr(max_whisper, name, getattr(max_whisper, name))
    for function in _functions():
        function.__doc__ = as_list(inspect.getdoc(function) or "", inspect.signature(function).parameters)
    for kind in _classes():
        if fields := field_list(kind):
            kind.__doc__ = f"{inspect.getdoc(kind)}\n\n{fields}"
    pdoc.render.configure(docformat="google", show_source=False, footer_text=f"max-whisper {max_whisper.__version__}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc(*MODULES, output_directory=folder)


def as_list(docstring: str, parameters: Any) -> str:
    """A docstring whose lines `name: text` are a list in Markdown, where `name` is one of the parameters."""
    lines: list[str] = []
    for line in docstring.splitlines():
        entry = _ENTRY.match(line)
        if entry and entry[1] in parameters:
            if lines and lines[-1] and not lines[-1].startswith(("- ", "    ")):
                lines.append("")
            line = f"- **{entry[1]}**: {line[entry.end() :]}"
        lines.append(line)
    return "\n".join(lines)


def field_list(kind: Any) -> str:
    """The fields of a dataclass as a list in Markdown: the help of an option, else the comment behind the field."""
    comments = dict(_FIELD.findall(inspect.getsource(kind)))
    entries = []
    for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        definition = next(iter(field.metadata.values()), None)
        text = getattr(definition, "help", None) or comments.get(field.name)
        if text:
            entries.append(f"- **{field.name}**: {text}")
    return "\n".join(entries)


def _classes() -> Iterator[type]:
    """The classes of the public door."""
    return filter(inspect.isclass, (getattr(max_whisper, name) for name in max_whisper.__all__))


def _functions() -> Iterator[Any]:
    """The functions of the public door, and the public methods of its classes."""
    yield from filter(inspect.isfunction, (getattr(max_whisper, name) for name in max_whisper.__all__))
    for kind in _classes():
        for name, method in vars(kind).items():
            if inspect.isfunction(method) and (not name.startswith("_") or name == "__init__"):
                yield method


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="where the pages are written")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    write_reference(options.out)
    print(options.out / "index.html")


if __name__ == "__main__":
    main()
