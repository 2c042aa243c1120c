"""`max-whisper transcribe`: text on standard output, files into a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from max_whisper.cli import interrupts
from max_whisper.cli.arguments import (
    LOADING,
    OUTPUT,
    STANDARD_INPUT,
    SUBTITLES,
    WrongOptionError,
    check_reading,
    checked,
    decoding_options,
    subtitle_options,
)
from max_whisper.cli.console import ConsoleProgress
from max_whisper.cli.drafts import Drafts
from max_whisper.cli.loading import language_name, load
from max_whisper.cli.options import OutputOptions, WorkerOptions
from max_whisper.cli.outputs import Outputs
from max_whisper.cli.recordings import FileErrors, Recording, check_standard_input, find, readable
from max_whisper.cli.wording import command_line_words
from max_whisper.errors import OptionError
from max_whisper.options import LoadOptions, TranscribeOptions
from max_whisper.options.loading import DEMONSTRATION_MODEL
from max_whisper.progress import Step

if TYPE_CHECKING:
    from max_whisper.models.whisper.dimensions import ModelDimensions
    from max_whisper.results import RecordingEvent
    from max_whisper.transcriber import Transcriber
    from max_whisper.transcription.workers import Workers


def transcribe(files: list[str], verbose: bool, workers: int, debug: bool, **values: Any) -> int:
    """Transcribe recordings; returns the exit status. Whatever can be wrong with an option is found before any work."""
    loading = {name: values.pop(name) for name in LOADING}
    checked(LoadOptions, loading)
    written = {name: values.pop(name) for name in OUTPUT if name != "verbose"}
    output_options: OutputOptions = checked(OutputOptions, written)
    subtitles, notes = subtitle_options(values)
    decoding = decoding_options({name: value for name, value in values.items() if name not in SUBTITLES})
    options: TranscribeOptions = checked(TranscribeOptions, decoding)
    check_reading(options)
    # With a batch size the windows of several recordings are decoded together; those of one follow each other.
    several = len(files) > 1 or os.path.isdir(files[0])  # noqa: PTH112
    together = options.batch_size is not None and options.chunking == "sequential" and several
    _check_use(options, loading["backend"], together)
    _check_workers(workers, files, together)
    check_standard_input(files)
    with ConsoleProgress() as console:
        for note in notes:
            _warn(console, note)
        errors = FileErrors(console, debug)
        recordings = find(files, errors)
        outputs = Outputs(output_options, subtitles, console)
        outputs.prepare(recordings)
        if output_options.skip_existing:
            recordings = _without_existing(recordings, outputs, console)
        recordings = readable(recordings, options, errors)
        if not recordings:
            return errors.status
        run = _Run(recordings, options, loading, console)
        if min(workers, len(recordings)) > 1:
            events = run.by_workers(min(workers, len(recordings)))
        else:
            events = run.together() if together else run.one_by_one()
        drafts = Drafts(recordings, outputs, console, errors, verbose, lambda: run.is_detected)

        def save() -> None:
            for event in run.rest():
                drafts.hear(event)
            drafts.save()

        with interrupts.saved(save):
            for event in events:
                run.check_language(event)
                drafts.hear(event)
    return errors.status


class _Run:
    """A run over recordings, in one of three ways."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        options: TranscribeOptions,
        loading: dict[str, Any],
        console: ConsoleProgress,
    ) -> None:
        self.is_detected = False  # whether the language is; known when the model is loaded
        self._recordings = recordings
        self._options = options
        self._loading = loading
        self._console = console
        self._has_warned = False
        self._workers: Workers | None = None

    def one_by_one(self) -> Iterator[RecordingEvent]:
        """One recording after the other."""
        from max_whisper.results import RecordingEvent

        transcriber = self._load()
        for number, recording in enumerate(self._recordings):
            try:
                stream = transcriber.stream(
                    recording.audio, progress=_bar(recording, self._console), options=self._options
                )
                for segment in stream:
                    yield RecordingEvent(number, segment, stream.language)
                outcome: Any = stream.transcription()
            except Exception as error:
                outcome = error
            self._console.clear()
            yield RecordingEvent(number, outcome)

    def together(self) -> Iterator[RecordingEvent]:
        """The windows of several recordings at once."""
        transcriber = self._load()
        audios = [recording.audio for recording in self._recordings]
        yield from transcriber.stream_many(audios, progress=self._console, options=self._options)

    def by_workers(self, n_processes: int) -> Iterator[RecordingEvent]:
        """Several processes side by side."""
        from max_whisper.transcriber import load_model
        from max_whisper.transcription.workers import Workers, core_groups

        self._workers = Workers(
            [str(recording.audio) for recording in self._recordings],
            core_groups(n_processes),
            load_model,
            self._loading,
            {"options": self._options},
            self._prepare,
            self._console,
            interrupts.held,
        )
        yield from self._workers.events()

    def rest(self) -> Iterator[RecordingEvent]:
        """What other processes had done by the time that they are ended, and was not given yet."""
        if self._workers is not None:
            yield from self._workers.rest()

    def check_language(self, event: RecordingEvent) -> None:
        """Warn where the demonstration model hears another language than its own."""
        language = event.language or getattr(event.content, "language", "en")
        if self._loading["model"] == DEMONSTRATION_MODEL and language != "en" and not self._has_warned:
            self._has_warned = True
            self._console.clear()
            _warn(
                self._console,
                f"{DEMONSTRATION_MODEL} knows English only, and this is {language_name(language)}; "
                "take another model, such as --model turbo",
            )

    def _load(self) -> Transcriber:
        transcriber = load(self._console, self._loading)
        self._prepare(transcriber.dims)
        return transcriber

    def _prepare(self, dims: ModelDimensions) -> None:
        self._options.resolve(dims)  # what this model cannot do, it can do with no file
        self.is_detected = self._options.language is None and dims.is_multilingual


def _without_existing(recordings: Iterable[Recording], outputs: Outputs, console: ConsoleProgress) -> list[Recording]:
    left = []
    for recording in recordings:
        if outputs.exist(recording):
            console.complaint(f"max-whisper: skipped: '{recording.name}', whose files are there")
        else:
            left.append(recording)
    return left


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
    """Raises WrongOptionError where `workers` cannot be."""
    checked(WorkerOptions, {"workers": workers})
    if workers == 1:
        return
    if STANDARD_INPUT in files:
        raise WrongOptionError("workers: other processes cannot read this one's standard input; give files")
    if together:
        raise WrongOptionError("workers and batch_size exclude each other for several files; choose one")
    from max_whisper.transcription.workers import core_groups

    try:
        core_groups(workers)
    except OptionError as error:
        raise WrongOptionError(str(error)) from error


def _bar(recording: Recording, console: ConsoleProgress) -> Callable[[Step], None]:
    """Shows how many seconds of a recording are done, beside its name."""
    message = f"transcribing {recording.title}"

    def progress(step: Step, /) -> None:
        console(replace(step, message=message) if step.unit == "s" else step)

    progress(Step(message, unit="s"))
    return progress


def _warn(console: ConsoleProgress, note: str) -> None:
    console.complaint(f"max-whisper: warning: {command_line_words(note)}")
