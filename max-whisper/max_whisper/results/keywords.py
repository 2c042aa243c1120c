"""The keywords of `Transcription.save`, for editors and type checkers.

Made by docs/make_pages.py from the definitions of the options.
"""

from __future__ import annotations

from typing import TypedDict


class SubtitleKeywords(TypedDict, total=False):
    """The fields of `SubtitleOptions`, each of which may be left away."""

    compatible: bool
    """Whether files are openai-whisper's byte for byte, even where other programs cannot read those. The default is
    False."""
    max_line_width: int | None
    """The most characters of a line; a longer word has a line to itself. The default is None."""
    max_line_count: int | None
    """The most lines of a subtitle; with max_line_width, and subtitles then no longer follow the segments. The default
    is None."""
    max_words_per_line: int | None
    """The most words of a line, and so of a subtitle, where max_line_width is not given. The default is None."""
    highlight_words: bool
    """Whether each word is underlined as it is spoken, in a cue of its own. The default is False."""
