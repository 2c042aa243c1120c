"""Loading the model of a command, shown as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from max_whisper.cli.console import ConsoleProgress

if TYPE_CHECKING:
    from max_whisper.transcriber import Transcriber


def load(console: ConsoleProgress, loading: Mapping[str, Any]) -> Transcriber:
    """The model that the options of loading name."""
    from max_whisper.transcriber import load_model

    transcriber = load_model(**loading, progress=console)
    console.clear()
    return transcriber


def language_name(code: str) -> str:
    """English, of en."""
    from max_whisper.models.whisper.languages import LANGUAGES

    return LANGUAGES[code].title()
