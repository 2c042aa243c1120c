"""The command `max-whisper`."""

from max_whisper.cli.program import main

__all__ = ["main"]
