"""The backends to compare, each behind a worker process."""

import shutil
import subprocess
from dataclasses import dataclass

from max_whisper import backends
from max_whisper.diagnostics.process import WorkerProcess
from max_whisper.diagnostics.random_models import SPEAKING, random_checkpoint, speaking_checkpoint
from max_whisper.errors import OptionError

BACKENDS = backends.BACKENDS[::-1]  # as rows of a comparison, the baseline first


@dataclass(frozen=True)
class Backend:
    """One row of a comparison."""

    name: str  # torch, hybrid or max
    device: str  # cpu or gpu

    def __str__(self) -> str:
        return f"{self.name} {self.device}"


BASELINE = Backend("torch", "cpu")


def choose_backends(names: str, device: str) -> list[Backend]:
    """The backends to compare, the baseline first: it is the measure of the others' speed and text.

    names: backends with commas between them. device: `cpu`, `gpu`, or `auto` for the CPU and the GPU if there is one.
    Raises OptionError for a name that is not one.
    """
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in BACKENDS:
            raise OptionError(f"no backend is named {name!r}: choose from {', '.join(BACKENDS)}")
    devices = {"cpu": ["cpu"], "gpu": ["gpu"], "auto": ["cpu", "gpu"] if has_gpu() else ["cpu"]}[device]
    rows = [Backend(name, where) for where in devices for name in BACKENDS if name in chosen]
    return [BASELINE, *(row for row in rows if row != BASELINE)]


def has_gpu() -> bool:
    """Whether NVIDIA's or AMD's driver lists a GPU; asked without loading a library that would set one up."""
    for question in (["nvidia-smi", "-L"], ["rocm-smi", "--showid"]):
        if shutil.which(question[0]):
            answer = subprocess.run(question, capture_output=True, text=True, check=False)
            if answer.returncode == 0 and "GPU" in answer.stdout:
                return True
    return False


def resolve_model(model: str) -> str:
    """A model's name or path; `random:tiny` and `random:tiny:2` make a random checkpoint (of two layers) first.

    So do `random:speaking-english` and `random:speaking-multilingual`, whose layers are always the same.
    """
    if not model.startswith("random:"):
        return model
    _, name, *layers = model.split(":")
    try:
        if name in SPEAKING and not layers:
            return str(speaking_checkpoint(name))
        return str(random_checkpoint(name, int(layers[0]) if layers else None))
    except ValueError as error:
        raise OptionError(f"{model!r} is not random:NAME or random:NAME:LAYERS: {error}") from error


class BackendProcess(WorkerProcess):
    """A worker process with one backend; ends with the context."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(str(backend), f"{__package__}.worker")
        self.backend = backend
