"""Recordings transcribed by several processes side by side, each with a model and with cores of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Protocol

from max_whisper.errors import MaxWhisperError, OptionError
from max_whisper.progress import Progress, Step
from max_whisper.results import RecordingEvent
from max_whisper.runtime.threads import allowed_cpus, cores

if TYPE_CHECKING:
    from max_whisper.models.whisper.dimensions import ModelDimensions

# Ctrl-C and a terminal that is closed reach every process of a terminal, and a service's end every process of it.
# The process that started the others hears of them, and ends the others when it has what they have done.
_HEARD_BY_THE_PARENT = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def core_groups(count: int) -> list[list[int]]:
    """The CPUs that this process may use in so many groups, each of whole cores.

    Raises OptionError where there are fewer cores, and where the system cannot keep a process to some of them.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise OptionError("workers: on Linux only; elsewhere a process cannot be kept to some of the cores")
    every = cores(allowed_cpus())
    if count > len(every):
        raise OptionError(f"workers: at most one for each core, of which there are {len(every)}, got {count}")
    bounds = [len(every) * number // count for number in range(count + 1)]
    return [[cpu for core in every[first:last] for cpu in core] for first, last in pairwise(bounds)]


class FileTranscriber(Protocol):
    """What a process transcribes with: a `Transcriber`."""

    @property
    def dims(self) -> ModelDimensions:
        """The sizes of its model."""
        ...

    @property
    def stream(self) -> Callable[..., Any]:
        """Gives a file's `TranscriptionStream`, with options as keywords."""
        ...


@dataclass(eq=False)
class _Worker:
    """A process, and what it is doing."""

    process: BaseProcess
    connection: Connection
    recording: int | None = None  # the number of the one that it was given last
    has_done: bool = False  # whether it waits for the next one

    def receive(self) -> tuple[str, Any]:
        """The next message of `_work`, or ("died", an error)."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return "died", MaxWhisperError(f"a worker process ended with status {self.process.exitcode}")


class Workers:
    """The processes of one run over recordings."""

    def __init__(
        self,
        files: Sequence[str],
        groups: Sequence[Sequence[int]],
        load: Callable[..., FileTranscriber],
        loading: Mapping[str, Any],
        options: Mapping[str, Any],
        loaded: Callable[[ModelDimensions], None],
        progress: Progress,
        undisturbed: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        """groups: the CPUs of each process. load: `load_model`; each process imports it by its name. loading: its
        arguments. options: of `Transcriber.stream`.

        loaded: called once, when the first process has its model; what it raises ends all. progress: hears of the
        first one's loading, then how many recordings are done. undisturbed: a context in which no signal raises an
        error: a message that is read in part would take those after it with it.
        """
        self._files = files
        self._groups = deque(groups)
        self._arguments = (load, dict(loading), dict(options))
        self._loaded = loaded
        self._progress = progress
        self._waiting = deque(range(len(files)))
        self._workers: dict[Connection, _Worker] = {}
        self._has_loaded = False
        self._n_done = 0
        self._undisturbed = undisturbed
        self._heard: deque[RecordingEvent] = deque()  # the first may have been given, the others not

    def events(self) -> Iterator[RecordingEvent]:
        """What becomes of the recordings, as it comes; the events of one recording are in order.

        A process takes the next recording when it has done with one. The others start when the first has loaded its
        model, so that what has to be compiled is compiled once. Raises what keeps a process from loading.
        """
        try:
            self._start(self._groups.popleft())
            while self._workers:
                for connection in wait(list(self._workers)):
                    assert isinstance(connection, Connection)
                    worker = self._workers[connection]
                    with self._undisturbed():
                        self._hear(worker)
                    while self._heard:
                        yield self._heard[0]
                        self._heard.popleft()
                    if worker.has_done:
                        self._give(worker)
            for number in self._waiting:
                file = self._files[number]
                yield RecordingEvent(number, MaxWhisperError(f"{file}: no worker process is left to transcribe it"))
        finally:
            self._end()

    def rest(self) -> Iterator[RecordingEvent]:
        """Ends the processes; gives what they had told by then and `events` had not given yet.

        The event that `events` gave last comes again, the same object, where it was not asked for another one since.
        """
        self._end()
        for connection, worker in self._workers.items():
            with contextlib.suppress(EOFError, OSError):  # of what was being told
                while connection.poll():
                    self._keep(worker, *connection.recv())
        while self._heard:
            yield self._heard.popleft()

    def _end(self) -> None:
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            worker.process.join()

    def _start(self, cpus: Sequence[int]) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, cpus, *self._arguments), daemon=True)
        resource_tracker.ensure_running()  # which unblocks what is blocked below, when it is started
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD_BY_THE_PARENT)
        try:
            process.start()  # which inherits the mask
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._workers[ours] = _Worker(process, ours)

    def _hear(self, worker: _Worker) -> None:
        """Take a message of a process that has sent one, or has died."""
        kind, value = worker.receive()
        if kind == "failed" or (kind == "died" and worker.recording is None):
            raise value
        if kind == "loading":
            if not self._has_loaded:
                self._progress(value)
        elif kind == "warning":
            warnings.warn(value, stacklevel=1)
        elif kind == "loaded":
            self._give(worker)
            if not self._has_loaded:
                self._has_loaded = True
                self._loaded(value)
                while self._groups:
                    self._start(self._groups.popleft())
        elif kind in ("done", "died"):
            self._n_done += 1
            self._progress(Step("transcribing", self._n_done, len(self._files), "recordings"))
            worker.has_done = kind == "done"
            if kind == "died":
                del self._workers[worker.connection]
        self._keep(worker, kind, value)

    def _keep(self, worker: _Worker, kind: str, value: Any) -> None:
        """Keep what a message tells of a recording."""
        if worker.recording is None:
            return
        if kind == "segment":
            language, segment = value
            self._heard.append(RecordingEvent(worker.recording, segment, language))
        elif kind in ("done", "died"):
            self._heard.append(RecordingEvent(worker.recording, value))

    def _give(self, worker: _Worker) -> None:
        """The next recording, or, where there is none, an end. What it did before has been taken by then."""
        worker.has_done = False
        if self._waiting:
            worker.recording = self._waiting.popleft()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # of one that died; `receive` tells of it
                worker.connection.send(self._files[worker.recording])
        else:
            worker.process.kill()
            worker.process.join()
            del self._workers[worker.connection]


def _work(
    connection: Connection,
    cpus: Sequence[int],
    load: Callable[..., FileTranscriber],
    loading: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """A process of `Workers`: sends ("loading", a Step), then ("loaded", dimensions) or ("failed", an error).

    Then for each file that it receives ("segment", (its language, a segment)) as each is final, and ("done", a
    transcription or the error that ended it); ("warning", a Warning) at any time.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    warnings.showwarning = lambda message, *_, **__: connection.send(("warning", message))
    os.sched_setaffinity(0, cpus)
    try:
        transcriber = load(progress=lambda step: connection.send(("loading", step)), **loading)
    except Exception as error:
        connection.send(("failed", _plain(error)))
        return
    connection.send(("loaded", transcriber.dims))
    while True:
        file = connection.recv()
        outcome: Any
        try:
            stream = transcriber.stream(file, **options)
            for segment in stream:
                connection.send(("segment", (stream.language, segment)))
            outcome = stream.transcription()
        except Exception as error:
            outcome = _plain(error)
        connection.send(("done", outcome))


def _end_with(sentinel: int) -> None:
    """End this process when the one that started it has ended, however that was."""
    wait([sentinel])
    os._exit(1)


def _plain(error: Exception) -> Exception:
    """An error that can be sent: those of libraries may not be."""
    return error if isinstance(error, MaxWhisperError) else RuntimeError(f"{type(error).__name__}: {error}")
