"""The program `max-whisper`: it runs one command and ends with its exit status.

Every error is one line on standard error and exit status 1, or 2 where an option is wrong; an interrupt is 130.
"""

from __future__ import annotations

import errno
import importlib
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from max_whisper.cli import interrupts, streams
from max_whisper.cli.arguments import WrongOptionError, parse
from max_whisper.cli.cache import cache
from max_whisper.cli.compiling import compile_ahead
from max_whisper.cli.console import error_line
from max_whisper.cli.interrupts import complain
from max_whisper.cli.language import language
from max_whisper.cli.models import models
from max_whisper.cli.transcribe import transcribe
from max_whisper.errors import DownloadError, MaxWhisperError, OptionError
from max_whisper.options.loading import DEMONSTRATION_MODEL, without_network

WRONG_OPTION = 2  # argparse's own
BROKEN_PIPE = 141  # as shells report a program that SIGPIPE ended: whoever read the output has gone

COMMANDS: dict[str, Callable[..., int]] = {
    "transcribe": transcribe,
    "language": language,
    "compile": compile_ahead,
    "models": models,
    "cache": cache,
}

# Commands with a parser of their own: the module that runs them, and what they do.
COMPARISONS = {
    "demo": ("max_whisper.diagnostics.demo", "transcribe recordings with every backend side by side, and compare them"),
    "parity": ("max_whisper.diagnostics.parity", "compare encoder and decoder with PyTorch, layer by layer"),
    "parity-options": (
        "max_whisper.diagnostics.parity_options",
        "compare every option with openai-whisper, on made-up models and on nano",
    ),
}


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    end(lambda: run(sys.argv[1:]))


def end(work: Callable[[], int]) -> NoReturn:
    """Do a program's work and end this process with the exit status that it returns.

    Its streams are protected, so that printing stops nothing, and it ends as a program should on a signal.
    """
    streams.protect()
    interrupts.watch()
    status = work()
    problem = streams.failure(sys.stdout)
    # A reader that has gone and a stream that was closed on purpose want no more; a full disk loses output.
    if problem is not None and problem.errno not in (errno.EPIPE, errno.EBADF):
        complain(f"error: cannot write to standard output: {problem.strerror}")
        status = status or 1
    if status > 128:
        interrupts.end_now(status)  # an ordinary exit would wait for other threads
    sys.exit(status)


def main_of(run_command: Callable[[Sequence[str]], int]) -> NoReturn:
    """The same for a program of the source tree, which has a parser of its own."""
    arguments = [_with_hyphens(argument) for argument in sys.argv[1:]]
    end(lambda: reported(lambda: _run_with_its_parser(lambda: run_command(arguments))))


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit status."""
    arguments = [_with_hyphens(argument) for argument in arguments]
    return reported(lambda: _run_command(arguments), debug="--debug" in arguments)


def reported(work: Callable[[], int], debug: bool = False) -> int:
    """Do work whose error is one line. Returns its exit status, or that of the error. debug: print a traceback too."""
    warnings.showwarning = _print_warning  # type: ignore[assignment]
    try:
        status = work()
        if sys.stdout:
            sys.stdout.flush()
        return status
    except KeyboardInterrupt as interrupt:
        interrupts.say_interrupted()
        return interrupts.status_of(interrupt)
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, DownloadError):
            error = error.advised(without_network(f"--model {DEMONSTRATION_MODEL}"))
        complain(f"error: {error_line(error)}")
        return WRONG_OPTION if isinstance(error, WrongOptionError) else 1


def _run_command(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMPARISONS:
        return _compare(arguments[0], [argument for argument in arguments[1:] if argument != "--debug"])
    try:
        values = parse(arguments, {name: purpose for name, (_, purpose) in COMPARISONS.items()})
    except SystemExit as end:  # --help, --version or a wrong option: argparse has printed what there is to say
        return int(end.code or 0)
    return COMMANDS[values.pop("command")](**values)


def _compare(command: str, arguments: list[str]) -> int:
    """Run one of COMPARISONS."""
    module, _ = COMPARISONS[command]
    try:
        run_command = importlib.import_module(module).run
    except ModuleNotFoundError as error:
        raise MaxWhisperError(
            f"max-whisper {command} needs the Python module {error.name!r}: pip install 'max-whisper[reference]'"
        ) from error
    return _run_with_its_parser(lambda: run_command(arguments, program=f"max-whisper {command}"))


def _run_with_its_parser(run_command: Callable[[], int]) -> int:
    try:
        return int(run_command())
    except OptionError as error:
        raise WrongOptionError(str(error)) from error
    except SystemExit as end:
        return int(end.code or 0)


def _with_hyphens(argument: str) -> str:
    """`--output_dir` as `--output-dir`: openai-whisper's spelling works too. The value after `=` stays."""
    return re.sub(r"^--\w[\w-]*", lambda option: option[0].replace("_", "-"), argument)


def _print_warning(message: Warning | str, *_: object) -> None:
    complain(f"warning: {' '.join(str(message).split())}")
