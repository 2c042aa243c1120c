"""The commands on recordings and models: call the package, print, write files.

The package is imported by the commands that need it, so that `--help` and a mistake in an option answer at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from max_whisper.audio.url import is_url, no_such_file, shown_url, url_file_name
from max_whisper.cli.arguments import (
    LOADING,
    STANDARD_INPUT,
    SUBTITLES,
    WrongOptionError,
    checked,
    decoding_options,
    subtitle_options,
)
from max_whisper.cli.console import ConsoleProgress, error_line, file_size
from max_whisper.cli.options import ALL_FORMATS, WorkerOptions
from max_whisper.errors import AudioError, MaxWhisperError, OptionError
from max_whisper.options import LoadOptions, TranscribeOptions
from max_whisper.options.loading import DEMONSTRATION_MODEL, default_model
from max_whisper.progress import Step
from max_whisper.results.formats import FORMATS

if TYPE_CHECKING:
    from max_whisper.models.whisper.dimensions import ModelDimensions
    from max_whisper.results import Segment, Transcription
    from max_whisper.transcriber import Transcriber

# What takes the place of a model that cannot be downloaded.
WITHOUT_NETWORK = f"--model {DEMONSTRATION_MODEL} is a small demonstration model that comes with the package"
LIKELY_LANGUAGES = 3  # of each recording, in the command `language`


def transcribe(
    files: list[str], output_dir: str, output_format: str, verbose: bool, workers: int, debug: bool, **values: Any
) -> int:
    """`max-whisper transcribe`: text on standard output, files into `output_dir`."""
    loading = {name: values.pop(name) for name in LOADING}
    checked(LoadOptions, loading)
    subtitles, notes = subtitle_options(values)
    options = decoding_options({name: value for name, value in values.items() if name not in SUBTITLES})
    recordings = _recordings(files)
    wanted = _check(options)  # what is wrong here need not wait for a model to load
    # With a batch size the windows of several recordings are decoded together, where those of one follow each other.
    together = wanted.batch_size is not None and wanted.chunking == "sequential" and len(recordings) > 1
    _check_use(wanted, loading["backend"], together)
    _check_workers(workers, files, together)
    folder = _writable_folder(output_dir)
    with ConsoleProgress() as console:
        for note in notes:
            console.complaint(f"max-whisper: warning: {note}")
        errors = FileErrors(console, debug)
        present = errors.existing(recordings)
        if not present:
            return errors.status
        is_detected = False

        def prepare(dims: ModelDimensions) -> None:
            nonlocal is_detected
            wanted.resolve(dims)  # what this model cannot do, it can do with no file
            is_detected = wanted.language is None and dims.is_multilingual

        def show(language: str, segments: Iterable[Segment]) -> None:
            if verbose and is_detected:
                console.text(f"Detected language: {_language_name(language)}")
            for segment in segments if verbose else ():
                console.text(_line(segment))

        outcomes: Iterable[Transcription | Exception] | None = None
        if min(workers, len(present)) > 1:
            from max_whisper.transcriber import load_model
            from max_whisper.transcription.workers import Workers, core_groups

            groups = core_groups(min(workers, len(present)))
            names = [recording.name for recording in present]
            outcomes = Workers(names, groups, load_model, loading, options, prepare, console).outcomes()
        else:
            transcriber = _load(console, loading)
            prepare(transcriber.dims)
            if together:
                sources = [recording.audio for recording in present]
                outcomes = transcriber.transcribe_many(sources, progress=console, **options)
        if outcomes is not None:
            for recording, outcome in zip(present, outcomes, strict=True):
                with errors.reported():
                    if isinstance(outcome, Exception):
                        raise outcome
                    show(outcome.language, outcome.segments)
                    _write_files(outcome, folder, recording.name, output_format, subtitles)
            return errors.status
        for recording in present:
            with errors.reported():
                stream = transcriber.stream(recording.audio, progress=_bar(recording, console), **options)
                show(stream.language, stream)
                transcription = stream.transcription()
                console.clear()
                _write_files(transcription, folder, recording.name, output_format, subtitles)
    return errors.status


def language(files: list[str], segments: int, debug: bool, **values: Any) -> int:
    """`max-whisper language`: the most probable languages of each recording."""
    loading = {name: values.pop(name) for name in LOADING}
    recordings = _recordings(files)
    checked(LoadOptions, loading)
    _check({"language_detection_segments": segments, **values})
    with ConsoleProgress() as console:
        errors = FileErrors(console, debug)
        present = errors.existing(recordings)
        if not present:
            return errors.status
        transcriber = _load(console, loading)
        if not transcriber.dims.is_multilingual:
            raise OptionError(f"model: {transcriber.name} knows English only; choose another, such as --model tiny")
        for recording in present:
            with errors.reported():
                _, probabilities = transcriber.detect_language(recording.audio, segments=segments, **values)
                likely = sorted(probabilities, key=lambda code: -probabilities[code])[:LIKELY_LANGUAGES]
                shares = (f"{_language_name(code)} ({code}) {probabilities[code]:.1%}" for code in likely)
                console.text(f"{recording.name}: {', '.join(shares)}")
    return errors.status


def compile_ahead(models: list[str], device: str, compute_type: str, debug: bool) -> int:
    """`max-whisper compile`: the graphs of each model and type into the cache; prints where they are."""
    from max_whisper.backends import COMPUTE_TYPES
    from max_whisper.transcriber import compile_model

    types = compute_type.split(",")
    for name in types:
        if name not in COMPUTE_TYPES:
            raise WrongOptionError(f"compute_type: one or several of {', '.join(COMPUTE_TYPES)}, got {name!r}")
    with ConsoleProgress() as console:
        errors = FileErrors(console, debug)
        for model in models or [default_model()]:
            for name in types:
                with errors.reported():
                    start = time.perf_counter()
                    path = compile_model(model, device=device, compute_type=name, progress=console)
                    console.clear()
                    size, seconds = file_size(path.stat().st_size), time.perf_counter() - start
                    console.text(f"{model}, {name}: {size} in {seconds:.0f} s, {path}")
    return errors.status


def models(**_: Any) -> int:
    """`max-whisper models`: the known names, which of them are here, and what the cache holds."""
    from max_whisper.backends.factory import known_models
    from max_whisper.runtime.cache_folder import cache_dir

    print(f"{'model':<16}{'layers':>8}{'width':>7}  {'languages':<10}  here")
    for model in known_models():
        dims = model.dims
        if dims is None:
            print(f"{model.name:<16}{'':>8}{'':>7}  {'English':<10}  bundled: works with no network")
            continue
        state = f"yes, {file_size(model.file.stat().st_size)}" if model.file else "no, downloaded when used"
        layers = f"{dims.n_audio_layer}+{dims.n_text_layer}"
        languages = str(dims.num_languages) if dims.is_multilingual else "English"
        print(f"{model.name:<16}{layers:>8}{dims.n_audio_state:>7}  {languages:<10}  {state}")
    print("\nAlso: a .pt file, a Hugging Face folder, or a repository id such as openai/whisper-tiny.")
    print(f"\ncache folder: {cache_dir()} (MAX_WHISPER_CACHE moves it)")
    for path in sorted(cache_dir().iterdir()) if cache_dir().is_dir() else []:
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        size = file_size(sum(file.stat().st_size for file in files))
        print(f"  {path.name:<14}{size:>9} in {len(files)} file{'s' if len(files) != 1 else ''}")
    return 0


@dataclass(frozen=True)
class Recording:
    """One of the FILE arguments."""

    name: str  # as it was given, an address without its password; `stdin` for standard input
    audio: str | BinaryIO


class FileErrors:
    """The errors of single files: each is reported, and does not stop the work on the others."""

    def __init__(self, console: ConsoleProgress, debug: bool) -> None:
        self.status = 0  # the command's exit status
        self._console = console
        self._debug = debug

    def existing(self, recordings: Sequence[Recording]) -> list[Recording]:
        """The recordings that are there: for the others alone no model need be loaded."""
        found = []
        for recording in recordings:
            with self.reported():
                audio = recording.audio
                if isinstance(audio, str) and not is_url(audio) and not os.path.exists(audio):  # noqa: PTH110
                    raise AudioError(no_such_file(audio))
                found.append(recording)
        return found

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """Around the work on one recording, whose error is reported."""
        try:
            yield
        except BrokenPipeError:  # of standard output: no later file could be printed either
            raise
        except Exception as error:
            self._console.clear()
            if self._debug:
                traceback.print_exception(error)
            self._console.complaint(f"max-whisper: error: {error_line(error)}")
            self.status = 1


def _recordings(files: Sequence[str]) -> list[Recording]:
    if files.count(STANDARD_INPUT) > 1:
        raise WrongOptionError("-: standard input can be read only once; give it once")
    if STANDARD_INPUT in files and (sys.stdin is None or sys.stdin.isatty()):
        raise WrongOptionError(
            "-: nothing is piped into standard input; do so: cat talk.mp3 | max-whisper transcribe -"
        )
    return [
        Recording("stdin", sys.stdin.buffer) if file == STANDARD_INPUT else Recording(shown_url(file), file)
        for file in files
    ]


def _check(options: dict[str, Any]) -> TranscribeOptions:
    """The options of a transcription. Raises WrongOptionError for values that no model, or no file, could take."""
    wanted: TranscribeOptions = checked(TranscribeOptions, options)
    if wanted.sample_rate is not None and wanted.input_format is None:
        raise WrongOptionError("sample_rate: files state their own; it is for raw samples, give input_format too")
    return wanted


def _check_use(options: TranscribeOptions, backend: str, together: bool) -> None:
    """Raises WrongOptionError where the backend has not all the options, or a batch size has no use."""
    try:
        if together:
            options = options.updated({"batch_size": None})
        if backend == "torch":
            options.for_reference()
        options.for_one_recording()
    except OptionError as error:
        raise WrongOptionError(str(error)) from error


def _check_workers(workers: int, files: Sequence[str], together: bool) -> None:
    """Raises WrongOptionError where `workers` cannot be, whatever the machine."""
    checked(WorkerOptions, {"workers": workers})
    if workers > 1 and STANDARD_INPUT in files:
        raise WrongOptionError("workers: other processes cannot read this one's standard input; give files")
    if workers > 1 and together:
        raise WrongOptionError("workers and batch_size exclude each other for several files; choose one")


def _load(console: ConsoleProgress, loading: dict[str, Any]) -> Transcriber:
    from max_whisper.transcriber import load_model

    transcriber = load_model(**loading, progress=console)
    console.clear()
    return transcriber


def _bar(recording: Recording, console: ConsoleProgress) -> Callable[[Step], None]:
    """Shows how many seconds of a recording are done, beside its name."""
    message = f"transcribing {_file_name(recording.name)}"

    def progress(step: Step, /) -> None:
        console(replace(step, message=message) if step.unit == "s" else step)

    progress(Step(message, unit="s"))
    return progress


def _file_name(name: str) -> str:
    """A recording's name without its folders, or what stands before it in an address."""
    return url_file_name(name) if is_url(name) else os.path.basename(name)  # noqa: PTH119


def _language_name(code: str) -> str:
    from max_whisper.models.whisper.languages import LANGUAGES

    return LANGUAGES[code].title()


def _line(segment: Segment) -> str:
    from max_whisper.results.formats import format_timestamp

    return f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}] {segment.text}"


def _write_files(
    transcription: Transcription, folder: Path, file: str, output_format: str, subtitles: dict[str, Any]
) -> None:
    # The file's last suffix alone is replaced, as in openai-whisper: talk.v2.mp3 becomes talk.v2.srt.
    name = os.path.splitext(_file_name(file))[0]  # noqa: PTH122
    for format in FORMATS if output_format == ALL_FORMATS else (output_format,):
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
