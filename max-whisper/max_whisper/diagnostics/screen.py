"""How a comparison looks: a panel for each backend while it works, and a table at the end."""

import time
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from max_whisper.diagnostics.backends import BASELINE
from max_whisper.diagnostics.comparison import Outcome, baseline_of
from max_whisper.diagnostics.process import BackendFailedError
from max_whisper.diagnostics.recordings import Recording

WORKS_WITH = {
    "torch": "encoder and decoder on PyTorch",
    "hybrid": "encoder on MAX, decoder on PyTorch",
    "max": "encoder and decoder on MAX",
}
PIPE_WIDTH = 150  # characters
COLORS = {"torch": "bright_blue", "hybrid": "yellow", "max": "green"}


class Row:
    """One backend on the screen: what it is doing, its text so far, its times."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.baseline: Outcome | None = None
        self.state = "waiting"
        self._began: float | None = None
        self._finished: float | None = None
        self._text = Text()
        self._spinner = Spinner("dots")

    def start(self) -> None:
        """The backend's turn has come."""
        self._began = time.perf_counter()
        self.state = "loading"

    def begin(self, recording: str) -> None:
        """A recording is next."""
        self.state = f"transcribing {recording}"

    def hear(self, event: dict[str, Any]) -> None:
        """Take in a worker's event: a step of its work, or text."""
        if event["event"] == "step":
            share = f", {100 * event['done'] // event['total']} %" if event["total"] else ""
            self.state = event["message"] + share
        elif event["event"] == "segment":
            self._text.append(f"{event['text'].strip()} ")

    def finish(self) -> None:
        """All recordings are done."""
        self._finished = time.perf_counter()
        self.state = "done"

    def fail(self, error: BackendFailedError) -> None:
        """The backend goes no further."""
        self._finished = time.perf_counter()
        self.outcome.fail(error)
        self.state = "failed"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        backend = self.outcome.backend
        lines = options.height or 2
        body = Text(self.outcome.failure, style="red") if self.outcome.failure else self._text
        wrapped = list(body.wrap(console, options.max_width - 4))[-lines:]
        wrapped += [Text()] * (lines - len(wrapped))
        color = "red" if self.outcome.failure else COLORS[backend.name]
        idle = self._began is None
        yield Panel(
            Group(self._headline(), *wrapped),
            title=Text.assemble((str(backend), "bold"), f"  {WORKS_WITH[backend.name]}"),
            title_align="left",
            border_style="dim" if idle else color,
        )

    def _headline(self) -> Table:
        grid = Table.grid(expand=True, padding=(0, 1))
        grid.add_column(ratio=1, no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        working = self._began is not None and self._finished is None
        if working:
            self._spinner.update(text=Text(self.state))
        grid.add_row(self._spinner if working else Text(self.state, style="dim"), Text(self._numbers()))
        return grid

    def _numbers(self) -> str:
        parts = []
        if self.outcome.real_time_factor is not None:
            parts.append(f"{self.outcome.total_seconds:.2f} s")
            parts.append(f"real-time factor {self.outcome.real_time_factor:.3f}")
            if self.outcome.backend != BASELINE and self.baseline is not None:
                speed_up = self.outcome.speed_up(self.baseline)
                parts.append(f"{speed_up:.2f} x the baseline" if speed_up else "")
        elif self._began is not None:
            parts.append(f"{(self._finished or time.perf_counter()) - self._began:.0f} s")
        return "   ".join(part for part in parts if part)


class Screen:
    """All rows under a title, each with as many lines of text as the terminal has room for."""

    def __init__(self, title: str, rows: Sequence[Row]) -> None:
        self._title = title
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self._title, style="bold")
        room = (console.height - 2) // len(self._rows) - 3
        row_options = options.update(height=max(1, min(room, 4)))
        for row in self._rows:
            yield from console.render(row, row_options)


def comparison_table(outcomes: Sequence[Outcome], recordings: list[Recording]) -> Table:
    """Times, word error rate and equality with the reference, a row for each backend."""
    reference = baseline_of(list(outcomes))
    seconds = sum(reference.audio_seconds.values())
    plural = "s" if len(recordings) != 1 else ""
    table = Table(title=f"{len(recordings)} recording{plural}, {seconds:.0f} s", title_justify="left", box=box.ROUNDED)
    table.add_column("backend", no_wrap=True)
    for heading in ("time", "real-time factor", "speed-up", "word error rate", "peak memory"):
        table.add_column(heading, justify="right")
    table.add_column("text, tokens, segment times")
    for outcome in outcomes:
        if outcome.failure is not None:
            table.add_row(str(outcome.backend), "failed", *[""] * 5, style="red")
            continue
        table.add_row(
            Text(str(outcome.backend), style=COLORS[outcome.backend.name]),
            f"{outcome.total_seconds:.2f} s",
            _number(outcome.real_time_factor, ".3f"),
            "baseline" if outcome is reference else _number(outcome.speed_up(reference), ".2f", " x"),
            _number(outcome.word_errors(recordings).rate, ".1%"),
            _number(outcome.peak_memory_mb, ",.0f", " MB"),
            _equality(outcome, reference),
        )
    return table


def _equality(outcome: Outcome, reference: Outcome) -> Text:
    if outcome is reference:
        return Text("the reference")
    if reference.failure is not None:
        return Text("no reference", style="dim")
    differing = outcome.differing(reference)
    if not differing:
        return Text("equal to the reference", style="green")
    return Text(f"differ in {', '.join(path.stem for path in differing)}", style="bold red")


def _number(value: float | None, format: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{format}}{unit}"


def output_console() -> Console:
    """Standard output; in a pipe wide enough for the tables, since there is no terminal to ask."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)
