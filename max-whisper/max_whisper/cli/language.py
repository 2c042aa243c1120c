"""`max-whisper language`: the most probable languages of each recording."""

from __future__ import annotations

from typing import Any

from max_whisper.audio.reading import ReadingOptions
from max_whisper.cli.arguments import LOADING, check_reading, checked
from max_whisper.cli.console import ConsoleProgress
from max_whisper.cli.loading import language_name, load
from max_whisper.cli.recordings import FileErrors, check_standard_input, find, readable
from max_whisper.errors import OptionError
from max_whisper.options import LoadOptions

LIKELY_LANGUAGES = 3  # of each recording


def language(files: list[str], segments: int, debug: bool, **values: Any) -> int:
    """Print the most probable languages, a line for each recording; returns the exit status."""
    loading = {name: values.pop(name) for name in LOADING}
    check_standard_input(files)
    checked(LoadOptions, loading)
    reading: ReadingOptions = checked(ReadingOptions, values)
    check_reading(reading)
    with ConsoleProgress() as console:
        errors = FileErrors(console, debug)
        recordings = readable(find(files, errors), reading, errors)
        if not recordings:
            return errors.status
        transcriber = load(console, loading)
        if not transcriber.dims.is_multilingual:
            raise OptionError(f"model: {transcriber.name} knows English only; choose another, such as --model tiny")
        for recording in recordings:
            with errors.reported():
                _, probabilities = transcriber.detect_language(recording.audio, segments=segments, **values)
                likely = sorted(probabilities, key=lambda code: -probabilities[code])[:LIKELY_LANGUAGES]
                shares = (f"{language_name(code)} ({code}) {probabilities[code]:.1%}" for code in likely)
                console.result(f"{recording.name}: {', '.join(shares)}")
    return errors.status
