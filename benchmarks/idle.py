"""Waiting until processes use no processor.

Threads that wait in a loop for more work, as those of OpenMP and OpenBLAS do for up to 100 ms after the last, take a
core from whatever is measured next.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

INTERVAL = 0.01  # seconds
SHARE = 0.25  # of a core, which all threads together may use: those of MAX look for work with 0.05 of one for ever
PATIENCE = 2.0  # seconds


def wait_until_idle(processes: Iterable[int]) -> bool:
    """Wait, two seconds at most, until the processes hardly use a core; returns whether they do.

    processes: by their ids. Those that have ended use nothing, and neither do any on systems without Linux's /proc.
    """
    numbers = list(processes)
    ends = time.perf_counter() + PATIENCE
    began, before = time.perf_counter(), _used(numbers)
    while began < ends:
        time.sleep(INTERVAL)
        now, used = time.perf_counter(), _used(numbers)
        if used - before <= SHARE * (now - began):
            return True
        began, before = now, used
    return False


def _used(processes: Iterable[int]) -> float:
    """Seconds that the threads of the processes have run so far."""
    total = 0
    for process in processes:
        for thread in Path(f"/proc/{process}/task").glob("*/schedstat"):
            with suppress(OSError):  # the thread has ended
                total += int(thread.read_text().split()[0])
    return total / 1e9
