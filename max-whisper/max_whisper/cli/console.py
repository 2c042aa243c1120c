"""What the command line shows while it works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from max_whisper.checks import one_line
from max_whisper.cli import streams
from max_whisper.cli.wording import command_line_words
from max_whisper.errors import DeviceError, MaxWhisperError, OptionError
from max_whisper.progress import Step

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_STEP = "{task.description}"
_UNEXPECTED_LENGTH = 303  # characters of an unexpected error; a compiler's complaint is pages long


class ConsoleProgress:
    """Shows steps on standard error and text on standard output, without one tearing the other.

    On a terminal a step is a bar that disappears when it is done. Elsewhere each step is one line, printed as it
    begins, and the seconds of audio are left out. Used as a context manager; it is itself the `Progress` callback.
    """

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._message = ""

    def __enter__(self) -> ConsoleProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            has_unicode = sys.stderr.encoding.lower().startswith("utf")
            columns = (
                SpinnerColumn("dots" if has_unicode else "line"),
                TextColumn(_STEP, markup=False),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[amount]}"),
                TimeElapsedColumn(),
            )
            # Output goes through `text`: were it redirected, `max-whisper ... > talk.txt` would leave the file empty.
            self._bars = Progress(
                *columns,
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def __call__(self, step: Step, /) -> None:
        """Show a step: the `Progress` callback."""
        if self._bars is None:
            if step.message != self._message and step.unit != "s":
                print(f"max-whisper: {step.message}", file=sys.stderr, flush=True)
            self._message = step.message
            return
        if step.message != self._message or self._task is None:
            self.clear()
            self._task = self._bars.add_task(step.message, total=step.total, amount="")
            self._message = step.message
        self._bars.update(self._task, total=step.total, completed=step.done, amount=_amount(step))

    def clear(self) -> None:
        """Take the current bar away."""
        if self._bars is not None and self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def text(self, line: str) -> None:
        """Print a line on standard output, at once. Where nobody reads it, it is lost: files have it too."""
        self._print(line)

    def _print(self, text: str, end: str = "\n") -> None:
        if self._bars is not None and sys.stdout.isatty():
            # Above the bar, by the console that draws it: the same terminal.
            self._bars.console.print(text, end=end, markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            print(text, end=end, flush=True)

    def result(self, line: str) -> None:
        """As `text`, for work that is done for its output alone. Raises BrokenPipeError where the reader has gone."""
        self.text(line)
        streams.raise_if_gone(sys.stdout)

    def document(self, text: str) -> None:
        """Print a file's content on standard output: UTF-8, as in a file. Raises BrokenPipeError as `result`."""
        if sys.stdout.isatty():
            self._print(text, end="")
        else:
            streams.write_bytes(sys.stdout, text.encode("utf-8"))

    def complaint(self, line: str) -> None:
        """Print an error or a warning on standard error."""
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)


def file_size(size: float) -> str:
    """A number of bytes for a person: 27 MB."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _amount(step: Step) -> str:
    if step.total is None:  # of a pipe, whose length nobody knows, there are the seconds done
        return f"{step.done} {step.unit}" if step.done and step.unit == "s" else ""
    if step.unit == "B":
        return f"{file_size(step.done)} of {file_size(step.total)}"
    return f"{step.done} of {step.total}{' ' + step.unit if step.unit else ''}"


def error_line(error: Exception) -> str:
    """An error on one line; of one that was not raised on purpose, its kind too."""
    text = " ".join(str(error).split())
    if isinstance(error, OptionError | DeviceError):
        return command_line_words(text)
    if isinstance(error, MaxWhisperError):
        return text
    return f"unexpected {type(error).__name__}: {one_line(text, _UNEXPECTED_LENGTH)} (--debug shows where)"
