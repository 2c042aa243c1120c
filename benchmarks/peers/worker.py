"""One program in a process of its own; see `benchmarks.service`.

The argument is how many cores it may use.
"""

import os
import statistics
import sys
from itertools import islice
from typing import Any, TextIO

import numpy as np

from max_whisper.diagnostics.service import Service, serve
from max_whisper.errors import OptionError

from .peer import NotInstalledError, Peer, Text, Work, seconds
from .rows import Program

REPEATS = 3  # of what takes milliseconds; the median counts


class PeerWorker(Service):
    """A program and what can be asked of it."""

    REQUESTS = frozenset({"load", "step", "transcribe", "first_text", "memory"})

    def __init__(self, events: TextIO) -> None:
        super().__init__(events)
        self._peer: Peer | None = None
        self._work: Work | None = None

    def load(self, name: str, precision: str, path: str, work: dict[str, Any]) -> dict[str, Any]:
        """Load a model. `skipped` says why it could not be, where the program is not there or has no such precision."""
        self._work = Work(**work)
        try:
            self._peer = Program(name, precision).peer(path, precision, self._work)
        except NotInstalledError as error:
            return {"skipped": str(error), "about": ""}
        except (OptionError, ValueError) as error:
            if "compute" not in str(error):
                raise
            return {"skipped": str(error), "about": ""}
        return {"skipped": None, "about": self._peer.about}

    def step(self, row: str, window: str) -> dict[str, Any]:
        """Seconds of one row."""
        peer, work, samples = self._loaded, self._work, np.load(window)
        assert work is not None
        if row in ("prompt", "long_prompt"):
            tokens = work.prompt if row == "prompt" else work.long_prompt
            return {"seconds": statistics.median(peer.prompt(samples, tokens) for _ in range(REPEATS))}
        if row in ("log_mel", "encoder"):
            return {"seconds": statistics.median(getattr(peer, row)(samples) for _ in range(REPEATS))}
        return {"seconds": getattr(peer, row)(samples)}

    def transcribe(self, recording: str, batched: bool) -> dict[str, Any]:
        """Transcribe a recording: seconds, text and how many tokens it has."""
        samples = np.load(recording)
        texts: list[Text] = []
        run = self._loaded.transcribe_batched if batched else self._loaded.transcribe
        took = seconds(lambda: texts.extend(run(samples)))
        return {
            "seconds": took,
            "text": " ".join(text for text, _ in texts),
            "tokens": sum(tokens for _, tokens in texts),
        }

    def first_text(self, window: str) -> dict[str, Any]:
        """Transcribe up to the first text."""
        return {"texts": list(islice(self._loaded.transcribe(np.load(window)), 1))}

    @property
    def _loaded(self) -> Peer:
        if self._peer is None:
            raise RuntimeError("no model has been loaded")
        return self._peer


def limit_cores(threads: int) -> None:
    """Let this process run on the first cores of those it may use; on systems that have no such limit, do nothing."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


if __name__ == "__main__":
    limit_cores(int(sys.argv[1]))
    serve(PeerWorker)
