"""The bundled model on backend `max`, loaded once."""

import pytest

import max_whisper
from max_whisper.transcriber import Transcriber


@pytest.fixture(scope="session")
def nano() -> Transcriber:
    return max_whisper.load_model("nano", device="cpu")
