"""Write the reference of the Python API, as HTML, from the docstrings: python docs/make_reference.py

It documents the public door: the names of `max_whisper.__all__`, and the steps that a `progress` function hears of. pdoc,
which the extra `dev` installs, writes the pages. Whatever pdoc warns of is an error.
"""

import argparse
import warnings
from pathlib import Path

import pdoc

import max_whisper

FOLDER = Path(__file__).resolve().parents[1] / "build" / "docs"
MODULES = ("max_whisper", "max_whisper.progress", r"!max_whisper\.(?!progress$)")  # no other module of the package


def write_reference(folder: Path) -> None:
    """Write a page for each module, and an index, into `folder`."""
    # A name may be imported only when it is asked for; pdoc looks at those that are there.
    for name in max_whisper.__all__:
        setattr(max_whisper, name, getattr(max_whisper, name))
    pdoc.render.configure(docformat="markdown", show_source=False, footer_text=f"max-whisper {max_whisper.__version__}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc(*MODULES, output_directory=folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="where the pages are written")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    write_reference(options.out)
    print(options.out / "index.html")


if __name__ == "__main__":
    main()
