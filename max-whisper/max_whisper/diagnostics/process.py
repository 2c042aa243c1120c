"""The other side of `service`: a worker process, and asking it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from max_whisper.errors import MaxWhisperError

_Self = TypeVar("_Self", bound="WorkerProcess")


class BackendFailedError(MaxWhisperError):
    """A backend that could not do what it was asked; the others go on."""


class DeviceMissingError(BackendFailedError):
    """A backend that cannot use the device it was to run on, though the machine may have one of the kind."""


class WorkerProcess:
    """A worker process; ends with the context."""

    def __init__(
        self, title: str, module: str, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        """title: what errors name it. module: run with the arguments. environment: added to this process's own."""
        self.title = title
        self._log = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115 - closed in __exit__
        # The worker finds the same packages as this process, however it was started.
        path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *(entry for entry in sys.path if entry)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **(environment or {}), "PYTHONPATH": path},
        )

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()

    @property
    def number(self) -> int:
        """The process's id."""
        return self._process.pid

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
            raise BackendFailedError(f"{self.title}: {self._last_words()}") from None
        for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] == "failed":
                kind = DeviceMissingError if event["device_missing"] else BackendFailedError
                raise kind(f"{self.title}: {event['message']}")
            yield event
            if event["event"] == "done":
                return
        raise BackendFailedError(f"{self.title}: {self._last_words()}")

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
