"""The command line as a process of its own, over a model that says what a test has it say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}

# The model. `after` runs when the texts have been said and before the recording ends.
_PROGRAM = """\
import hashlib, os, sys, threading, time
from pathlib import Path

import max_whisper.transcriber
from max_whisper.errors import AudioError
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS
from max_whisper.results import Segment, Transcription

TEXTS = {texts!r}

def after(audio):
    {after}

class Stream:
    language = "en"

    def __init__(self, audio):
        self.audio, self.segments = audio, []

    def __iter__(self):
        for number, text in enumerate(TEXTS):
            self.segments.append(Segment(number, 0, float(number), number + 1.0, text, (1,), 0.0, -0.1, 1.0, 0.01))
            yield self.segments[-1]
        after(self.audio)

    def transcription(self):
        return Transcription("".join(TEXTS), tuple(self.segments), "en")

class Model:
    name, dims = "fake", OFFICIAL_MODELS["tiny"].dims

    def stream(self, audio, **_):
        return Stream(audio)

    def stream_many(self, audios, **_):
        from max_whisper.results import RecordingEvent
        streams = [Stream(audio) for audio in audios]
        for pair in zip(*map(iter, streams)):
            for number, segment in enumerate(pair):
                yield RecordingEvent(number, segment, "en")
        raise AssertionError("after() does not return")

    def detect_language(self, audio, segments, **reading):
        return "en", {{"en": 0.9, "de": 0.08, "fr": 0.02}}

def load(*_, **__):
    return Model()

max_whisper.transcriber.load_model = load
{first}
if __name__ == "__main__":
    from max_whisper.cli import main
    main()
"""


def program(folder: Path, texts: tuple[str, ...] = (" one", " two"), after: str = "pass", first: str = "") -> list[str]:
    """A command that runs the command line. after: what the model does before a recording ends. first: other code."""
    path = folder / "program.py"
    path.write_text(_PROGRAM.format(texts=texts, after=after, first=first), encoding="utf-8")
    return [sys.executable, str(path)]


def shell(command: list[str], redirection: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a command with the redirections of a shell: '>&-', '| head -n 0'. The status is the command's own."""
    script = f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}'
    settings: dict[str, Any] = {"env": ENVIRONMENT, **options}
    return subprocess.run(["bash", "-c", script, "-", *command], capture_output=True, check=False, **settings)
