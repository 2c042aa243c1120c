"""The commands: parse, call the package, print.

Every error is one line on standard error and exit status 1, or 2 where an option is wrong; an interrupt is 130. The
package is imported by the commands that need it, so that `--help` and a mistake in an option answer at once.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from max_whisper.console import ConsoleProgress, file_size
from max_whisper.errors import MaxWhisperError, OptionError
from max_whisper.version import __version__

if TYPE_CHECKING:
    from max_whisper.results import Transcription
    from max_whisper.transcriber import Transcriber

WRONG_OPTION = 2  # argparse's own
INTERRUPTED = 130  # as shells report a program that SIGINT ended
INTERRUPT_GRACE = 1.0  # seconds
BROKEN_PIPE = 141  # the same for SIGPIPE: whoever read the output has gone

DEMONSTRATION_MODEL = "nano"

# Commands of the benchmarks package: its module and what it does.
MEASUREMENTS = {
    "demo": ("demo", "transcribe recordings with every backend side by side, and compare them"),
    "benchmark": ("run", "measure every backend: time, memory, word error rate; as a table or as JSON"),
    "parity": ("parity", "compare encoder and decoder with PyTorch, layer by layer"),
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
        _complain(f"error: {_one_line(error)}")
        return WRONG_OPTION if isinstance(error, WrongOptionError) else 1


def _run_command(arguments: list[str]) -> int:
    if arguments and arguments[0] in MEASUREMENTS:
        return _measure(arguments[0], [argument for argument in arguments[1:] if argument != "--debug"])
    try:
        options = vars(_parser().parse_args(arguments))
    except SystemExit as end:  # --help, --version or a wrong option: argparse has printed what there is to say
        return int(end.code or 0)
    command = options.pop("command")
    return int(command(**options))


class WrongOptionError(OptionError):
    """An option of the command line with a value that cannot be, whatever the model and the files."""


def transcribe(
    files: list[str],
    backend: str,
    device: str,
    compute_type: str,
    output_dir: str,
    output_format: str,
    verbose: bool,
    debug: bool,
    model: str | None = None,
    **options: Any,
) -> int:
    """`max-whisper transcribe`: text on standard output, files into `output_dir`."""
    from max_whisper.options import TranscribeOptions

    try:
        checked = TranscribeOptions(**options)  # what is wrong here need not wait for a model to load
    except OptionError as error:
        raise WrongOptionError(str(error)) from error
    folder = _writable_folder(output_dir)
    transcriber: Transcriber | None = None
    status = 0
    with ConsoleProgress() as console:

        def report(error: Exception) -> None:
            console.clear()
            if debug:
                traceback.print_exception(error)
            console.complaint(f"max-whisper: error: {_one_line(error)}")

        for file in files:
            try:
                from max_whisper.audio import load_audio

                audio = load_audio(file)
            except Exception as error:
                report(error)
                status = 1
                continue
            if transcriber is None:
                from max_whisper.transcriber import load_model

                if model is None:
                    console.complaint(
                        f"max-whisper: using the bundled demonstration model {DEMONSTRATION_MODEL}; "
                        "for real recordings choose one, such as --model turbo"
                    )
                choices: dict[str, Any] = {"backend": backend, "device": device, "compute_type": compute_type}
                transcriber = load_model(model or DEMONSTRATION_MODEL, progress=console, **choices)
                console.clear()
                checked.resolve(transcriber.dims)  # what this model cannot do, it can do with no file
            try:
                transcription = _transcribe(transcriber, file, audio, options, console, verbose)
                _write_files(transcription, folder, file, output_format)
            except BrokenPipeError:  # of standard output: no later file could be printed either
                raise
            except Exception as error:
                report(error)
                status = 1
    return status


def models() -> int:
    """`max-whisper models`: the known names, which of them are here, and what the cache holds."""
    from max_whisper.cache import cache_dir
    from max_whisper.checkpoint import available_models
    from max_whisper.checkpoint.load import BUNDLED
    from max_whisper.checkpoint.official import OFFICIAL_MODELS

    print(f"{'model':<16}{'layers':>8}{'width':>7}  {'languages':<10}  here")
    for name in available_models():
        if name == BUNDLED:
            print(f"{name:<16}{'':>8}{'':>7}  {'English':<10}  bundled: works with no network")
            continue
        official = OFFICIAL_MODELS[name]
        dims = official.dims
        folder = cache_dir() / "checkpoints"
        here = [
            *folder.glob(f"{official.name}.pt"),
            *folder.glob(f"converted/{official.name}-{official.sha256[:16]}.*"),
        ]
        state = f"yes, {file_size(sum(path.stat().st_size for path in here))}" if here else "no, downloaded when used"
        layers = f"{dims.n_audio_layer}+{dims.n_text_layer}"
        languages = str(dims.num_languages) if dims.is_multilingual else "English"
        print(f"{name:<16}{layers:>8}{dims.n_audio_state:>7}  {languages:<10}  {state}")
    print("\nAlso: a .pt file, a Hugging Face folder, or a repository id such as openai/whisper-tiny.")
    print(f"\ncache folder: {cache_dir()} (MAX_WHISPER_CACHE moves it)")
    for path in sorted(cache_dir().iterdir()) if cache_dir().is_dir() else []:
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        size = file_size(sum(file.stat().st_size for file in files))
        print(f"  {path.name:<14}{size:>9} in {len(files)} file{'s' if len(files) != 1 else ''}")
    return 0


def _measure(command: str, arguments: list[str]) -> int:
    """Run a command of the benchmarks: those of the source tree where there is one, else those in the wheel."""
    module, _ = MEASUREMENTS[command]
    root = Path(__file__).resolve().parents[2]
    package = "max_whisper_benchmarks"
    if (root / "pyproject.toml").is_file() and (root / "benchmarks" / "__init__.py").is_file():
        package = "benchmarks"
        sys.path.insert(0, str(root))
    try:
        run_measurement = importlib.import_module(f"{package}.{module}").run
    except ModuleNotFoundError as error:
        raise MaxWhisperError(
            f"max-whisper {command} needs the Python module {error.name!r}: install max-whisper with its dev extra"
        ) from error
    try:
        return int(run_measurement(arguments, program=f"max-whisper {command}"))
    except OptionError as error:
        raise WrongOptionError(str(error)) from error
    except SystemExit as end:
        return int(end.code or 0)


def _transcribe(
    transcriber: Transcriber, file: str, audio: Any, options: dict[str, Any], console: ConsoleProgress, verbose: bool
) -> Transcription:
    from max_whisper.audio import SAMPLE_RATE
    from max_whisper.progress import Step
    from max_whisper.tokenizer import LANGUAGES
    from max_whisper.writers import format_timestamp

    message = f"transcribing {Path(file).name}"

    def progress(step: Step, /) -> None:
        console(replace(step, message=message))

    progress(Step(message, 0, len(audio) // SAMPLE_RATE, "s"))
    stream = transcriber.stream(audio, progress=progress, **options)
    if verbose and options["language"] is None and transcriber.dims.is_multilingual:
        console.text(f"Detected language: {LANGUAGES[stream.language].title()}")
    for segment in stream:
        if verbose:
            start, end = format_timestamp(segment.start), format_timestamp(segment.end)
            console.text(f"[{start} --> {end}] {segment.text}")
    console.clear()
    return stream.transcription()


def _write_files(transcription: Transcription, folder: Path, file: str, output_format: str) -> None:
    from max_whisper.writers import FORMATS

    # The file's last suffix alone is replaced, as in openai-whisper: talk.v2.mp3 becomes talk.v2.srt.
    name = os.path.splitext(os.path.basename(file))[0]  # noqa: PTH119, PTH122
    for format in FORMATS if output_format == "all" else (output_format,):
        transcription.save(folder / f"{name}.{format}")


def _writable_folder(name: str) -> Path:
    """The folder for the results, made where it is missing. Raises MaxWhisperError where nothing can be written."""
    import tempfile

    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise MaxWhisperError(
            f"cannot write to the output folder '{name}': {reason}; choose another with --output-dir"
        ) from error
    return folder


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


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, MaxWhisperError):
        return text
    return f"unexpected {type(error).__name__}: {text} (--debug shows where)"


def _print_warning(message: Warning | str, *_: object) -> None:
    _complain(f"warning: {' '.join(str(message).split())}")


class CommandParser(argparse.ArgumentParser):
    """argparse with its error on one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"max-whisper: error: {message}; see {self.prog} --help\n")


def _true_or_false(text: str) -> bool:
    if text not in ("True", "False"):
        raise argparse.ArgumentTypeError(f"True or False, got {text!r}")
    return text == "True"


def _number_or_none(text: str) -> float | None:
    return None if text == "None" else float(text)


_number_or_none.__name__ = "number"  # argparse's message: invalid number value: 'x'


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="max-whisper", description="OpenAI Whisper speech recognition on MAX Graph.")
    parser.add_argument("--version", action="version", version=f"max-whisper {__version__}")
    commands: Any = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    general = argparse.ArgumentParser(add_help=False)
    general.add_argument("--debug", action="store_true", help="show the traceback of an error")

    _add_transcribe(commands.add_parser("transcribe", parents=[general], help="write down what recordings say"))
    listing = commands.add_parser("models", parents=[general], help="list the known models and what the cache holds")
    listing.add_argument("list", nargs="?", choices=["list"], help=argparse.SUPPRESS)
    listing.set_defaults(command=lambda list, debug: models())
    for command, (_, purpose) in MEASUREMENTS.items():
        commands.add_parser(command, help=purpose)
    return parser


def _add_transcribe(parser: argparse.ArgumentParser) -> None:
    """The options of `transcribe`; names and defaults are openai-whisper's where it has them."""
    parser.description = "Write down what recordings say. Option names may be written with - or _."
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.set_defaults(command=transcribe)
    add = parser.add_argument
    boolean: dict[str, Any] = {"type": _true_or_false, "metavar": "True|False"}
    number: dict[str, Any] = {"type": _number_or_none, "metavar": "NUMBER"}
    add("files", nargs="+", metavar="FILE", help="audio or video files")
    add("--model", default=argparse.SUPPRESS, help="name, .pt file, Hugging Face folder or repository id "
        f"(default: {DEMONSTRATION_MODEL}, a small model for demonstration)")  # fmt: skip
    add("--backend", default="max", choices=["max", "hybrid", "torch"], help="encoder and decoder on MAX, the encoder "
        "alone, or openai-whisper itself")  # fmt: skip
    add("--device", default="auto", choices=["auto", "cpu", "gpu"], help="auto is a GPU where there is one")
    add("--compute-type", default="auto", choices=["auto", "float32"], help="auto is float32 today")
    add("--output-dir", "-o", default=".", metavar="FOLDER", help="folder for the files, made where it is missing")
    add("--output-format", "-f", default="all", choices=["txt", "vtt", "srt", "tsv", "json", "all"],
        help="format of the files")  # fmt: skip
    add("--verbose", default=True, **boolean, help="print the segments as they come")
    add(
        "--task",
        default="transcribe",
        choices=["transcribe", "translate"],
        help="write the language spoken, or English",
    )
    add("--language", default=None, help="code or English name of the language spoken; detected where it is not given")
    add("--temperature", type=float, default=0.0, metavar="NUMBER", help="0 takes the most probable token")
    add("--without-timestamps", default=False, **boolean, help="one segment for each 30 s, without times inside it")
    add(
        "--condition-on-previous-text", default=True, **boolean, help="the text so far is the prompt of the next window"
    )
    add("--no-speech-threshold", default=0.6, **number, help="a window more probably without speech is silence, "
        "unless its text is probable")  # fmt: skip
    add("--logprob-threshold", default=-1.0, **number, help="mean log-probability above which a text is probable")
    add("--compression-ratio-threshold", default=2.4, **number, help="above it a text counts as repetition")
    add("--suppress-tokens", default="-1", metavar="LIST", help="token numbers never chosen, with commas; "
        "-1 is what is written but not spoken")  # fmt: skip
