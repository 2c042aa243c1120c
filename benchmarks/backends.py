"""The backends to compare, each behind a worker process."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from max_whisper.errors import MaxWhisperError, OptionError

from .random_models import SPEAKING, random_checkpoint, speaking_checkpoint

BACKENDS = ("torch", "hybrid", "max")
DEVICES = ("auto", "cpu", "gpu")


@dataclass(frozen=True)
class Backend:
    """One row of a comparison."""

    name: str  # torch, hybrid or max
    device: str  # cpu or gpu

    def __str__(self) -> str:
        return f"{self.name} {self.device}"


BASELINE = Backend("torch", "cpu")


class BackendFailedError(MaxWhisperError):
    """A backend that could not do what it was asked; the others go on."""


class DeviceMissingError(BackendFailedError):
    """A backend that cannot use the device it was to run on, though the machine may have one of the kind."""


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


class BackendProcess:
    """A worker process with one backend; ends with the context."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._log = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115 - closed in __exit__
        # The worker finds the same packages as this process, however it was started.
        path = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *(entry for entry in sys.path if entry)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def __enter__(self) -> "BackendProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()

    def events(self, do: str, **request: Any) -> Iterator[dict[str, Any]]:
        """Ask for something; yields the events as they come, `done` last.

        Raises BackendFailedError, with the worker's message, where it fails or dies; DeviceMissingError where it has
        no such device.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BackendFailedError(f"{self.backend}: {self._last_words()}") from None
        for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] == "failed":
                kind = DeviceMissingError if event["device_missing"] else BackendFailedError
                raise kind(f"{self.backend}: {event['message']}")
            yield event
            if event["event"] == "done":
                return
        raise BackendFailedError(f"{self.backend}: {self._last_words()}")

    def ask(self, do: str, listen: Callable[[dict[str, Any]], None] | None = None, **request: Any) -> dict[str, Any]:
        """Ask for something and wait; returns the results. `listen` hears the events before them."""
        results: dict[str, Any] = {}
        for event in self.events(do, **request):
            if event["event"] == "done":
                results = {name: value for name, value in event.items() if name != "event"}
            elif listen is not None:
                listen(event)
        return results

    def _last_words(self) -> str:
        status = self._process.wait()
        self._log.seek(0)
        lines: Sequence[str] = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return f"its process ended with status {status}" + (f": {lines[-1]}" if lines else "")
