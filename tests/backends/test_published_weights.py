"""Published weights on a published recording: the reference's text, tokens and times.

The files are not in the repository. Beside a clone, in ../shared/data, lie OpenAI's `tiny.en.pt` and the recording
`jfk.flac` of openai-whisper's own tests; without them these tests are skipped.
"""

from pathlib import Path
from typing import Any

import pytest

import max_whisper
from max_whisper.results import Transcription
from max_whisper.transcriber import Transcriber

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MODEL, RECORDING = DATA / "tiny.en.pt", DATA / "jfk.flac"
SPOKEN = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"

pytestmark = pytest.mark.skipif(not (MODEL.is_file() and RECORDING.is_file()), reason="no published weights beside it")


@pytest.fixture(scope="module")
def reference() -> Transcriber:
    return max_whisper.load_model(MODEL, backend="torch", device="cpu")


def essence(result: Transcription) -> list[tuple[object, ...]]:
    """Tokens, times and words of the segments."""
    return [
        (segment.tokens, segment.start, segment.end, [word.word for word in segment.words or ()])
        for segment in result.segments
    ]


@pytest.mark.parametrize("options", [{}, {"beam_size": 5}, {"word_timestamps": True}], ids=str)
def test_the_references_text_tokens_and_times(reference: Transcriber, options: dict[str, Any]) -> None:
    model = max_whisper.load_model(MODEL, device="cpu")
    assert model.name == "tiny.en"
    expected = reference.transcribe(RECORDING, clamp_timestamps=False, **options)
    heard = model.transcribe(RECORDING, clamp_timestamps=False, **options)
    assert heard.text == expected.text
    assert essence(heard) == essence(expected)


def test_the_words_are_what_is_said(reference: Transcriber) -> None:
    text = reference.transcribe(RECORDING).text
    spoken = "".join(character for character in text if character.isalpha() or character == " ").lower().split()
    assert spoken == SPOKEN.split()
