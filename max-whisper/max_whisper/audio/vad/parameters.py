"""What counts as speech, under the names and with the defaults of faster-whisper's `VadOptions`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from max_whisper.audio.constants import CHUNK_LENGTH
from max_whisper.checks import did_you_mean, is_number
from max_whisper.errors import OptionError

FRAME_SECONDS = 0.032  # what one probability of the detector stands for: 512 samples


@dataclass(frozen=True)
class VadParameters:
    """From probabilities to spans of speech; the names are those of silero's `get_speech_timestamps`.

    Values are checked as the object is made: OptionError with one line that begins `vad_parameters:`.
    """

    # probability from which a frame of 32 ms is speech
    threshold: float = 0.5

    # probability below which a frame ends speech; None is threshold - 0.15, at least 0.01
    neg_threshold: float | None = None

    # milliseconds; speech that is not longer is left out
    min_speech_duration_ms: float = 0

    # seconds, padding included; longer speech is cut at its longest pause, without one at this length
    max_speech_duration_s: float = math.inf

    # milliseconds of silence that separate two spans
    min_silence_duration_ms: float = 2000

    # milliseconds that are added before and after each span; neighbors share a silence too short for both
    speech_pad_ms: float = 400

    # milliseconds; a pause at which speech that is too long may be cut is longer than this
    min_silence_at_max_speech: float = 98

    # whether speech that is too long is cut at its longest pause; False cuts at its last one
    use_max_poss_sil_at_max_speech: bool = True

    def __post_init__(self) -> None:
        for name in ("threshold", "neg_threshold"):
            value = getattr(self, name)
            if not (name == "neg_threshold" and value is None) and not (is_number(value) and 0 <= value <= 1):
                expected = "a probability from 0 to 1" + (", or None" if name == "neg_threshold" else "")
                raise _wrong(name, expected, value)
        if self.neg_threshold is not None and self.neg_threshold > self.threshold:
            raise _wrong("neg_threshold", f"at most the threshold of {self.threshold:g}", self.neg_threshold)
        for name in (
            "min_speech_duration_ms",
            "min_silence_duration_ms",
            "speech_pad_ms",
            "min_silence_at_max_speech",
        ):
            value = getattr(self, name)
            if not (is_number(value) and 0 <= value < math.inf):
                raise _wrong(name, "milliseconds of at least 0", value)
        if not isinstance(self.use_max_poss_sil_at_max_speech, bool):
            raise _wrong("use_max_poss_sil_at_max_speech", "True or False", self.use_max_poss_sil_at_max_speech)
        longest, least = self.max_speech_duration_s, 2 * self.speech_pad_ms / 1000 + 2 * FRAME_SECONDS
        if not (is_number(longest) and longest >= least):
            padding = f"{self.speech_pad_ms:g} ms of speech_pad_ms on both sides"
            raise _wrong("max_speech_duration_s", f"at least {least:g} s, which is {padding} and two frames", longest)

    @classmethod
    def from_value(
        cls, value: Mapping[str, Any] | VadParameters | None, defaults: VadParameters | None = None
    ) -> VadParameters:
        """The parameters that a user gives: None for the defaults, or the fields that differ from them by name.

        defaults: others than this class's own.

        Raises OptionError, with the nearest name, for a field that does not exist.
        """
        if isinstance(value, VadParameters):
            return value
        defaults = cls() if defaults is None else defaults
        if value is None:
            return defaults
        names = [field.name for field in fields(cls)]
        if not isinstance(value, Mapping):
            raise OptionError(f"vad_parameters: a dictionary, such as {{'threshold': 0.6}}, or None, got {value!r}")
        for name in value:
            if name not in names:
                hint = did_you_mean(name, names) or f"available are {', '.join(names)}"
                raise OptionError(f"vad_parameters: no field {name!r}; {hint}")
        return replace(defaults, **value)

    def at_most(self, seconds: float) -> VadParameters:
        """These parameters with spans of at most so many seconds, padding included."""
        if self.max_speech_duration_s <= seconds:
            return self
        return replace(self, max_speech_duration_s=seconds)

    @property
    def end_threshold(self) -> float:
        """The probability below which a frame ends speech."""
        return max(self.threshold - 0.15, 0.01) if self.neg_threshold is None else self.neg_threshold


def _wrong(name: str, expected: str, value: object) -> OptionError:
    return OptionError(f"vad_parameters: {name} is {expected}, got {value!r}")


# The defaults where speech is decoded in batches, which are faster-whisper's there: more silences to cut at, and no
# span that is longer than a window of the encoder.
BATCHED = VadParameters(min_silence_duration_ms=160, max_speech_duration_s=CHUNK_LENGTH)
