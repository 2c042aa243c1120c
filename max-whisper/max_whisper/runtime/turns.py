"""Turns at a device: one thread computes at a time, and threads get their turns in the order in which they ask.

A model has one KV cache, and all models of a process compute with the same threads of a CPU or the same queue of a GPU.
So a turn belongs to the device, not to a model.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import cache
from types import TracebackType

from max_whisper.runtime.forks import check_not_forked


class Turns:
    """A lock for `with`: fair, so that nobody waits for more than one turn of each other thread, and reentrant.

    Raises DeviceError in a process that was forked from one with a model.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()  # around the three below
        self._owner: int | None = None  # the thread whose turn it is
        self._depth = 0  # how often it has entered
        self._waiting: deque[tuple[int, threading.Lock]] = deque()  # threads, each with a lock that its turn opens

    def __enter__(self) -> None:
        check_not_forked()
        thread = threading.get_ident()
        with self._mutex:
            if self._owner in (None, thread):
                self._owner = thread
                self._depth += 1
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append((thread, gate))
        try:
            gate.acquire()
        except BaseException:  # Ctrl-C, while this thread waits
            with self._mutex:
                if self._owner == thread:
                    self._pass_on()
                else:
                    self._waiting.remove((thread, gate))
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._mutex:
            self._depth -= 1
            if self._depth == 0:
                self._pass_on()

    def _pass_on(self) -> None:
        """Give the turn to who has waited longest. The mutex is held."""
        self._owner, self._depth = None, 0
        if self._waiting:
            self._owner, gate = self._waiting.popleft()
            self._depth = 1
            gate.release()


@cache
def turns_at(device: str) -> Turns:
    """The turns at a device of this process, 'cpu' or 'gpu'."""
    return Turns()
