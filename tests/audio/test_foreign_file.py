"""File objects that do not do what they should are one clear error, wherever they fail; odd ones that do are read."""

import io
import socket
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from max_whisper.audio import AudioWarning, load_audio
from max_whisper.audio.foreign_file import ForeignFile
from max_whisper.errors import AudioError
from tests.fuzzing.sources import FailingFile

AUDIO = Path(__file__).resolve().parents[2] / "audio_samples"
RECORDINGS = ("greeting.ogg", "kitchen.wav", "reminder.m4a", "directions.mp3")
ANSWERS = {
    "RuntimeError": RuntimeError("no more"),
    "KeyError": KeyError("range"),
    "OSError": OSError(5, "Input/output error"),
    "None": None,
    "a number": -1,
    "text": "RIFF",
    "more bytes than asked for": bytes(1 << 20),
}


def outcome(file: Any) -> np.ndarray | AudioError:
    """The samples of a file object, or the error."""
    try:
        return load_audio(file)
    except AudioError as error:
        return error


@pytest.mark.parametrize("can_seek", [True, False], ids=["file", "pipe"])
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("method", ["read", "seek", "tell"])
@pytest.mark.parametrize("name", RECORDINGS)
def test_one_that_fails_is_an_error_or_is_read_as_far_as_it_goes(
    name: str, method: str, answer: str, can_seek: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    content = (AUDIO / name).read_bytes()
    whole = load_audio(io.BytesIO(content))
    for after in (0, 1, 2, 3, 5, 9):
        file: Any = FailingFile(content, method, ANSWERS[answer], after, can_seek=can_seek)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AudioWarning)
            read = outcome(file)
        if isinstance(read, AudioError):
            assert str(read).startswith("the file object ")
            assert "\n" not in str(read)
        else:
            sure = max(0, len(read) - 4000)  # the last packet may be there in part
            assert np.array_equal(read[:sure], whole[:sure])
    assert capfd.readouterr().err == ""  # where PyAV prints tracebacks


def test_one_that_is_closed(tmp_path: Path) -> None:
    for file in (io.BytesIO(b"RIFF"), (AUDIO / "kitchen.wav").open("rb")):
        file.close()
        with pytest.raises(AudioError, match="was closed before it was transcribed; keep it open until then"):
            load_audio(file)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_bytes_of_another_kind_are_read(kind: type) -> None:
    class Other(io.BytesIO):
        def read(self, size: int | None = -1) -> Any:
            return kind(super().read(size))

    content = (AUDIO / "kitchen.wav").read_bytes()
    assert np.array_equal(load_audio(Other(content)), load_audio(io.BytesIO(content)))


def test_what_is_wrong_is_said() -> None:
    for answer, told in ((None, "its read gives None"), ("text", "its read gives a str"), (bytes(9), "9 bytes for 4")):
        with pytest.raises(OSError, match=told):
            ForeignFile(FailingFile(b"", "read", answer, 0, can_seek=True)).read(4)
    with pytest.raises(AudioError, match=r"cannot be read \(RuntimeError: no\); give a file object whose read, seek"):
        load_audio(FailingFile(b"RIFF", "tell", RuntimeError("no"), 0, can_seek=True))  # type: ignore[arg-type]


def test_a_pipe_whose_first_read_fails_says_why() -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(AudioError, match=r"cannot be read .*Connection reset by peer"):
        load_audio(Broken())  # type: ignore[arg-type]


def test_a_socket_in_a_folder(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "x"))
        with pytest.raises(AudioError, match="cannot be opened"):
            load_audio(tmp_path / "x")
