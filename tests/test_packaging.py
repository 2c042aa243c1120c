"""What is installed is what stands in the repository: packages, data, versions, the conda recipe."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from max_whisper.version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "max-whisper"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Conda's names of packages that have others on PyPI.
CONDA_NAMES = {"huggingface-hub": "huggingface_hub"}


def source_files() -> set[Path]:
    """The package's files, relative to the folder that holds it."""
    files = (path for path in (SOURCE / "max_whisper").rglob("*") if path.is_file())
    return {path.relative_to(SOURCE) for path in files if "__pycache__" not in path.parts}


def split(requirement: str) -> tuple[str, str]:
    """The name, without extras, and the versions of a requirement."""
    name, versions = re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?\s*(.*)", requirement).groups()  # type: ignore[union-attr]
    return name, versions


@pytest.fixture(scope="module")
def distributions(index: None, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The source distribution and the wheel, made as `make dist` makes them."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder)], cwd=ROOT, check=True, capture_output=True)
    return sorted(folder.iterdir())


def test_a_source_distribution_and_a_wheel_are_made_and_pass_twine(distributions: list[Path]) -> None:
    name = f"max_whisper-{__version__}"
    assert [path.name for path in distributions] == [f"{name}-py3-none-any.whl", f"{name}.tar.gz"]
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, distributions)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_the_wheel_holds_the_package_and_nothing_else(distributions: list[Path]) -> None:
    with zipfile.ZipFile(distributions[0]) as wheel:
        names = {Path(name) for name in wheel.namelist()}
    metadata = Path(f"max_whisper-{__version__}.dist-info")
    assert {name for name in names if name.parts[0] != metadata.name} == source_files()
    assert {metadata / "licenses" / name for name in ("LICENSE", "NOTICE")} <= names
    folder = Path("max_whisper")
    assert folder / "py.typed" in names
    assert {path.suffix for path in names} >= {".py", ".mojo", ".safetensors", ".vocabulary"}


def test_the_source_distribution_holds_what_the_wheel_is_built_from(distributions: list[Path]) -> None:
    with tarfile.open(distributions[1]) as archive:
        names = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    needed = {Path(name) for name in ("LICENSE", "NOTICE", "README.md", "pyproject.toml")}
    assert needed | {Path("max-whisper") / path for path in source_files()} <= names


def test_every_folder_of_python_files_is_a_package() -> None:
    """setuptools finds the folders that have an __init__.py, in the folder that pyproject.toml names."""
    (where,) = PROJECT["tool"]["setuptools"]["packages"]["find"]["where"]
    assert ROOT / where == SOURCE
    for folder in {path.parent for path in source_files() if path.suffix == ".py"}:
        assert (SOURCE / folder / "__init__.py").is_file()


def test_every_other_file_is_in_the_wheel() -> None:
    folder = SOURCE / "max_whisper"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["max_whisper"]
    packaged = {path for pattern in patterns for path in folder.glob(pattern)}
    others = {SOURCE / path for path in source_files() if path.suffix != ".py"}
    assert others <= packaged


def test_the_notice_names_every_file_that_holds_the_work_of_others() -> None:
    notice = (ROOT / "NOTICE").read_text()
    for path in source_files():
        if path.suffix in (".vocabulary", ".safetensors") and path.stem != "nano":
            assert path.as_posix() in notice
    assert notice.count("MIT License") == 3  # of openai-whisper, GPT-2 and silero-vad


def test_no_dependency_brings_pytorch() -> None:
    names = {split(requirement)[0] for requirement in PROJECT["project"]["dependencies"]}
    assert not names & {"torch", "openai-whisper", "silero-vad", "onnxruntime", "transformers"}


def test_the_extra_for_the_tests_has_the_reference() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert "max-whisper[reference]" in extras["dev"]
    assert {split(requirement)[0] for requirement in extras["reference"]} >= {"torch", "openai-whisper"}


def test_constraints_lock_every_direct_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    locked = {re.split(r"==", line)[0] for line in lines if line and not line.startswith("#")}
    project = PROJECT["project"]
    direct = {split(requirement)[0] for requirement in project["dependencies"]}
    for extra in project["optional-dependencies"].values():
        direct |= {split(requirement)[0] for requirement in extra}
    assert direct - {"max-whisper"} <= locked
    assert "torch==2.13.0" in lines


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "packaging" / "recipe.yaml").read_text())


def test_the_recipe_is_of_this_version(recipe: dict[str, Any]) -> None:
    project = PROJECT["project"]
    assert recipe["schema_version"] == 1
    assert recipe["context"]["version"] == __version__
    assert recipe["package"] == {"name": project["name"], "version": "${{ version }}"}
    assert recipe["about"]["license"] == project["license"]
    assert recipe["about"]["license_file"] == project["license-files"]
    assert recipe["about"]["summary"] == project["description"]


def test_the_recipe_installs_the_source_beside_it(recipe: dict[str, Any]) -> None:
    assert (ROOT / "packaging" / recipe["source"]["path"] / "pyproject.toml").is_file()
    build = recipe["build"]
    assert (build["number"], build["noarch"]) == (0, "python")
    assert build["script"].startswith("python -m pip install . --no-deps --no-build-isolation")
    scripts = PROJECT["project"]["scripts"]
    assert build["python"]["entry_points"] == [f"{name} = {function}" for name, function in scripts.items()]


def test_the_recipe_asks_for_the_same_packages(recipe: dict[str, Any]) -> None:
    python = "python " + PROJECT["project"]["requires-python"]
    expected = {python}
    for name, versions in map(split, PROJECT["project"]["dependencies"]):
        expected.add(f"{CONDA_NAMES.get(name, name)} {versions}")
    assert set(recipe["requirements"]["run"]) == expected
    (setuptools,) = PROJECT["build-system"]["requires"]
    assert set(recipe["requirements"]["host"]) == {python, "pip", " ".join(split(setuptools))}


def test_the_recipe_tries_what_it_made(recipe: dict[str, Any]) -> None:
    imports, transcribing = recipe["tests"]
    assert imports["python"]["imports"] == ["max_whisper"]
    (sample,) = transcribing["files"]["source"]
    assert (ROOT / sample).is_file()
    assert transcribing["script"] == [f"max-whisper transcribe {sample} --model nano"]
