"""The recordings of a run as they grow: printed in their order, written as each is whole, kept where it never is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from max_whisper.cli import interrupts
from max_whisper.cli.console import ConsoleProgress, error_line
from max_whisper.cli.loading import language_name
from max_whisper.cli.outputs import Outputs
from max_whisper.cli.recordings import FileErrors, Recording

if TYPE_CHECKING:
    from max_whisper.results import RecordingEvent, Segment, Transcription


@dataclass
class _Draft:
    """A recording whose files are not written yet."""

    recording: Recording
    language: str = ""  # its code, once it is known
    segments: list[Segment] = field(default_factory=list)
    whole: Transcription | None = None
    lines: list[str] = field(default_factory=list)  # to be printed when its turn comes
    has_ended: bool = False
    is_written: bool = False


class Drafts:
    """The recordings of a run. `save` may be called from another thread, while `hear` stands still."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        outputs: Outputs,
        console: ConsoleProgress,
        errors: FileErrors,
        verbose: bool,
        is_detected: Callable[[], bool],
    ) -> None:
        """verbose: whether segments are printed. is_detected: whether the language is; it is printed before them."""
        self._drafts = [_Draft(recording) for recording in recordings]
        self._outputs = outputs
        self._console = console
        self._errors = errors
        self._prints_segments = verbose and not outputs.is_printed
        self._is_detected = is_detected
        self._turn = 0  # the recording that is printed now
        self._last: RecordingEvent | None = None

    def hear(self, event: RecordingEvent) -> None:
        """Take an event: print what has its turn, and write what is whole. The same event again changes nothing."""
        draft = self._drafts[event.number]
        with interrupts.held():
            if event is not self._last:
                self._take(draft, event)
                self._last = event
        if isinstance(event.content, Exception) and not draft.is_written:
            self._errors.report(event.content)
            self._save(draft)
            draft.is_written = True
        elif draft.whole is not None and not draft.is_written and not self._outputs.is_printed:
            self._write(draft)
        self._print()

    def save(self) -> None:
        """Write all that there is and is not written yet. An error is printed, not raised."""
        for draft in self._drafts:
            if not draft.is_written:
                self._save(draft)
                draft.is_written = True

    def _take(self, draft: _Draft, event: RecordingEvent) -> None:
        from max_whisper.results import Segment

        content = event.content
        draft.has_ended = not isinstance(content, Segment)
        if isinstance(content, Exception):
            return
        if not draft.language:
            draft.language = event.language or getattr(content, "language", "")
            if self._is_detected():
                draft.lines.append(f"Detected language: {language_name(draft.language)}")
        if isinstance(content, Segment):
            draft.segments.append(content)
            draft.lines.append(_line(content))
        else:
            draft.whole = content

    def _print(self) -> None:
        """Print the lines of the recording whose turn it is, and of those after it once it has ended."""
        while self._turn < len(self._drafts):
            draft = self._drafts[self._turn]
            while draft.lines:
                line = draft.lines.pop(0)  # before it is printed: a signal after that would have it printed twice
                if self._prints_segments:
                    self._console.text(line)
            if not draft.has_ended:
                return
            if self._outputs.is_printed and not draft.is_written:
                self._write(draft)
            draft.segments.clear()
            draft.whole = None
            self._turn += 1

    def _write(self, draft: _Draft) -> None:
        assert draft.whole is not None
        with self._errors.reported():
            self._outputs.write(draft.recording, draft.whole)
        draft.is_written = True

    def _save(self, draft: _Draft) -> None:
        from max_whisper.results import Transcription

        try:
            if draft.whole is not None:
                self._outputs.write(draft.recording, draft.whole)
            elif draft.segments:
                segments = tuple(draft.segments)
                text = "".join(segment.text for segment in segments)
                place = self._outputs.write_unfinished(draft.recording, Transcription(text, segments, draft.language))
                self._console.clear()
                self._console.complaint(
                    f"max-whisper: '{draft.recording.name}' is written up to {segments[-1].end:g} s: {place}"
                )
        except BrokenPipeError:  # of standard output: nobody reads what there is
            return
        except Exception as error:
            self._console.complaint(f"max-whisper: error: {error_line(error)}")


def _line(segment: Segment) -> str:
    from max_whisper.results.formats import format_timestamp

    return f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}] {segment.text}"
