"""The recordings to measure with, and what is said in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from max_whisper.errors import AudioError

SAMPLES = Path(__file__).resolve().parents[3] / "audio_samples"
SUFFIXES = (".flac", ".wav", ".mp3", ".m4a", ".ogg")

# The demo's: short commands, a room with noise, two people, and a minute of speech with pauses.
DEMO = ("timer_command", "weather", "dialogue", "one_day")


@dataclass(frozen=True)
class Recording:
    """An audio file and, where a text file of the same name lies beside it, its transcript."""

    path: Path
    transcript: str | None

    @property
    def name(self) -> str:
        return self.path.stem


def recording(path: Path) -> Recording:
    """The recording in a file. Raises AudioError where there is no such file."""
    if not path.is_file():
        raise AudioError(f"{path}: no such file; check the path")
    transcript = path.with_suffix(".txt")
    return Recording(path, transcript.read_text(encoding="utf-8").strip() if transcript.is_file() else None)


def recordings(files: Sequence[str], names: Sequence[str] | None = None) -> list[Recording]:
    """The recordings in `files`; where there are none the repository's own, or those of them that `names` lists."""
    if files:
        return [recording(Path(file)) for file in dict.fromkeys(files)]
    samples = sorted(path for path in SAMPLES.glob("*") if path.suffix in SUFFIXES)
    if names is not None:
        samples = [path for name in names for path in samples if path.stem == name]
    if not samples:
        raise AudioError("this installation has no audio_samples: name recordings to transcribe, with transcripts "
                         "beside them as .txt where there are any")  # fmt: skip
    return [recording(path) for path in samples]
