"""The files that a transcription is written to, and standard output in their place."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from max_whisper.cli import streams
from max_whisper.cli.arguments import WrongOptionError
from max_whisper.cli.console import ConsoleProgress
from max_whisper.cli.options import STANDARD_OUTPUT, OutputOptions
from max_whisper.cli.recordings import Recording
from max_whisper.errors import MaxWhisperError
from max_whisper.results import formats
from max_whisper.runtime.files import replacing

if TYPE_CHECKING:
    from max_whisper.results import Transcription

UNFINISHED = ".partial"  # after the whole name of a file of which the end is missing: talk.srt.partial

# The formats of which several documents after each other are still one: lines of text, and a line of JSON for each.
_SEVERAL_IN_ONE = ("txt", "json")


class Outputs:
    """Where the results of a run go. Files are UTF-8, whole or not there."""

    def __init__(self, options: OutputOptions, subtitles: Mapping[str, Any], console: ConsoleProgress) -> None:
        """subtitles: fields of `SubtitleOptions`."""
        self.is_printed = options.output_dir == STANDARD_OUTPUT
        self._folder = Path(options.output_dir)
        self._formats = options.formats
        self._subtitles = dict(subtitles)
        self._console = console

    def prepare(self, recordings: Sequence[Recording]) -> None:
        """Make the folder, before any work.

        Raises WrongOptionError where two recordings have the same files, MaxWhisperError where nothing can be written.
        """
        if self.is_printed:
            if len(recordings) > 1 and self._formats[0] not in _SEVERAL_IN_ONE:
                raise WrongOptionError(
                    f"output_dir: - prints one document, and several in {self._formats[0]} are not one; "
                    f"choose {' or '.join(_SEVERAL_IN_ONE)}, or give one recording"
                )
            if streams.failure(sys.stdout) is not None:
                raise MaxWhisperError("standard output is closed; give a folder as --output-dir")
            return
        ignores_case = self._make_folder()
        first: dict[str, Recording] = {}
        for recording in recordings:
            key = str(recording.output)
            if ignores_case:
                key = unicodedata.normalize("NFC", key).casefold()
            other = first.setdefault(key, recording)
            if other is not recording:
                raise WrongOptionError(
                    f"'{other.name}' and '{recording.name}' would both be written to "
                    f"'{self._path(recording, self._formats[0])}'; transcribe them one at a time, each with an "
                    "--output-dir of its own"
                )

    def exist(self, recording: Recording) -> bool:
        """Whether all files of a recording are there, whole."""
        return all(self._path(recording, format).is_file() for format in self._formats)

    def write(self, recording: Recording, transcription: Transcription) -> None:
        """Write a transcription; what an earlier run left unfinished is removed. Raises MaxWhisperError."""
        if self.is_printed:
            self._print(transcription)
            return
        for format in self._formats:
            path = self._path(recording, format)
            self._make_parents(path)
            transcription.save(path, **self._subtitles)
            path.with_name(path.name + UNFINISHED).unlink(missing_ok=True)

    def write_unfinished(self, recording: Recording, transcription: Transcription) -> str:
        """Write what there is of a transcription under names that are not taken for whole; returns where it is."""
        if self.is_printed:
            self._print(transcription)
            return "standard output"
        paths = []
        for format in self._formats:
            path = self._path(recording, format)
            path = path.with_name(path.name + UNFINISHED)
            self._make_parents(path)
            try:
                with replacing(path) as new, new.open("w", encoding="utf-8") as file:
                    formats.write(transcription, file, format, **self._subtitles)
            except OSError as error:
                raise MaxWhisperError(f"cannot write '{path}': {error.strerror or error}") from error
            paths.append(str(path))
        return ", ".join(paths)

    def _print(self, transcription: Transcription) -> None:
        text = io.StringIO()
        formats.write(transcription, text, self._formats[0], **self._subtitles)
        if self._formats[0] == "json":
            text.write("\n")
        self._console.document(text.getvalue())

    def _path(self, recording: Recording, format: str) -> Path:
        path = self._folder / recording.output
        return path.with_name(f"{path.name}.{format}")

    def _make_parents(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MaxWhisperError(f"cannot make the folder '{path.parent}': {error.strerror or error}") from error

    def _make_folder(self) -> bool:
        """Make the folder where it is missing; returns whether Talk and talk are the same name on its file system."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".case-") as file:
                return os.path.exists(self._folder / Path(file.name).name.upper())  # noqa: PTH110
        except OSError as error:
            reason = error.strerror or str(error)
            raise MaxWhisperError(
                f"cannot write to the output folder '{self._folder}': {reason}; choose another with --output-dir"
            ) from error
