"""Options of windows that openai-whisper does not have: what they ask the model for, window by window."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from max_whisper.audio import N_FRAMES
from max_whisper.decoding import DecodingResult, WindowContext, WindowDecoder
from max_whisper.models.whisper.tokenizer import get_tokenizer
from max_whisper.options import TranscribeOptions
from max_whisper.transcription.longform import DecodeWindow, DetectedLanguage, DetectLanguage, LongForm
from tests.decoding.scripted import Script, ScriptedModel, dimensions

DIMS = dimensions("multilingual")
TOKENIZER = get_tokenizer(True, num_languages=99, language="en", task="transcribe")
SAID = TOKENIZER.encode(" so it is")


class Silence:
    """A log-mel spectrogram of some windows."""

    def __init__(self, n_windows: int) -> None:
        self.content_frames = n_windows * N_FRAMES

    def window(self, seek: int, frames: int) -> np.ndarray:
        return np.zeros((DIMS.n_mels, N_FRAMES), np.float32)


@dataclass
class Heard:
    """What a recording asked for."""

    prompts: list[Sequence[int]]
    languages: list[str | None]
    n_detections: int = 0


def drive(temperatures: Sequence[float], languages: Sequence[str] = (), **options: Any) -> Heard:
    """A recording with a window for each of `temperatures`, at which the same words are said.

    languages: what is detected, in order.
    """
    chosen = TranscribeOptions(**{"language": None if languages else "en", **options})
    steps = LongForm(Silence(len(temperatures)), DIMS, chosen).steps()
    heard, answer = Heard([], []), None  # type: tuple[Heard, Any]
    while True:
        try:
            request = steps.send(answer)
        except StopIteration:
            return heard
        answer = None
        if isinstance(request, DetectLanguage):
            language = languages[heard.n_detections]
            heard.n_detections += 1
            answer = DetectedLanguage({code: float(code == language) for code in ("en", "de", "fr")}, None)
        elif isinstance(request, DecodeWindow):
            temperature = temperatures[len(heard.prompts)]
            heard.prompts.append(list(request.context.previous))
            heard.languages.append(request.context.tokenizer.language)
            answer = DecodingResult(tuple(SAID), "so it is", "en", -0.1, 0.0, temperature, 1.0)


@pytest.mark.parametrize(
    ("threshold", "temperature", "is_kept"), [(0.5, 0.4, True), (0.5, 0.5, True), (0.5, 0.6, False), (0.7, 0.6, True)]
)
def test_prompt_reset_on_temperature(threshold: float, temperature: float, is_kept: bool) -> None:
    heard = drive([temperature, 0.0, 0.0], prompt_reset_on_temperature=threshold)
    before = SAID if is_kept else []
    assert heard.prompts == [[], before, [*before, *SAID]]


def test_hotwords_stand_before_every_window() -> None:
    words = TOKENIZER.encode(" Dublin Thomas")
    assert drive([0.0] * 3, hotwords="Dublin Thomas").prompts == [words, words + SAID, words + SAID + SAID]
    forgetful = drive([0.0] * 3, hotwords=" Dublin Thomas ", condition_on_previous_text=False)
    assert forgetful.prompts == [words] * 3


def test_hotwords_stand_before_a_carried_prompt_and_what_fits_of_the_text() -> None:
    words, prompt = TOKENIZER.encode(" Dublin"), TOKENIZER.encode(" we met" * 100)
    heard = drive([0.0] * 20, hotwords="Dublin", initial_prompt="we met " * 100, carry_initial_prompt=True)
    room = DIMS.n_text_ctx // 2 - 1 - len(words) - len(prompt)
    assert 0 < room < 19 * len(SAID)
    assert heard.prompts[0] == words + prompt
    assert heard.prompts[-1] == words + prompt + (SAID * 19)[-room:]


def test_each_window_has_its_language() -> None:
    heard = drive([0.0] * 3, ["de", "fr", "en", "de"], multilingual=True)
    assert heard.n_detections == 4  # one for the recording, and one for each window
    assert heard.languages == ["fr", "en", "de"]
    once = drive([0.0] * 3, ["de"])
    assert once.n_detections == 1
    assert once.languages == ["de"] * 3


def test_max_new_tokens_is_sample_len_and_leaves_the_prefix_alone() -> None:
    model, windows = ScriptedModel(Script(DIMS, seed=2, silence=0.0)), list(range(20))
    prefix = TOKENIZER.encode(" so it is and was" * 5)

    def tokens(**options: Any) -> list[tuple[int, ...]]:
        chosen = TranscribeOptions(language="en", temperature=0.0, **options).resolve(DIMS)
        decoder = WindowDecoder(model, TOKENIZER, chosen)
        return [result.tokens for result in decoder.decode(windows, [WindowContext(TOKENIZER)] * 20, 0.0)]

    every = tokens()
    assert tokens(max_new_tokens=3) == tokens(sample_len=3) == [window[:3] for window in every] != every
    # sample_len=220 leaves 4 tokens of the prefix, so the model has read something else.
    after_prefix = tokens(prefix=prefix)
    assert tokens(max_new_tokens=220, prefix=prefix) == [window[:220] for window in after_prefix]
    assert tokens(sample_len=220, prefix=prefix) == tokens(prefix=prefix[-4:]) != after_prefix
