"""Measure max-whisper beside openai-whisper, faster-whisper, whisper.cpp and transformers, on one checkpoint."""

import argparse
import datetime
import importlib.metadata
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from max_whisper.diagnostics.machine import machine, versions
from max_whisper.diagnostics.recordings import recordings
from max_whisper.diagnostics.screen import output_console
from max_whisper.errors import MaxWhisperError, OptionError
from max_whisper.options.parser import CommandParser

from .checkpoints import peer_checkpoint
from .measure import Measurement, Settings, all_cores, work_of
from .page import write_page
from .peer import BEAMS, STEPS
from .rows import PEERS, ROWS, choose_programs
from .summary import Document
from .tables import peer_tables

SCHEMA_VERSION = 1
PACKAGES = ("faster-whisper", "ctranslate2", "pywhispercpp", "transformers")


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark; returns 0, or 1 where a program failed that was not left out."""
    options = _parse(arguments)
    document = (
        json.loads(Path(options.read).read_text(encoding="utf-8")) if options.read else _measure(options, arguments)
    )
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.page:
        write_page(Path(options.page), document)
    for table in peer_tables(document):
        output_console().print(table)
    failures = [entry["error"] for model in document["models"] for entry in model["programs"] if entry["error"]]
    for failure in failures:
        print(f"benchmarks.peers: error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _measure(options: argparse.Namespace, arguments: Sequence[str]) -> Document:
    programs = choose_programs(options.peers, options.compute_types)
    samples = recordings(options.files)
    settings = Settings(options.rounds, options.threads, options.batch_size, options.minutes * 60, options.rows)
    console = Console(stderr=True, highlight=False)
    document: Document = {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.peers", *arguments]),
        "machine": machine(),
        "versions": versions() | {package: _version(package) for package in PACKAGES},
        "settings": {
            "rounds": settings.rounds,
            "warm_up_rounds": 1,
            "threads": settings.threads,
            "batch_size": settings.batch_size,
            "seconds": settings.seconds,
            "step_tokens": STEPS,
            "beams": BEAMS,
        },
        "models": [],
    }
    for name in filter(None, map(str.strip, options.model.split(","))):
        checkpoint = peer_checkpoint(name)
        work = work_of(checkpoint, settings)

        def say(line: str, name: str = name) -> None:
            console.print(f"{name}  {line}", style="dim", markup=False)

        document["models"].append(Measurement(checkpoint, programs, samples, settings, work, say).measure())
    return document


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(prog="python -m benchmarks.peers", description=__doc__)
    add = parser.add_argument
    peers = ",".join(dict.fromkeys(program.name for program in PEERS))
    add("files", nargs="*", metavar="FILE", help="recordings that the long one is made of (default: audio_samples)")
    add("--model", default="nano,random:tiny", metavar="LIST", help="names, files, random:NAME or random:NAME:LAYERS, "
        "with commas (default: %(default)s)")  # fmt: skip
    add("--peers", default=peers, metavar="LIST", help="names, or one precision as in whisper.cpp:q8_0 "
        "(default: %(default)s)")  # fmt: skip
    add("--compute-types", default="float32,bfloat16,int8", metavar="LIST", help="max-whisper's own; those that it "
        "does not have are left out (default: %(default)s)")  # fmt: skip
    add("--rows", default=",".join(ROWS), metavar="LIST", help="what to measure (default: %(default)s)")
    add("--rounds", type=int, default=5, help="measurements of each thing, after a warm-up (default: %(default)s)")
    add("--threads", type=int, default=all_cores(), help="of every program (default: all cores)")
    add("--batch-size", type=int, default=8, help="windows at a time, where in batches (default: %(default)s)")
    add("--minutes", type=int, default=10, help="length of the recording (default: %(default)s)")
    add("--json", metavar="FILE", help="write the results to FILE")
    add("--page", metavar="FILE", help="write the tables into a page of Markdown, and the charts beside it")
    add("--read", metavar="FILE", help="measure nothing: the results are those that --json wrote to FILE")
    options = parser.parse_args(arguments)
    for name in ("rounds", "threads", "batch_size", "minutes"):
        if getattr(options, name) < 1:
            raise OptionError(f"--{name.replace('_', '-')} is {getattr(options, name)}: at least one is needed")
    if options.threads > all_cores():
        raise OptionError(f"--threads is {options.threads}: this process may use {all_cores()} cores")
    options.rows = [name for name in ROWS if name in _listed(options.rows)]
    return options


def _listed(rows: str) -> list[str]:
    listed = [name.strip() for name in rows.split(",") if name.strip()]
    for name in listed:
        if name not in ROWS:
            raise OptionError(f"--rows: no row is named {name!r}: choose from {', '.join(ROWS)}")
    return listed


def main() -> int:
    """The command; an error is one line."""
    try:
        return run(sys.argv[1:])
    except (MaxWhisperError, OSError, ValueError) as error:
        print(f"benchmarks.peers: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, OptionError) else 1
