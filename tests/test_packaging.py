"""What is installed is what stands in the repository."""

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_in_the_wheel() -> None:
    source = ROOT / "max-whisper"
    assert PROJECT["tool"]["setuptools"]["packages"]["find"] == {"where": [source.name]}
    folders = {path.parent for path in (source / "max_whisper").rglob("*.py") if "__pycache__" not in path.parts}
    assert len(folders) > 10
    for folder in folders:  # what is found is a package
        assert (folder / "__init__.py").is_file(), folder


def test_every_other_file_is_in_the_wheel() -> None:
    folder = ROOT / "max-whisper" / "max_whisper"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["max_whisper"]
    packaged = {path for pattern in patterns for path in folder.glob(pattern)}
    others = {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in others if path.suffix != ".py"} <= packaged


def test_constraints_lock_every_direct_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    locked = {re.split(r"==", line)[0] for line in lines if line and not line.startswith("#")}
    project = PROJECT["project"]
    direct = {re.split(r"[>=<\[; ]", requirement)[0] for requirement in project["dependencies"]}
    for extra in project["optional-dependencies"].values():
        direct |= {re.split(r"[>=<\[; ]", requirement)[0] for requirement in extra}
    assert direct <= locked
    assert "torch==2.13.0" in lines
