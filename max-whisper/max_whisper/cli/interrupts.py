"""Ctrl-C, an end by the system and a terminal that is closed: what there is is saved, then the process ends.

The first signal raises `Interrupted` in the main thread. While that thread is in native code, a compile or a window of
a large model, Python has to wait; the system's handler tells a second thread at once, which saves and ends in its place
when the grace is over. A second signal ends the process at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

GRACE = 1.0  # seconds in which the main thread may come to its own end
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal that ends the process."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def status_of(interrupt: KeyboardInterrupt) -> int:
    """The exit status, as shells tell of a program that a signal ended: 130 is SIGINT, 143 SIGTERM, 129 SIGHUP."""
    return 128 + getattr(interrupt, "number", signal.SIGINT)


class _Once:
    """Saves once, whichever thread comes first; the other waits until it is done."""

    def __init__(self, save: Callable[[], None]) -> None:
        self._save: Callable[[], None] | None = save
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            save, self._save = self._save, None
            if save is not None:
                save()


_unsaved: list[_Once] = []
_raised: list[int] = []  # the first signal; while it is handled no other is raised
_held: list[bool] = []  # has an entry while a signal waits for the end of `held`
_has_said = threading.Lock()  # held for good by the thread that says that the process was interrupted


@contextlib.contextmanager
def saved(save: Callable[[], None]) -> Iterator[None]:
    """Around work of which `save` writes what there is, where an error or a signal ends it. It must not raise."""
    once = _Once(save)
    _unsaved.append(once)
    try:
        yield
    except BaseException:
        once()
        raise
    finally:
        _unsaved.remove(once)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Around work of the main thread, short and without an error of its own, that no signal is to break off."""
    before = len(_raised)
    _held.append(True)  # a signal from here on is raised at the end
    try:
        yield
    finally:
        _held.pop()
    if len(_raised) > before:
        raise Interrupted(_raised[-1])


def watch() -> None:
    """Handle the signals from now on. One that whoever started us has us ignore, as nohup does, stays ignored."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise)
    threading.Thread(target=_listen, args=(reading,), daemon=True).start()


def end_now(status: int) -> NoReturn:
    """End the process without waiting for other threads."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def say_interrupted() -> None:
    """Print that the process was interrupted, unless the other thread has."""
    if _has_said.acquire(blocking=False):
        complain("interrupted")


def complain(message: str) -> None:
    """Print a line on standard error."""
    print(f"max-whisper: {message}", file=sys.stderr, flush=True)


def _raise(number: int, frame: FrameType | None) -> None:
    if _raised:
        return
    _raised.append(number)
    if not _held:
        raise Interrupted(number)


def _listen(reading: int) -> None:
    first = None
    while True:
        (number,) = os.read(reading, 1)
        if number not in _SIGNALS:
            continue
        if first is not None:
            os._exit(128 + number)
        first = number
        ending = threading.Timer(GRACE, _end_in_its_place, (128 + number,))
        ending.daemon = True
        ending.start()


def _end_in_its_place(status: int) -> None:
    for once in [*_unsaved]:
        once()
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h\n")  # the cursor, which the bar hides
    say_interrupted()
    end_now(status)
