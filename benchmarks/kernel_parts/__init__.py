"""Parts of the fused operations by themselves: operations for tests and measurements, which are not in the wheel.

They are modules of Mojo beside this one, which import those of the product's kernels. A Mojo package cannot import
another one's sources; so both are put into one package in a temporary folder, and compiled together.
"""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from max.graph import KernelLibrary

from max_whisper.graphs import KERNELS

HERE = Path(__file__).parent


@cache
def packaged_parts(folder: Path = HERE) -> Path:
    """The product's operations and those in the Mojo modules of a folder, as one package, made once in a process."""
    with TemporaryDirectory() as temporary:
        package = Path(temporary, KERNELS.name)
        shutil.copytree(KERNELS, package)
        parts = package / folder.name
        parts.mkdir()
        modules = sorted(folder.glob("*.mojo"))
        for module in modules:
            shutil.copy(module, parts)
        (parts / "__init__.mojo").touch()
        with (package / "__init__.mojo").open("a") as file:
            file.writelines(f"from .{folder.name}.{module.stem} import *\n" for module in modules)
        library = KernelLibrary()
        library.load_paths([package])
    (path,) = library.library_paths()
    return path
