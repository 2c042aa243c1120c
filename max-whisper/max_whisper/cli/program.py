"""The program `max-whisper`: it runs one command and ends with its exit status.

Every error is one line on standard error and exit status 1, or 2 where an option is wrong; an interrupt is 130.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from max_whisper.cli import commands
from max_whisper.cli.arguments import WrongOptionError, parse
from max_whisper.cli.cache import cache
from max_whisper.cli.console import error_line
from max_whisper.errors import DownloadError, MaxWhisperError, OptionError

WRONG_OPTION = 2  # argparse's own
INTERRUPTED = 130  # as shells report a program that SIGINT ended
INTERRUPT_GRACE = 1.0  # seconds
BROKEN_PIPE = 141  # the same for SIGPIPE: whoever read the output has gone

# Commands with a parser of their own: the module that runs them, and what they do.
DIAGNOSTICS = {
    "demo": ("max_whisper.diagnostics.demo", "transcribe recordings with every backend side by side, and compare them"),
    "parity": ("max_whisper.diagnostics.parity", "compare encoder and decoder with PyTorch, layer by layer"),
    "parity-options": (
        "max_whisper.diagnostics.parity_options",
        "compare every option with openai-whisper, on made-up models and on nano",
    ),
    "benchmark": ("benchmarks.run", "measure every backend: time, memory, word error rate; as a table or as JSON"),
}


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    _watch_for_interrupt()
    status = run(sys.argv[1:])
    if status == INTERRUPTED:
        _end_now(status)  # an ordinary exit would wait for other threads
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit status."""
    arguments = [_with_hyphens(argument) for argument in arguments]
    debug = "--debug" in arguments
    warnings.showwarning = _print_warning  # type: ignore[assignment]
    try:
        status = _run_command(arguments)
        if sys.stdout:  # None where the shell closed it: `>&-`
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Nothing more can be written, and the interpreter's own flush at exit must not fail on it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, DownloadError):
            error = error.advised(commands.WITHOUT_NETWORK)
        _complain(f"error: {error_line(error)}")
        return WRONG_OPTION if isinstance(error, WrongOptionError) else 1


def _run_command(arguments: list[str]) -> int:
    if arguments and arguments[0] in DIAGNOSTICS:
        return _diagnose(arguments[0], [argument for argument in arguments[1:] if argument != "--debug"])
    try:
        values = parse(arguments, {name: purpose for name, (_, purpose) in DIAGNOSTICS.items()})
    except SystemExit as end:  # --help, --version or a wrong option: argparse has printed what there is to say
        return int(end.code or 0)
    by_name: dict[str, Callable[..., int]] = {
        "transcribe": commands.transcribe,
        "language": commands.language,
        "compile": commands.compile_ahead,
        "models": commands.models,
        "cache": cache,
    }
    return by_name[values.pop("command")](**values)


def _diagnose(command: str, arguments: list[str]) -> int:
    """Run one of DIAGNOSTICS. The benchmark is in the source tree alone, at whose root it is started."""
    module, _ = DIAGNOSTICS[command]
    try:
        run_command = importlib.import_module(module).run
    except ModuleNotFoundError as error:
        if error.name == "benchmarks":
            raise MaxWhisperError(
                f"max-whisper {command} is a part of the source tree: run python -m max_whisper {command} in a clone"
            ) from error
        raise MaxWhisperError(
            f"max-whisper {command} needs the Python module {error.name!r}: pip install 'max-whisper[reference]'"
        ) from error
    try:
        return int(run_command(arguments, program=f"max-whisper {command}"))
    except OptionError as error:
        raise WrongOptionError(str(error)) from error
    except SystemExit as end:
        return int(end.code or 0)


def _with_hyphens(argument: str) -> str:
    """`--output_dir` as `--output-dir`: openai-whisper's spelling works too. The value after `=` stays."""
    return re.sub(r"^--\w[\w-]*", lambda option: option[0].replace("_", "-"), argument)


def _watch_for_interrupt() -> None:
    """End the process soon after Ctrl-C even where Python does not come to hear of it.

    While the main thread is in a compile, a minute of native code, KeyboardInterrupt has to wait. The system's handler
    tells this thread at once; what has not come to its end after the grace is ended.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        while os.read(reading, 1) != bytes([signal.SIGINT]):
            pass
        time.sleep(INTERRUPT_GRACE)
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h\n")  # the cursor, which the bar hides
        _complain("interrupted")
        _end_now(INTERRUPTED)

    threading.Thread(target=watch, daemon=True).start()


def _end_now(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):  # whoever read it may have been interrupted first
            stream.flush()
    os._exit(status)


def _complain(message: str) -> None:
    print(f"max-whisper: {message}", file=sys.stderr, flush=True)


def _print_warning(message: Warning | str, *_: object) -> None:
    _complain(f"warning: {' '.join(str(message).split())}")
