"""The commands: parse, call the package, print.

Every error is one line on standard error and exit status 1, or 2 where an option is wrong; an interrupt is 130. The
package is imported by the commands that need it, so that `--help` and a mistake in an option answer at once.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from max_whisper.arguments import (
    DEMONSTRATION_MODEL,
    STANDARD_INPUT,
    SUBTITLE_OPTIONS,
    WrongOptionError,
    decoding_options,
    parse,
    subtitle_options,
)
from max_whisper.console import ConsoleProgress, file_size
from max_whisper.errors import AudioError, MaxWhisperError, OptionError

if TYPE_CHECKING:
    from max_whisper.dimensions import ModelDimensions
    from max_whisper.options import TranscribeOptions
    from max_whisper.progress import Step
    from max_whisper.results import Segment, Transcription
    from max_whisper.transcriber import Transcriber

WRONG_OPTION = 2  # argparse's own
INTERRUPTED = 130  # as shells report a program that SIGINT ended
INTERRUPT_GRACE = 1.0  # seconds
BROKEN_PIPE = 141  # the same for SIGPIPE: whoever read the output has gone

LOADING = ("model", "backend", "device", "compute_type", "threads")  # the options of load_model
LIKELY_LANGUAGES = 3  # of each recording, in the command `language`

# Commands of the benchmarks package: its module and what it does.
MEASUREMENTS = {
    "demo": ("demo", "transcribe recordings with every backend side by side, and compare them"),
    "benchmark": ("run", "measure every backend: time, memory, word error rate; as a table or as JSON"),
    "parity": ("parity", "compare encoder and decoder with PyTorch, layer by layer"),
    "parity-options": ("parity_options", "compare every option with openai-whisper, on made-up models and on nano"),
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
        values = parse(arguments, {name: purpose for name, (_, purpose) in MEASUREMENTS.items()})
    except SystemExit as end:  # --help, --version or a wrong option: argparse has printed what there is to say
        return int(end.code or 0)
    commands: dict[str, Callable[..., int]] = {
        "transcribe": transcribe,
        "language": language,
        "compile": compile_ahead,
        "models": models,
    }
    return commands[values.pop("command")](**values)


def transcribe(
    files: list[str], output_dir: str, output_format: str, verbose: bool, workers: int, debug: bool, **values: Any
) -> int:
    """`max-whisper transcribe`: text on standard output, files into `output_dir`."""
    loading = {name: values.pop(name) for name in LOADING if name in values}
    subtitles, notes = subtitle_options(values)
    options = decoding_options({name: value for name, value in values.items() if name not in SUBTITLE_OPTIONS})
    recordings = _recordings(files)
    # Windows of several files make a batch; those of a single one are its stretches of speech, which is an option.
    batch_size: int | None = options.pop("batch_size") if len(recordings) > 1 else None
    _check({"batch_size": batch_size})
    checked = _check(options, loading["backend"])  # what is wrong here need not wait for a model to load
    _check_workers(workers, files, batch_size)
    folder = _writable_folder(output_dir)
    with ConsoleProgress() as console:
        for note in notes:
            console.complaint(f"max-whisper: warning: {note}")
        work = Work(console, debug)
        present = work.existing(recordings)
        if not present:
            return work.status
        is_detected = False

        def prepare(dims: ModelDimensions) -> None:
            nonlocal is_detected
            checked.resolve(dims)  # what this model cannot do, it can do with no file
            is_detected = checked.language is None and dims.is_multilingual

        def show(language: str, segments: Iterable[Segment]) -> None:
            if verbose and is_detected:
                console.text(f"Detected language: {_language_name(language)}")
            for segment in segments if verbose else ():
                console.text(_line(segment))

        outcomes: Iterable[Transcription | Exception] | None = None
        if min(workers, len(present)) > 1:
            from max_whisper.workers import Workers, core_groups

            groups = core_groups(min(workers, len(present)))
            names = [recording.name for recording in present]
            outcomes = Workers(names, groups, _choices(console, loading), options, prepare, console).outcomes()
        else:
            transcriber = _load(console, loading)
            prepare(transcriber.dims)
            if batch_size is not None:
                sources = [recording.audio for recording in present]
                outcomes = transcriber.transcribe_many(sources, batch_size=batch_size, progress=console, **options)
        if outcomes is not None:
            for recording, outcome in zip(present, outcomes, strict=True):
                with work.on_one():
                    if isinstance(outcome, Exception):
                        raise outcome
                    show(outcome.language, outcome.segments)
                    _write_files(outcome, folder, recording.name, output_format, subtitles)
            return work.status
        for recording in present:
            with work.on_one():
                stream = transcriber.stream(recording.audio, progress=_bar(recording, console), **options)
                show(stream.language, stream)
                transcription = stream.transcription()
                console.clear()
                _write_files(transcription, folder, recording.name, output_format, subtitles)
    return work.status


def language(files: list[str], segments: int, debug: bool, **loading: Any) -> int:
    """`max-whisper language`: the most probable languages of each recording."""
    recordings = _recordings(files)
    _check({"language_detection_segments": segments})
    with ConsoleProgress() as console:
        work = Work(console, debug)
        present = work.existing(recordings)
        if not present:
            return work.status
        transcriber = _load(console, loading)
        if not transcriber.dims.is_multilingual:
            raise OptionError(f"model: {transcriber.name} knows English only; choose another, such as --model tiny")
        for recording in present:
            with work.on_one():
                _, probabilities = transcriber.detect_language(recording.audio, segments=segments)
                likely = sorted(probabilities, key=lambda code: -probabilities[code])[:LIKELY_LANGUAGES]
                shares = (f"{_language_name(code)} ({code}) {probabilities[code]:.1%}" for code in likely)
                console.text(f"{recording.name}: {', '.join(shares)}")
    return work.status


def compile_ahead(models: list[str], device: str, compute_type: str, debug: bool) -> int:
    """`max-whisper compile`: the graphs of each model and type into the cache; prints where they are."""
    from max_whisper.transcriber import COMPUTE_TYPES, compile_model

    types = compute_type.split(",")
    for name in types:
        if name not in COMPUTE_TYPES:
            raise WrongOptionError(f"compute_type: one or several of {', '.join(COMPUTE_TYPES)}, got {name!r}")
    with ConsoleProgress() as console:
        work = Work(console, debug)
        for model in models:
            for name in types:
                with work.on_one():
                    start = time.perf_counter()
                    path = compile_model(model, device=device, compute_type=name, progress=console)
                    console.clear()
                    size, seconds = file_size(path.stat().st_size), time.perf_counter() - start
                    console.text(f"{model}, {name}: {size} in {seconds:.0f} s, {path}")
    return work.status


def models(**_: Any) -> int:
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
        here = cache_dir() / "checkpoints" / f"{official.name}.pt"
        state = f"yes, {file_size(here.stat().st_size)}" if here.is_file() else "no, downloaded when used"
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


@dataclass(frozen=True)
class Recording:
    """One of the FILE arguments."""

    name: str  # as it was given; `stdin` for standard input
    audio: str | BinaryIO


class Work:
    """What is done with one recording after the other: what goes wrong with one does not stop the others."""

    def __init__(self, console: ConsoleProgress, debug: bool) -> None:
        self.status = 0  # the command's exit status
        self._console = console
        self._debug = debug

    def existing(self, recordings: Sequence[Recording]) -> list[Recording]:
        """The recordings that are there: for the others alone no model need be loaded."""
        found = []
        for recording in recordings:
            with self.on_one():
                if isinstance(recording.audio, str) and not os.path.exists(recording.audio):  # noqa: PTH110
                    raise AudioError(f"no such file: '{recording.audio}'; check the path")
                found.append(recording)
        return found

    @contextlib.contextmanager
    def on_one(self) -> Iterator[None]:
        """Around the work on one recording, whose error is reported."""
        try:
            yield
        except BrokenPipeError:  # of standard output: no later file could be printed either
            raise
        except Exception as error:
            self._console.clear()
            if self._debug:
                traceback.print_exception(error)
            self._console.complaint(f"max-whisper: error: {_one_line(error)}")
            self.status = 1


def _recordings(files: Sequence[str]) -> list[Recording]:
    if files.count(STANDARD_INPUT) > 1:
        raise WrongOptionError("-: standard input can be read only once; give it once")
    if STANDARD_INPUT in files and (sys.stdin is None or sys.stdin.isatty()):
        raise WrongOptionError(
            "-: nothing is piped into standard input; do so: cat talk.mp3 | max-whisper transcribe -"
        )
    return [Recording("stdin", sys.stdin.buffer) if file == STANDARD_INPUT else Recording(file, file) for file in files]


def _check(options: dict[str, Any], backend: str | None = None) -> TranscribeOptions:
    """The options of a transcription. Raises WrongOptionError for what no model, or not this backend, could do."""
    from max_whisper.options import TranscribeOptions

    try:
        checked = TranscribeOptions.from_keywords(options)
        if backend == "torch":
            checked.for_reference()
    except OptionError as error:
        raise WrongOptionError(str(error)) from error
    return checked


def _check_workers(workers: int, files: Sequence[str], batch_size: int | None) -> None:
    """Raises WrongOptionError where `workers` cannot be, whatever the machine."""
    if workers < 1:
        raise WrongOptionError("workers: a number of at least 1, got 0")
    if workers > 1 and STANDARD_INPUT in files:
        raise WrongOptionError("workers: other processes cannot read this one's standard input; give files")
    if workers > 1 and batch_size is not None:
        raise WrongOptionError("workers and batch_size exclude each other for several files; choose one")


def _load(console: ConsoleProgress, loading: dict[str, Any]) -> Transcriber:
    from max_whisper.transcriber import load_model

    choices = _choices(console, loading)
    transcriber = load_model(choices.pop("model"), progress=console, **choices)
    console.clear()
    return transcriber


def _choices(console: ConsoleProgress, loading: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `load_model`; it is said where the model is the one for demonstration."""
    if "model" not in loading:
        console.complaint(
            f"max-whisper: using the bundled demonstration model {DEMONSTRATION_MODEL}; "
            "for real recordings choose one, such as --model turbo"
        )
    return {"model": DEMONSTRATION_MODEL, **loading}


def _bar(recording: Recording, console: ConsoleProgress) -> Callable[[Step], None]:
    """Shows how many seconds of a recording are done, beside its name."""
    from max_whisper.progress import Step

    message = f"transcribing {Path(recording.name).name}"

    def progress(step: Step, /) -> None:
        console(replace(step, message=message) if step.unit == "s" else step)

    progress(Step(message, unit="s"))
    return progress


def _language_name(code: str) -> str:
    from max_whisper.tokenizer import LANGUAGES

    return LANGUAGES[code].title()


def _line(segment: Segment) -> str:
    from max_whisper.writers import format_timestamp

    return f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}] {segment.text}"


def _write_files(
    transcription: Transcription, folder: Path, file: str, output_format: str, subtitles: dict[str, Any]
) -> None:
    from max_whisper.writers import FORMATS

    # The file's last suffix alone is replaced, as in openai-whisper: talk.v2.mp3 becomes talk.v2.srt.
    name = os.path.splitext(os.path.basename(file))[0]  # noqa: PTH119, PTH122
    for format in FORMATS if output_format == "all" else (output_format,):
        transcription.save(folder / f"{name}.{format}", **subtitles)


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
