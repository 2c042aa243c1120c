"""What worker processes share: requests on standard input, events on standard output, a JSON object a line.

A process of its own makes the peak of its memory what it measures alone, and lets programs be measured in turn without
sharing a thread pool. Requests are `{"do": NAME, ...}`; each ends in one event `done`, with the results, or `failed`,
with a message of one line; before it may come events of other names.
"""

import json
import os
import resource
import signal
import sys
import traceback
from abc import ABC
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TextIO

from max_whisper.errors import DeviceError, MaxWhisperError


class Service(ABC):
    """Answers requests, each by its method of the same name."""

    REQUESTS: ClassVar[frozenset[str]]  # the names of the methods that may be asked for

    def __init__(self, events: TextIO) -> None:
        self._events = events

    def answer(self, request: dict[str, Any]) -> None:
        """Do what one request asks and say how it went."""
        name = request.pop("do")
        try:
            if name not in self.REQUESTS:
                raise ValueError(f"no request is named {name!r}")
            results = getattr(self, name)(**request)
            self.say("done", **results)
        except MaxWhisperError as error:
            self.say("failed", message=_one_line(str(error)), device_missing=isinstance(error, DeviceError))
        except Exception as error:
            traceback.print_exc()
            self.say("failed", message=_one_line(f"{type(error).__name__}: {error}"), device_missing=False)

    def memory(self) -> dict[str, Any]:
        """The peak of this process's resident memory so far, in MB (10^6 bytes)."""
        return {"peak_memory_mb": _peak_memory() / 1e6}

    def say(self, event: str, **content: Any) -> None:
        """Tell the parent process something."""
        print(json.dumps({"event": event, **content}), file=self._events, flush=True)


def serve(service: Callable[[TextIO], Service]) -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends its workers
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is not an event
    worker = service(events)
    for line in sys.stdin:
        worker.answer(json.loads(line))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _peak_memory() -> int:
    """Bytes. Linux's VmHWM, because ru_maxrss there can be what the process had before it became this program."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
