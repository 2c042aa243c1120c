"""The benchmark: load, compile, encoder, decoder, whole recordings, memory and words of every backend."""

import argparse
import datetime
import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from max_whisper.cli.program import main_of
from max_whisper.diagnostics.backends import BACKENDS, Backend, BackendProcess, choose_backends, resolve_model
from max_whisper.diagnostics.comparison import Outcome, baseline_of, left_out
from max_whisper.diagnostics.machine import machine, versions
from max_whisper.diagnostics.process import BackendFailedError
from max_whisper.diagnostics.recordings import Recording, recordings
from max_whisper.diagnostics.screen import output_console
from max_whisper.errors import MaxWhisperError, OptionError
from max_whisper.options.parser import CommandParser, path_of
from max_whisper.runtime.devices import DEVICES

from .long import measure_long
from .report import benchmark_tables, long_tables
from .spread import spread

SCHEMA_VERSION = 1
DEFAULT_MODELS = "nano,random:tiny"
STEP_TOKENS = 64  # greedy steps in each measurement of the decoder

# A random model knows no end of a text and no silence: each window gets as many tokens, so that all do the same work.
RANDOM_OPTIONS: dict[str, Any] = {
    "language": "en",
    "without_timestamps": True,
    "condition_on_previous_text": False,
    "no_speech_threshold": None,
    "sample_len": 32,
}


def run(arguments: Sequence[str], program: str = "python -m benchmarks.run") -> int:
    """Run the benchmark; returns 0, or 1 where a backend failed that was not left out."""
    options = _parse(arguments, program)
    samples = recordings(options.files)
    backends = choose_backends(options.backends, options.device)
    console = Console(stderr=True, highlight=False)
    if options.json:
        _check_writable(Path(options.json))
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join([*program.split(), *arguments]),
        "machine": machine(),
        "versions": versions(),
        "settings": {"runs": options.runs, "warm_up_runs": 1, "step_tokens": STEP_TOKENS, "random": RANDOM_OPTIONS},
        "models": [],
    }
    for name in map(str.strip, options.model.split(",")):
        if options.long:
            document["models"].append(_measure_long(name, backends, samples, options.vad_filter, console))
        else:
            measurement = ModelBenchmark(name, backends, options.device, samples, options.runs, console)
            document["models"].append(measurement.measure(one_at_a_time=options.one_at_a_time))
    if options.json == "-":
        print(json.dumps(document, indent=2))
    else:
        if options.json:
            Path(options.json).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        for table in long_tables(document) if options.long else benchmark_tables(document):
            output_console().print(table)
    failures = [row["error"] for model in document["models"] for row in model.get("backends", ()) if row["error"]]
    for failure in failures:
        print(f"max-whisper: error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _measure_long(
    model: str, backends: list[Backend], samples: list[Recording], vad_filter: bool, console: Console
) -> dict[str, Any]:
    """The model's part of the document with `--long`: without openai-whisper, which holds a recording as a whole."""
    options = {"vad_filter": True} if vad_filter else {}
    options |= RANDOM_OPTIONS if model.startswith("random:") else {}
    rows = [
        measure_long(resolve_model(model), backend, samples, options, partial(console.print, style="dim", markup=False))
        for backend in backends
        if backend.name != "torch"
    ]
    return {"model": model, "long_recordings": rows}


class ModelBenchmark:
    """One model with every backend."""

    def __init__(
        self, model: str, backends: list[Backend], device: str, samples: list[Recording], runs: int, console: Console
    ) -> None:
        """device: as it was given to `choose_backends`."""
        self._model = model
        self._is_random = model.startswith("random:")
        self._path = resolve_model(model)
        self._backends = backends
        self._device = device
        self._samples = samples
        self._runs = runs
        self._console = console
        self._outcomes = {backend: Outcome(backend) for backend in backends}
        self._loads: dict[Backend, dict[str, Any]] = {}
        self._steps: dict[Backend, list[dict[str, float]]] = {backend: [] for backend in backends}
        self._seconds: dict[Backend, dict[Path, list[float]]] = {backend: {} for backend in backends}

    def measure(self, one_at_a_time: bool = False) -> dict[str, Any]:
        """Measure; returns the model's part of the document.

        All backends are loaded side by side and asked in turn for one run each, so that a machine whose speed drifts
        drifts for all of them. `one_at_a_time` measures one to its end before the next is loaded: less memory.
        """
        groups = [[backend] for backend in self._backends] if one_at_a_time else [self._backends]
        for group in groups:
            with ExitStack() as stack:
                processes = {backend: stack.enter_context(BackendProcess(backend)) for backend in group}
                self._measure_group(processes)
        outcomes = list(self._outcomes.values())
        dims = next((load["dims"] for load in self._loads.values()), None)
        unusable = left_out(outcomes, self._device)
        for outcome in unusable:
            self._say(f"left out: {outcome.failure}")
        rows = [self._row(outcome.backend, baseline_of(outcomes)) for outcome in outcomes if outcome not in unusable]
        return {"model": self._model, "dims": dims, "backends": rows}

    def _measure_group(self, processes: dict[Backend, BackendProcess]) -> None:
        for backend in processes:
            self._try(backend, self._load, processes)
        for number in range(-1, self._runs):  # run -1 warms up
            for backend in processes:
                self._say(f"{backend}: " + ("warm-up" if number < 0 else f"run {number + 1} of {self._runs}"))
                self._try(backend, self._run_once, processes, number < 0)
        for backend in processes:
            self._try(backend, self._measure_memory, processes)

    def _try(self, backend: Backend, step: Any, processes: dict[Backend, BackendProcess], *arguments: Any) -> None:
        """Do a step with a backend, unless it has failed in one before."""
        outcome = self._outcomes[backend]
        if outcome.failure is None:
            try:
                step(backend, processes[backend], *arguments)
            except BackendFailedError as error:
                outcome.fail(error)

    def _load(self, backend: Backend, process: BackendProcess) -> None:
        self._say(f"{backend}: loading")
        self._loads[backend] = process.ask(
            "load", self._hear, model=self._path, backend=backend.name, device=backend.device
        )

    def _run_once(self, backend: Backend, process: BackendProcess, is_warm_up: bool) -> None:
        steps = process.ask("steps", path=str(self._samples[0].path), tokens=STEP_TOKENS)
        options = RANDOM_OPTIONS if self._is_random else {}
        for sample in self._samples:
            results = process.ask("transcribe", path=str(sample.path), options=options)
            if not is_warm_up:
                self._outcomes[backend].add(sample, results)
                self._seconds[backend].setdefault(sample.path, []).append(results["seconds"])
        if not is_warm_up:
            self._steps[backend].append(steps)

    def _measure_memory(self, backend: Backend, process: BackendProcess) -> None:
        self._outcomes[backend].peak_memory_mb = process.ask("memory")["peak_memory_mb"]

    def _hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "step" and not event["done"]:
            self._say(f"  {event['message']}")

    def _say(self, line: str) -> None:
        self._console.print(f"{self._model}  {line}", style="dim", markup=False)

    def _row(self, backend: Backend, reference: Outcome) -> dict[str, Any]:
        """The backend's part of the document."""
        outcome = self._outcomes[backend]
        row: dict[str, Any] = {"backend": backend.name, "device": backend.device, "error": outcome.failure}
        if outcome.failure is not None:
            return row
        load, steps = self._loads[backend], self._steps[backend]
        row["load_seconds"] = load["load_seconds"]
        row["compile_seconds"] = load["compile_seconds"]
        row["compiled"] = load["compiled"]
        for name in ("encoder_ms", "prompt_ms", "token_ms"):
            row[name] = spread([step[name] for step in steps])
        row["seconds"] = spread([sum(times) for times in zip(*self._seconds[backend].values(), strict=True)])
        row["audio_seconds"] = sum(outcome.audio_seconds.values())
        row["real_time_factor"] = row["seconds"]["median"] / row["audio_seconds"]
        row["peak_memory_mb"] = outcome.peak_memory_mb
        row["word_error_rate"] = None if self._is_random else outcome.word_errors(self._samples).rate
        differing = outcome.differing(reference) if reference.failure is None else None
        row["equals_reference"] = None if differing is None else not differing
        row["recordings"] = [self._recording(outcome, sample, differing) for sample in self._samples]
        return row

    def _recording(self, outcome: Outcome, sample: Recording, differing: list[Path] | None) -> dict[str, Any]:
        seconds = spread(self._seconds[outcome.backend][sample.path])
        audio_seconds = outcome.audio_seconds[sample.path]
        return {
            "name": sample.name,
            "audio_seconds": audio_seconds,
            "seconds": seconds,
            "real_time_factor": seconds["median"] / audio_seconds,
            "word_error_rate": None if self._is_random else outcome.word_errors([sample]).rate,
            "equals_reference": None if differing is None else sample.path not in differing,
            "text": outcome.transcriptions[sample.path]["text"],
        }


def _parse(arguments: Sequence[str], program: str) -> argparse.Namespace:
    parser = CommandParser(prog=program, description=__doc__)
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="recordings (default: those of audio_samples)")
    add("--model", default=DEFAULT_MODELS, metavar="LIST", help="names, files, random:NAME or random:NAME:LAYERS, with "
        "commas (default: %(default)s)")  # fmt: skip
    add("--backends", default=",".join(BACKENDS), metavar="LIST", help="default: %(default)s")
    add("--device", default="auto", choices=DEVICES, help="auto is the CPU, and the GPU if there is one")
    add("--runs", type=int, default=5, help="measurements of each thing, after a warm-up (default: %(default)s)")
    add("--one-at-a-time", action="store_true", help="load one backend at a time: for models that fill the memory")
    add("--long", action="store_true", help="instead of all that: peak memory for ten hours of audio against ten "
        "minutes, on backends other than torch")  # fmt: skip
    add("--vad-filter", action="store_true", help="with --long: transcribe with vad_filter=True")
    add("--json", metavar="FILE", type=path_of, help="write the results to FILE; - is standard output")
    options = parser.parse_args(arguments)
    if options.vad_filter and not options.long:
        raise OptionError("--vad-filter: only the measurement of long audio has it; give --long too")
    if options.runs < 1:
        raise OptionError(f"--runs is {options.runs}: at least one is needed")
    return options


def _check_writable(path: Path) -> None:
    """Raises MaxWhisperError before the work, not after it, where the results cannot be written."""
    if str(path) == "-":
        return
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise MaxWhisperError(f"cannot write '{path}': {error.strerror}; choose another place for --json") from error


if __name__ == "__main__":
    main_of(run)
