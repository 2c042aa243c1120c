"""Published weights on published recordings: the reference's text, tokens and times.

The files are not in the repository. Beside a clone, in ../shared/data, lie OpenAI's `tiny.en.pt` and the recording
`jfk.flac` of openai-whisper's own tests; `../shared/tools/published-weights.sh build/published` writes `base.pt`; the
telephone prompts are Debian's asterisk-core-sounds-en-wav. Without them these tests are skipped.

Each prompt is transcribed with one of the kinds of options; MAX_WHISPER_ALL_PROMPTS=1 takes each with every kind, which
takes five minutes.
"""

import os
import wave
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import max_whisper
from max_whisper.results import Transcription
from max_whisper.transcriber import Transcriber

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
RECORDING = DATA / "jfk.flac"
SPOKEN = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
MODELS = {"tiny.en": DATA / "tiny.en.pt", "base": ROOT / "build" / "published" / "base.pt"}
PROMPTS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
N_PROMPTS = 50
OPTIONS: list[dict[str, Any]] = [{}, {"beam_size": 5}, {"word_timestamps": True}]


class Pair(NamedTuple):
    """A model on both sides."""

    ours: Transcriber
    reference: Transcriber


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest) -> Pair:
    path = MODELS[request.param]
    if not path.is_file():
        pytest.skip(f"no published weights of {request.param}")
    ours = max_whisper.load_model(path, device="cpu")
    assert ours.name == request.param
    return Pair(ours, max_whisper.load_model(path, backend="torch", device="cpu"))


@pytest.fixture(scope="module")
def jfk() -> Path:
    if not RECORDING.is_file():
        pytest.skip("no published recording")
    return RECORDING


def prompts() -> list[Path]:
    """Fifty of the telephone prompts, of 1 to 12 s, from the whole of the alphabet."""
    if not PROMPTS.is_dir():
        pytest.skip("no telephone prompts")
    spoken = [path for path in sorted(PROMPTS.glob("*.wav")) if 1 <= seconds(path) <= 12]
    return spoken[:: len(spoken) // N_PROMPTS][:N_PROMPTS]


def seconds(path: Path) -> float:
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def essence(result: Transcription) -> list[tuple[object, ...]]:
    """Tokens, times and words of the segments."""
    return [
        (segment.tokens, segment.start, segment.end, [word.word for word in segment.words or ()])
        for segment in result.segments
    ]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_references_text_tokens_and_times(pair: Pair, jfk: Path, options: dict[str, Any]) -> None:
    heard, expected = (model.transcribe(jfk, clamp_timestamps=False, **options) for model in pair)
    assert heard.text == expected.text
    assert essence(heard) == essence(expected)


@pytest.mark.parametrize("number", range(len(OPTIONS)), ids=lambda number: str(OPTIONS[number]))
def test_the_references_tokens_of_telephone_prompts(pair: Pair, number: int) -> None:
    chosen = prompts()
    assert len(chosen) == N_PROMPTS
    n_drawn = 0
    for path in chosen if os.environ.get("MAX_WHISPER_ALL_PROMPTS") else chosen[number :: len(OPTIONS)]:
        options = OPTIONS[number]
        expected = pair.reference.transcribe(path, **options)
        if any(segment.temperature > 0 for segment in expected.segments):
            # Its generator drew the tokens. The text at temperature 0, which failed a threshold, is compared.
            n_drawn += 1
            options = {**options, "temperature": 0.0}
            expected = pair.reference.transcribe(path, **options)
        heard = pair.ours.transcribe(path, **options)
        assert [segment.tokens for segment in heard.segments] == [segment.tokens for segment in expected.segments]
        assert words_of(heard) == words_of(expected)
    assert n_drawn < len(chosen) // 10


def words_of(result: Transcription) -> list[str]:
    return [word.word for segment in result.segments for word in segment.words or ()]


def test_the_words_are_what_is_said(pair: Pair, jfk: Path) -> None:
    text = pair.ours.transcribe(jfk).text
    spoken = "".join(character for character in text if character.isalpha() or character == " ").lower().split()
    assert spoken == SPOKEN.split()
