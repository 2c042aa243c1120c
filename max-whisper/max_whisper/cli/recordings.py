"""The FILE arguments of a command: files, folders of recordings, addresses and standard input."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from max_whisper.audio.reading import ReadingOptions
from max_whisper.audio.url import is_url, shown_url, url_file_name
from max_whisper.cli.arguments import STANDARD_INPUT, WrongOptionError
from max_whisper.cli.console import ConsoleProgress, error_line
from max_whisper.errors import AudioError

# Names of audio and video files, by which recordings are found in a folder. A file of another name is given itself.
# fmt: off
SUFFIXES = frozenset(
    {
        "3g2", "3ga", "3gp", "aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "asf", "au", "avi", "awb",
        "caf", "dts", "eac3", "flac", "flv", "m2ts", "m4a", "m4b", "m4p", "m4v", "mka", "mkv", "mov", "mp2",
        "mp3", "mp4", "mpa", "mpeg", "mpg", "mts", "mxf", "oga", "ogg", "ogm", "ogv", "opus", "ra", "rm", "snd",
        "spx", "tak", "tta", "ts", "voc", "vob", "w64", "wav", "webm", "wma", "wmv", "wv",
    }
)
# fmt: on


@dataclass(frozen=True)
class Recording:
    """A recording that is named on the command line or lies in a folder that is."""

    name: str  # as it was given, an address without its password; `stdin` for standard input
    audio: str | BinaryIO
    output: Path  # its files below the folder for the results, without their suffixes: talk.v2, or album/talk

    @property
    def source(self) -> str:
        """What tells it from others: the whole address, with its password, or the path without links; `-`."""
        if not isinstance(self.audio, str):
            return STANDARD_INPUT
        return self.audio if is_url(self.audio) else os.path.realpath(self.audio)

    @property
    def title(self) -> str:
        """Its name without the folders."""
        return self.output.name if is_url(self.name) else Path(self.name).name


class FileErrors:
    """The errors of single files: each is reported, and does not stop the work on the others."""

    def __init__(self, console: ConsoleProgress, debug: bool) -> None:
        self.status = 0  # the command's exit status
        self._console = console
        self._debug = debug

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """Around the work on one recording, whose error is reported."""
        try:
            yield
        except BrokenPipeError:  # of standard output: no later file could be printed either
            raise
        except Exception as error:
            self.report(error)

    def report(self, error: Exception) -> None:
        """Print an error."""
        self._console.clear()
        if self._debug:
            traceback.print_exception(error)
        self._console.complaint(f"max-whisper: error: {error_line(error)}")
        self.status = 1


def check_standard_input(files: Sequence[str]) -> None:
    """Raises WrongOptionError where standard input is given and cannot be read."""
    if files.count(STANDARD_INPUT) > 1:
        raise WrongOptionError("-: standard input can be read only once; give it once")
    if STANDARD_INPUT in files and (sys.stdin is None or sys.stdin.isatty()):
        raise WrongOptionError(
            "-: nothing is piped into standard input; do so: cat talk.mp3 | max-whisper transcribe -"
        )


def find(files: Sequence[str], errors: FileErrors) -> list[Recording]:
    """The recordings of FILE arguments, in their order; those of a folder are sorted. One given twice is there once.

    What is not there, or cannot be opened, is reported.
    """
    found: dict[tuple[str, Path], Recording] = {}  # by source and output
    for file in files:
        with errors.reported():
            for recording in _recordings(file, errors):
                found.setdefault((recording.source, recording.output), recording)
    return [*found.values()]


def readable(recordings: Sequence[Recording], reading: ReadingOptions, errors: FileErrors) -> list[Recording]:
    """The recordings whose beginning can be decoded; the others are reported. No model need be loaded for those."""
    found = []
    for recording in recordings:
        with errors.reported():
            _check_beginning(recording, reading)
            found.append(recording)
    return found


def _recordings(file: str, errors: FileErrors) -> Iterator[Recording]:
    if file == STANDARD_INPUT:
        yield Recording("stdin", sys.stdin.buffer, Path("stdin"))
    elif is_url(file):
        name = url_file_name(file)
        is_host = name == urlsplit(file).hostname
        yield Recording(shown_url(file), file, Path(name) if is_host else _without_suffix(Path(name)))
    elif os.path.isdir(file):  # noqa: PTH112
        yield from _in_folder(file, errors)
    elif not os.path.exists(file):  # noqa: PTH110
        from max_whisper.audio.recording import open_recording

        open_recording(file)  # raises AudioError, with the reason
    else:
        yield Recording(file, file, _without_suffix(Path(Path(file).name)))


def _in_folder(folder: str, errors: FileErrors) -> Iterator[Recording]:
    """The recordings in a folder and in those below it, sorted, without hidden ones. Links are followed, once each."""

    def cannot_be_read(error: OSError) -> None:
        errors.report(AudioError(f"cannot read the folder '{error.filename}': {error.strerror}; check its permissions"))

    visited = set()
    n_found = 0
    for place, folders, names in os.walk(folder, followlinks=True, onerror=cannot_be_read):
        status = os.stat(place)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            if name.startswith(".") or path.suffix[1:].lower() not in SUFFIXES or not path.exists():
                continue
            n_found += 1
            yield Recording(str(path), str(path), _without_suffix(path.relative_to(folder)))
    if not n_found:
        raise AudioError(
            f"'{folder}' has no recordings: no file in it is named as one, such as talk.mp3; give the file"
        )


def _without_suffix(path: Path) -> Path:
    # The file's last suffix alone is left away, as in openai-whisper: talk.v2.mp3 becomes talk.v2.srt.
    return path.with_name(os.path.splitext(path.name)[0])  # noqa: PTH122


def _check_beginning(recording: Recording, reading: ReadingOptions) -> None:
    """Raises AudioError for a recording that is no recording. A pipe and an address are read when their turn comes."""
    from max_whisper.audio.recording import open_recording

    if not isinstance(recording.audio, str):
        _check_not_empty(recording.audio)
        return
    if is_url(recording.audio) or not stat.S_ISREG(os.stat(recording.audio).st_mode):  # noqa: PTH116
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage is told of when it is transcribed
        with contextlib.closing(open_recording(recording.audio, reading).blocks()) as blocks:  # type: ignore[type-var]
            next(blocks, None)


def _check_not_empty(file: BinaryIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        if file.seekable():
            position = file.tell()
            is_empty = not file.read(1)
            file.seek(position)
            if is_empty:
                raise AudioError("standard input is empty; pipe a recording into it: cat talk.mp3 | max-whisper ...")
