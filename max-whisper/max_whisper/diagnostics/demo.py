"""The demo: recordings become text with every backend, side by side on one screen; then a table compares them."""

import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live

from max_whisper.diagnostics.backends import BACKENDS, BackendProcess, choose_backends, resolve_model
from max_whisper.diagnostics.comparison import Outcome, left_out
from max_whisper.diagnostics.process import BackendFailedError
from max_whisper.diagnostics.recordings import DEMO, Recording, recordings
from max_whisper.diagnostics.screen import Row, Screen, comparison_table, output_console
from max_whisper.options.parser import CommandParser, path_of
from max_whisper.runtime.devices import DEVICES

PICTURE_WIDTH, PICTURE_HEIGHT = 118, 40  # characters


def run(arguments: Sequence[str], program: str = "max-whisper demo") -> int:
    """Run the demo; returns 0, or 1 where a backend failed that was not left out."""
    parser = CommandParser(prog=program, description=__doc__)
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="recordings; FILE's name with .txt is its transcript, if it is there")
    add(
        "--model",
        default="nano",
        type=path_of,
        help="name, file or folder of a model, or random:NAME (default: %(default)s)",
    )
    add("--backends", default=",".join(BACKENDS), metavar="LIST", help="default: %(default)s")
    add("--device", default="auto", choices=DEVICES, help="auto is the CPU, and the GPU if there is one")
    add("--save-svg", metavar="FILE", type=path_of, help="save the last screen as a picture")
    options = parser.parse_args(arguments)

    samples = recordings(options.files, DEMO)
    rows = [Row(Outcome(backend)) for backend in choose_backends(options.backends, options.device)]
    model = resolve_model(options.model)
    screen = Screen(
        f"max-whisper demo: {options.model}, the same recordings with every backend, one after another", rows
    )

    console = output_console()
    if console.is_terminal:
        with Live(screen, console=console, refresh_per_second=8, vertical_overflow="crop"):
            _run_rows(rows, model, samples)
    else:
        _run_rows(rows, model, samples)
    unusable = left_out([row.outcome for row in rows], options.device)
    rows[:] = [row for row in rows if row.outcome not in unusable]  # the screen's list too
    table = comparison_table([row.outcome for row in rows], samples)
    console.print(table)
    if options.save_svg:
        _save_svg(options.save_svg, Group(screen, table))
    for outcome in unusable:
        print(f"max-whisper: left out: {outcome.failure}", file=sys.stderr)
    failures = [row.outcome.failure for row in rows if row.outcome.failure is not None]
    for failure in failures:
        print(f"max-whisper: error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _run_rows(rows: list[Row], model: str, samples: list[Recording]) -> None:
    """One backend after the other, so that none takes time from another; the baseline is first."""
    for row in rows:
        row.baseline = rows[0].outcome
        row.start()
        try:
            _run_row(row, model, samples)
        except BackendFailedError as error:
            row.fail(error)


def _run_row(row: Row, model: str, samples: list[Recording]) -> None:
    backend = row.outcome.backend
    with BackendProcess(backend) as process:
        process.ask("load", row.hear, model=model, backend=backend.name, device=backend.device)
        row.state = "warming up"
        process.ask("warm_up")
        for number, sample in enumerate(samples, start=1):
            row.begin(f"{sample.name}, {number} of {len(samples)}")
            row.outcome.add(sample, process.ask("transcribe", row.hear, path=str(sample.path), options={}))
        row.outcome.peak_memory_mb = process.ask("memory")["peak_memory_mb"]
    row.finish()


def _save_svg(path: str, content: RenderableType) -> None:
    console = Console(
        record=True, width=PICTURE_WIDTH, height=PICTURE_HEIGHT, file=io.StringIO(), color_system="truecolor"
    )
    console.print(content)
    # Rich has the picture fetch its font from a server; one in a repository stands alone, in a font that is there.
    svg = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="make demo"), flags=re.DOTALL)
    Path(path).write_text(svg, encoding="utf-8")
