"""The measurements: every program in a process of its own, asked in turn."""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from max_whisper.audio import N_SAMPLES, SAMPLE_RATE, load_audio
from max_whisper.diagnostics.process import BackendFailedError, WorkerProcess
from max_whisper.diagnostics.recordings import Recording
from max_whisper.diagnostics.word_errors import word_errors

from ..idle import wait_until_idle
from ..spread import spread
from .checkpoints import PeerCheckpoint
from .peer import Work
from .rows import OURS, ROWS, STEP_ROWS, Program

LONG_PROMPT = 224  # tokens: the most that openai-whisper gives of previous text, and the rest of the prompt
RANDOM_TOKENS = 32  # of text in each window of a random model
PAUSE = 2  # seconds between recordings
COMPILES_NOTHING = "compiles nothing: as warm"

# What names the folders of max-whisper's, MAX's and Mojo's caches.
_CACHES = ("MAX_WHISPER_CACHE", "MODULAR_DERIVED_PATH", "XDG_CACHE_HOME")

_SCALES = {"ms": 1000.0, "s": 1.0, "MB": 1.0}


@dataclass(frozen=True)
class Settings:
    """What a run does."""

    rounds: int
    threads: int
    batch_size: int
    seconds: int  # of the recording
    rows: Sequence[str]


def work_of(checkpoint: PeerCheckpoint, settings: Settings) -> Work:
    """What every program gets."""
    tokenizer = checkpoint.tokenizer
    prompt = list(tokenizer.sot_sequence_including_notimestamps)
    previous = LONG_PROMPT - len(prompt) - 1
    said = np.random.default_rng(0).integers(0, tokenizer.eot, previous).tolist()
    return Work(
        threads=settings.threads,
        n_mels=checkpoint.dims.n_mels,
        multilingual=checkpoint.dims.is_multilingual,
        prompt=prompt,
        long_prompt=[tokenizer.sot_prev, *said, *prompt],
        end=tokenizer.eot,
        # A random model knows no times and no end: each window gets as many tokens, so that all do the same work.
        timestamps=not checkpoint.is_random,
        max_tokens=RANDOM_TOKENS if checkpoint.is_random else None,
        batch_size=settings.batch_size,
    )


def long_recording(samples: Sequence[Recording], seconds: int) -> tuple[np.ndarray, str | None]:
    """The recordings over and over with pauses, as many whole ones as fit, then silence; and what is said in them.

    Returns float32 [seconds * 16000]; the text is None where one of them has no transcript.
    """
    whole = np.zeros(seconds * SAMPLE_RATE, np.float32)
    loaded = [load_audio(sample.path) for sample in samples]
    words: list[str] = []
    place = number = 0
    while place + len(audio := loaded[number % len(loaded)]) <= len(whole):
        whole[place : place + len(audio)] = audio
        words.append(samples[number % len(samples)].transcript or "")
        place += len(audio) + PAUSE * SAMPLE_RATE
        number += 1
    has_text = all(sample.transcript is not None for sample in samples)
    return whole, " ".join(words) if has_text else None


class Measurement:
    """One model with every program."""

    def __init__(
        self,
        checkpoint: PeerCheckpoint,
        programs: Sequence[Program],
        samples: Sequence[Recording],
        settings: Settings,
        work: Work,
        say: Callable[[str], None],
    ) -> None:
        self._checkpoint = checkpoint
        self._programs = programs
        self._settings = settings
        self._work = work
        self._say = say
        self._recording, self._transcript = long_recording(samples, settings.seconds)
        self._window = self._recording[:N_SAMPLES]
        self._values: dict[Program, dict[str, list[float]]] = {program: defaultdict(list) for program in programs}
        self._texts: dict[Program, str] = {}
        self._tokens: dict[Program, dict[str, int]] = defaultdict(dict)
        self._skipped: dict[Program, str] = {}
        self._errors: dict[Program, str] = {}
        self._about: dict[Program, str] = {}

    def measure(self) -> dict[str, Any]:
        """Measure; returns the model's part of the document.

        The first round warms up and is not counted, but for the peaks of memory: those of a process that has
        transcribed the recording alone, and then in batches, and done nothing else.
        """
        self._paths = {program: self._file(program) for program in self._programs}
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            self._files = {name: str(Path(folder) / f"{name}.npy") for name in ("window", "recording")}
            np.save(self._files["window"], self._window)
            np.save(self._files["recording"], self._recording)
            processes: dict[Program, WorkerProcess] = {}
            for program in self._programs:
                if program.is_ours:
                    self._say(f"{program}: compiling, where that has not been done before")
                    self._try(program, partial(self._compile, program))
                if program not in self._skipped and program not in self._errors:
                    processes[program] = stack.enter_context(self._process(program))
                    self._say(f"{program}: loading")
                    self._try(program, partial(self._load, program, processes[program]))
            for number in range(-1, self._settings.rounds):  # round -1 warms up
                for program, process in processes.items():
                    title = "warm-up" if number < 0 else f"round {number + 1} of {self._settings.rounds}"
                    self._say(f"{program}: {title}")
                    step = self._warm_up if number < 0 else self._run_once
                    wait_until_idle(other.number for other in processes.values())
                    self._try(program, partial(step, program, process))
            self._cold_starts()
        return {
            "model": self._checkpoint.name,
            "dims": self._checkpoint.dims.to_dict(),
            "max_tokens": self._work.max_tokens,
            "programs": [self._entry(program) for program in self._programs],
        }

    def _file(self, program: Program) -> str | None:
        try:
            return str(self._checkpoint.file(program.checkpoint))
        except ImportError as error:
            self._skipped[program] = f"{error}; install it: pip install '.[peers]'"
            return None

    def _process(self, program: Program, environment: Mapping[str, str] | None = None) -> WorkerProcess:
        threads = str(self._settings.threads)
        return WorkerProcess(
            str(program),
            f"{__package__}.worker",
            [threads],
            {"OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false", **(environment or {})},
        )

    def _try(self, program: Program, step: Callable[[], None]) -> None:
        """Do a step with a program, unless it has failed in one before or cannot be had."""
        if program not in self._skipped and program not in self._errors:
            try:
                step()
            except BackendFailedError as error:
                self._errors[program] = str(error)
                self._say(str(error))

    def _compile(self, program: Program) -> None:
        """Load once in a process that is not measured, so that no measured one has compiled anything."""
        with self._process(program) as process:
            self._load(program, process)

    def _load(self, program: Program, process: WorkerProcess) -> None:
        loaded = process.ask(
            "load",
            name=program.name,
            precision=program.precision,
            path=self._paths[program],
            work=asdict(self._work),
        )
        self._about[program] = loaded["about"]
        if loaded["skipped"]:
            self._skipped[program] = loaded["skipped"]
            self._say(f"{program} is left out: {loaded['skipped']}")

    def _warm_up(self, program: Program, process: WorkerProcess) -> None:
        for name, memory in (("recording", "memory"), ("batched", "batched_memory")):
            if self._has(program, name) or self._has(program, memory):
                results = process.ask("transcribe", recording=self._files["recording"], batched=name == "batched")
                self._texts.setdefault(program, results["text"])
                self._tokens[program][name] = results["tokens"]
                self._values[program][memory].append(process.ask("memory")["peak_memory_mb"])
        for row in self._steps(program):
            process.ask("step", row=row, window=self._files["window"])

    def _run_once(self, program: Program, process: WorkerProcess) -> None:
        values = self._values[program]
        for row in self._steps(program):
            values[row].append(process.ask("step", row=row, window=self._files["window"])["seconds"])
        for row in ("recording", "batched"):
            if self._has(program, row):
                results = process.ask("transcribe", recording=self._files["recording"], batched=row == "batched")
                values[row].append(results["seconds"])
        if self._has(program, "start_warm"):
            values["start_warm"].append(self._start(program))

    def _cold_starts(self) -> None:
        for program in self._programs:
            if self._has(program, "start_cold"):
                self._say(f"{program}: cold start")
                self._try(program, partial(self._cold_start, program))

    def _cold_start(self, program: Program) -> None:
        """What a first start compiles is compiled anew, in cache folders with nothing in them."""
        with tempfile.TemporaryDirectory() as folder:
            caches = {name: str(Path(folder) / name) for name in _CACHES}
            self._values[program]["start_cold"].append(self._start(program, caches))

    def _start(self, program: Program, environment: Mapping[str, str] | None = None) -> float:
        """Seconds from starting a process to the first text of a window."""
        began = time.perf_counter()
        with self._process(program, environment) as process:
            self._load(program, process)
            process.ask("first_text", window=self._files["window"])
            return time.perf_counter() - began

    def _steps(self, program: Program) -> list[str]:
        return [row.name for row in STEP_ROWS if self._has(program, row.name)]

    def _has(self, program: Program, row: str) -> bool:
        return row in self._settings.rows and self._reason(program, row) is None

    def _reason(self, program: Program, row: str) -> str | None:
        """Why a program does not have a row."""
        if row == "start_cold" and program.name != OURS:
            return COMPILES_NOTHING
        return program.peer.missing.get("batched" if row == "batched_memory" else row)

    def _entry(self, program: Program) -> dict[str, Any]:
        """The program's part of the document."""
        error, skipped = self._errors.get(program), self._skipped.get(program)
        entry: dict[str, Any] = {
            "program": program.name,
            "precision": program.precision,
            "about": self._about.get(program, ""),
            "skipped": skipped,
            "error": error,
            "word_error_rate": None,
            "tokens": self._tokens[program],
            "rows": {},
        }
        if skipped or error:
            return entry
        if self._transcript and not self._checkpoint.is_random and program in self._texts:
            entry["word_error_rate"] = word_errors(self._transcript, self._texts[program]).rate
        for name in self._settings.rows:
            values = self._values[program][name]
            scale = _SCALES[ROWS[name].unit]
            entry["rows"][name] = {
                "value": spread([scale * value for value in values]) if values else None,
                "how": program.peer.how.get(name),
                "reason": None if values else self._reason(program, name),
            }
        return entry


def all_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
