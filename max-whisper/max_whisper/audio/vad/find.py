"""The spans of speech of a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from max_whisper.audio.constants import SAMPLE_RATE
from max_whisper.audio.vad.detector import SpeechDetector
from max_whisper.audio.vad.parameters import VadParameters
from max_whisper.audio.vad.spans import Span, speech_spans
from max_whisper.progress import Progress, Step, silent

if TYPE_CHECKING:
    from max_whisper.audio.samples import SampleSource


def find_speech(
    source: SampleSource, parameters: VadParameters | None = None, progress: Progress = silent
) -> list[Span]:
    """The spans of a recording that hold speech, in order and apart from each other; one pass over its samples.

    For chunks of a batch (`pack_spans`), give `BATCHED` or `parameters.at_most(30)`.

    Raises:
        AudioError: the recording cannot be read.
        MaxWhisperError: the network's weights are not in this installation.
    """
    speech = SpeechDetector()
    total = None if source.length is None else source.length // SAMPLE_RATE
    for block in source.blocks():
        speech.feed(block)
        progress(Step("finding speech", speech.n_samples // SAMPLE_RATE, total, "s"))
    return speech_spans(speech.finish(), speech.n_samples, parameters or VadParameters())
