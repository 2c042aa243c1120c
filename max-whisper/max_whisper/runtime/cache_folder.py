"""Where max-whisper keeps what it downloads, packs and compiles."""

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """The one folder of everything kept between runs.

    `$MAX_WHISPER_CACHE` where it is set; otherwise the platform's cache folder (`$XDG_CACHE_HOME` or `~/.cache`,
    `~/Library/Caches` on macOS) with `max-whisper` in it. The folder need not exist.
    """
    if folder := os.environ.get("MAX_WHISPER_CACHE"):
        return Path(folder).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "max-whisper"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).expanduser() / "max-whisper"
