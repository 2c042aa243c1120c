"""An empty virtual environment in which the install steps of packaging/Dockerfile have run: what works there.

Docker is not needed: a folder stands for the image's root. Programs of this machine, a compiler among them, are on PATH
only after a step that installs packages of the system, as in the image.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import numpy as np
import pytest
import torch
import transformers

from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.models.whisper.checkpoint.huggingface import huggingface_name
from tests.models.whisper.checkpoint.sizes import huggingface_sizes
from tests.models.whisper.checkpoint.writing import write_bin

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "audio_samples"
NOT_WANTED = {"torch", "numba", "triton", "sympy", "onnxruntime", "silero-vad", "openai-whisper", "transformers"}
INSTALLERS = ("pip", "python", "max-whisper")  # the programs of install steps; others need root

OFFLINE = """
import socket

def refuse(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        raise OSError(f"reached for the network: {address}")

socket.socket.connect = socket.socket.connect_ex = refuse
"""


@dataclass
class Stage:
    """A stage of a Dockerfile: its instructions in order, keyword and arguments."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def arguments(self, keyword: str) -> list[str]:
        return [arguments for found, arguments in self.instructions if found == keyword]


def read_dockerfile(text: str) -> list[Stage]:
    """The stages of a Dockerfile. Raises ValueError for an instruction outside of a stage or an unknown one."""
    known = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "VOLUME", "WORKDIR"}
    stages: list[Stage] = []
    uncommented = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in uncommented.replace("\\\n", " ").splitlines():
        keyword, _, arguments = line.strip().partition(" ")
        if not keyword:
            continue
        if keyword not in known or (keyword != "FROM" and not stages):
            raise ValueError(f"not an instruction of a stage: {line}")
        if keyword == "FROM":
            base, *name = re.split(r" AS ", arguments)
            stages.append(Stage(base, name[0] if name else str(len(stages))))
        else:
            stages[-1].instructions.append((keyword, arguments.strip()))
    return stages


def context_files(ignore: str) -> Iterator[Path]:
    """The files of the repository that a .dockerignore lets into the context; the last pattern that matches decides."""
    patterns = [line for line in ignore.splitlines() if line and not line.startswith("#")]
    tops = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    for path in sorted(file for top in tops for file in (ROOT / top, *(ROOT / top).rglob("*"))):
        name = path.relative_to(ROOT).as_posix()
        parents = [name, *(parent.as_posix() for parent in Path(name).parents)]
        is_ignored = False
        for pattern in patterns:
            wanted = pattern.removeprefix("!").removeprefix("**/")
            candidates = parents if "**/" not in pattern else [Path(parent).name for parent in parents]
            if any(fnmatch.fnmatch(candidate, wanted) for candidate in candidates):
                is_ignored = not pattern.startswith("!")
        if path.is_file() and not is_ignored:
            yield path.relative_to(ROOT)


@dataclass(frozen=True)
class Installed:
    """The environment in which the Dockerfile's install steps have run."""

    root: Path  # the image's
    programs: Path  # of the virtual environment
    environment: dict[str, str]

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        return subprocess.run(
            [str(self.programs / program), *arguments],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )


def install(stages: Sequence[Stage], folder: Path) -> Installed:
    """Do what the Dockerfile does, but for what needs root. All stages share one root, with the same paths in it."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "python")], check=True)  # of the base image
    dropped = ("PYTHONPATH", "VIRTUAL_ENV", "HF_HUB_OFFLINE", "MAX_WHISPER_CACHE", "XDG_CACHE_HOME")
    outside = {name: value for name, value in os.environ.items() if name not in dropped}
    root = folder / "image"
    root.mkdir()
    for stage in stages:
        workdir = root
        environment = outside | {"PATH": str(folder / "python" / "bin"), "HOME": str(root)}
        for keyword, arguments in stage.instructions:
            inside = re.sub(r"(?<![^\s=])/(?=[\w*])", f"{root}/", arguments)  # each word that is a path
            if keyword == "WORKDIR":
                workdir = Path(inside)
                workdir.mkdir(parents=True, exist_ok=True)
            elif keyword in ("ENV", "ARG"):
                values = Template(inside).safe_substitute(environment)
                environment |= dict(word.split("=", 1) for word in shlex.split(values))
            elif keyword == "COPY":
                _copy(shlex.split(arguments), root, workdir)
            elif keyword == "RUN" and arguments.startswith("apt-get"):
                environment["PATH"] += os.pathsep + outside["PATH"]
            elif keyword == "RUN" and arguments.startswith(INSTALLERS):
                command = ["/bin/sh", "-c", inside]
                done = subprocess.run(
                    command, cwd=workdir, env=environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, f"{inside}\n{done.stdout}{done.stderr}"
    return Installed(root, Path(environment["PATH"].partition(os.pathsep)[0]), environment)


def _copy(words: Sequence[str], root: Path, workdir: Path) -> None:
    """COPY of files of the context, or with --from of a folder of an earlier stage, which is there already."""
    source, target = words[-2:]
    if words[0].startswith("--from="):
        assert source == target
        assert (root / source.removeprefix("/")).is_dir()
        return
    assert (source, target) == (".", ".")
    for name in context_files((ROOT / ".dockerignore").read_text()):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, workdir / name)


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return read_dockerfile((ROOT / "packaging" / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def installed(index: None, stages: list[Stage], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    return install(stages, tmp_path_factory.mktemp("image"))


def test_the_dockerfile_makes_a_slim_image_that_does_not_run_as_root(stages: list[Stage]) -> None:
    for stage in stages:
        assert re.fullmatch(r"python:3\.1[0-4]-slim", stage.base)
    final = stages[-1]
    keywords = [keyword for keyword, _ in final.instructions]
    (user,) = final.arguments("USER")
    assert user not in ("root", "0")
    assert f"useradd --create-home --uid 1000 {user}" in final.arguments("RUN")[0]
    assert keywords.index("USER") < len(keywords) - 1 - keywords[::-1].index("RUN")  # graphs are compiled as the user
    assert json.loads(final.arguments("ENTRYPOINT")[0]) == ["max-whisper"]


def test_the_cache_is_a_volume_with_the_graphs_in_it(stages: list[Stage]) -> None:
    final = stages[-1]
    (volume,) = final.arguments("VOLUME")
    assert f"MAX_WHISPER_CACHE={volume}" in " ".join(final.arguments("ENV")).split()
    assert final.arguments("RUN")[-1] == "max-whisper compile ${MODELS}"


def test_the_context_holds_the_package_alone() -> None:
    files = set(context_files((ROOT / ".dockerignore").read_text()))
    assert {path.parts[0] for path in files} == {
        "LICENSE",
        "NOTICE",
        "README.md",
        "constraints.txt",
        "pyproject.toml",
        "max-whisper",
    }
    assert Path("max-whisper/max_whisper/version.py") in files
    assert not any("__pycache__" in path.parts or "egg-info" in path.as_posix() for path in files)


def test_a_dockerfile_that_is_none_is_refused() -> None:
    for text in ("RUN pip install max", "FROM python:3.12-slim\nINSTALL max"):
        with pytest.raises(ValueError, match="not an instruction"):
            read_dockerfile(text)


def test_neither_pytorch_nor_what_it_brings_is_installed(installed: Installed, tmp_path: Path) -> None:
    listed = installed.run("pip", "list", "--format", "json", cwd=tmp_path)
    names = {package["name"].lower().replace("_", "-") for package in json.loads(listed.stdout)}
    assert {"max-whisper", "max", "tiktoken", "huggingface-hub"} <= names
    assert not names & NOT_WANTED
    assert len(names - {"pip", "setuptools"}) <= 45  # 39 when this was written; PyTorch alone brings 25 more


def test_the_installed_program_transcribes_offline_with_the_graphs_of_the_image(
    installed: Installed, tmp_path: Path
) -> None:
    (site,) = installed.programs.parent.glob("lib/python*/site-packages")
    (site / "sitecustomize.py").write_text(OFFLINE)
    graphs = {path for path in (installed.root / "cache").rglob("*") if path.suffix == ".mef"}
    assert graphs
    done = installed.run("max-whisper", "transcribe", str(SAMPLES / "digits.flac"), "--model", "nano", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (SAMPLES / "digits.txt").read_text().strip() in done.stdout.lower()
    assert "compiling" not in done.stderr
    assert {path for path in (installed.root / "cache").rglob("*") if path.suffix == ".mef"} == graphs


def test_the_installed_library_finds_speech_and_words(installed: Installed, tmp_path: Path) -> None:
    program = f"""
import max_whisper
model = max_whisper.load_model("nano")
digits = {str(SAMPLES / "digits.flac")!r}
print("".join(segment.text for segment in model.stream(digits, vad_filter=True)).strip())
result = model.transcribe(digits, word_timestamps=True)
print(" ".join(word.word.strip() for segment in result.segments for word in segment.words))
"""
    done = installed.run("python", "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words = (SAMPLES / "digits.txt").read_text().strip()
    assert [line.lower().strip(".") for line in done.stdout.splitlines()] == [words, words]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """nano's weights in each published format, as PyTorch and transformers write them."""
    nano = load_checkpoint("nano")
    weights = {name: torch.from_numpy(np.array(nano.weights.stored(name))) for name in nano.weights}
    folder = tmp_path_factory.mktemp("published")
    content = {"dims": nano.dims.to_dict(), "model_state_dict": weights}
    torch.save(content, folder / "zip.pt")
    torch.save(content, folder / "legacy.pt", _use_new_zipfile_serialization=False)

    config = transformers.WhisperConfig(**huggingface_sizes(nano.dims))
    model = transformers.WhisperForConditionalGeneration(config).half()
    named = {f"model.{huggingface_name(name)}": tensor for name, tensor in weights.items()}
    missing, unexpected = model.load_state_dict(named, strict=False)
    assert (missing, unexpected) == (["proj_out.weight"], [])
    model.save_pretrained(folder / "safetensors")
    model.save_pretrained(folder / "safetensors-in-parts", max_shard_size="5MB")
    tensors = model.state_dict()
    for name, shards in (("bin", 1), ("bin-in-parts", 3)):
        shutil.copytree(folder / "safetensors", folder / name)
        (folder / name / "model.safetensors").unlink()
        write_bin(folder / name, tensors, shards)
    return sorted(folder.iterdir())


def test_the_installed_library_reads_every_published_format(
    installed: Installed, published: list[Path], tmp_path: Path
) -> None:
    program = f"""
import max_whisper
for path in {[str(path) for path in published]!r}:
    print(max_whisper.load_model(path).transcribe({str(SAMPLES / "digits.flac")!r}).text)
"""
    done = installed.run("python", "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words = (SAMPLES / "digits.txt").read_text().strip()
    assert len(published) == 6
    assert [line.lower().strip(" .") for line in done.stdout.splitlines()] == [words] * 6


def test_the_installed_program_says_what_the_reference_needs(installed: Installed, tmp_path: Path) -> None:
    arguments = ("transcribe", str(SAMPLES / "digits.flac"), "--model", "nano", "--backend", "torch")
    done = installed.run("max-whisper", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("pip install 'max-whisper[reference]'")
