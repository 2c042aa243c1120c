"""How many threads a process computes with, and which CPUs it takes for them."""

import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

from max_whisper.errors import OptionError

_TASKS = Path("/proc/self/task")  # a folder for each thread
_pool: int | None = None  # the most threads of MAX's pool, once it has been made
_one_pool = threading.RLock()


@contextmanager
def pool_of(threads: int) -> Iterator[None]:
    """Around what makes the first device of MAX: its pool gets at most so many threads; 0 is one for each core.

    MAX 26.7 makes one pool in a process, for the CPUs that it may use at that moment. (The `num_threads` of an
    InferenceSession comes too late: it ends the process.) So the process keeps to a few CPUs for that moment, and the
    threads may use all of them afterwards.

    Raises OptionError where the pool is there already with another number, and where the system is not Linux.
    """
    with _one_pool:
        yield from _pool_of(threads)


def _pool_of(threads: int) -> Iterator[None]:
    global _pool
    if _pool is not None and threads not in (0, _pool):
        raise OptionError(f"threads: a process chooses once, with its first model: {_pool} here, got {threads}")
    if threads == 0 or _pool is not None:
        yield
        _pool = _pool or len(allowed_cpus())
        return
    if not hasattr(os, "sched_setaffinity"):
        raise OptionError("threads: on Linux only; elsewhere MAX has one for each core")
    allowed, before = set(allowed_cpus()), _threads()
    cores_first = [cpu for round in zip_longest(*cores(allowed)) for cpu in round if cpu is not None]
    os.sched_setaffinity(0, cores_first[:threads])
    try:
        yield
        _pool = threads
    finally:
        for thread in {0} | (_threads() - before):
            os.sched_setaffinity(thread, allowed)


def allowed_cpus() -> list[int]:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores(cpus: Collection[int]) -> list[list[int]]:
    """CPUs by the cores that they are threads of, as Linux tells; each its own where it does not."""
    by_core: dict[str, list[int]] = {}
    for cpu in sorted(cpus):
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        by_core.setdefault(path.read_text() if path.exists() else str(cpu), []).append(cpu)
    return list(by_core.values())


def _threads() -> set[int]:
    return {int(path.name) for path in _TASKS.iterdir()}
