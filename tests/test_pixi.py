"""pixi.toml against pixi's published schema, and against the Makefile: both roads run the same commands."""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT.parent / "shared" / "data" / "pixi-manifest.schema.json"
CONDA_NAMES = {"build": "python-build", "huggingface-hub": "huggingface_hub", "torch": "pytorch"}
TASKS = (
    "demo",
    "test",
    "benchmark",
    "benchmark-json",
    "benchmark-peers",
    "docs",
    "parity",
    "parity-all",
    "parity-options",
    "lint",
    "nano",
    "dist",
)


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pixi.toml").read_text())


def tasks_of(manifest: dict[str, Any], environment: str) -> dict[str, Any]:
    tasks = dict(manifest.get("tasks", {}))
    for feature in manifest["environments"][environment]["features"]:
        tasks |= manifest["feature"][feature].get("tasks", {})
    return tasks


def pixi_commands(manifest: dict[str, Any], task: str) -> list[list[str]]:
    """What `pixi run TASK` runs, one command after the other, those it depends on first."""
    (tasks,) = [tasks for name in manifest["environments"] if task in (tasks := tasks_of(manifest, name))]
    definition = tasks[task] if isinstance(tasks[task], dict) else {"cmd": tasks[task]}
    commands = [command for name in definition.get("depends-on", []) for command in pixi_commands(manifest, name)]
    return commands + [shlex.split(command) for command in definition["cmd"].split("&&")]


def make_plan(*arguments: str) -> str:
    """What make would run; not as part of the `make test` that may have started this test."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    of_make = ("MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS", "ARGS")
    environment = {name: value for name, value in os.environ.items() if name not in of_make}
    command = ["make", "-n", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def make_commands(task: str) -> list[list[str]]:
    """What `make TASK` would run without pixi, once the virtual environment is set up."""
    python = ".venv/bin/python"
    plan = make_plan("PIXI=", task).splitlines()
    commands = [shlex.split(line.replace(python, "python", 1)) for line in plan if line.startswith(python)]
    return [command for command in commands if command[:3] != ["python", "-m", "pip"]]


@pytest.mark.skipif(not SCHEMA.is_file(), reason="pixi's schema is not there")
def test_the_manifest_is_one_that_pixi_accepts(manifest: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(manifest, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest | {"enviroments": {}}, schema)


def test_channels_platforms_and_environments(manifest: dict[str, Any]) -> None:
    assert manifest["workspace"]["channels"] == ["https://conda.modular.com/max", "conda-forge"]
    assert set(manifest["workspace"]["platforms"]) == {"linux-64", "linux-aarch64", "osx-arm64"}
    assert set(manifest["environments"]) == {"default", "benchmark", "peers"}


@pytest.mark.parametrize("task", TASKS)
def test_each_task_runs_what_make_runs(manifest: dict[str, Any], task: str) -> None:
    commands = pixi_commands(manifest, task)
    assert commands
    assert commands == make_commands(task)


@pytest.mark.parametrize("task", TASKS)
def test_make_hands_each_task_to_pixi_where_it_is_installed(task: str) -> None:
    assert make_plan("PIXI=pixi", task).split() == ["pixi", "run", task]


@pytest.mark.parametrize("task", [*TASKS, "max-whisper"])
def test_each_command_names_something_that_exists(manifest: dict[str, Any], task: str) -> None:
    for program, *arguments in pixi_commands(manifest, task):
        assert program == "python"
        if arguments[0] == "-m":
            assert importlib.util.find_spec(arguments[1]) is not None
        else:
            assert (ROOT / arguments[0]).is_file()


def test_conda_and_pip_ask_for_the_same_packages(manifest: dict[str, Any]) -> None:
    """Every dependency of pyproject.toml is in pixi.toml, from one side or the other, in the same versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    features = {"default": (project["dependencies"], manifest)}
    features |= {name: (extras[name], manifest["feature"][name]) for name in ("reference", "dev", "peers")}
    for requirements, feature in features.values():
        pixi = feature.get("dependencies", {}) | feature.get("pypi-dependencies", {})
        for requirement in requirements:
            if requirement == "max-whisper[reference]":
                continue
            name, minimum = requirement.split(">=")
            asked = pixi[CONDA_NAMES.get(name, name)]
            if name not in ("max", "torch"):  # pixi.toml locks these two more closely
                assert asked == f">={minimum}"


def test_environments_that_measure_and_test_have_the_reference(manifest: dict[str, Any]) -> None:
    for environment in manifest["environments"].values():
        assert "reference" in environment["features"]
