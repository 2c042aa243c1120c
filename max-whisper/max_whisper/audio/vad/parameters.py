"""What counts as speech, under the names and with the defaults of faster-whisper's `VadOptions`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from max_whisper.audio.constants import CHUNK_LENGTH
from max_whisper.checks import number, optional, truth
from max_whisper.definitions import FASTER, Options, check_names, option, options_of
from max_whisper.errors import OptionError

FRAME_SECONDS = 0.032  # what one probability of the detector stands for: 512 samples


# The part of the help and of the page of options in which they stand.
GROUP = "voice activity"

_PROBABILITY = number("a probability from 0 to 1", lambda number: 0 <= number <= 1, "PROBABILITY")
_MILLISECONDS = number("milliseconds of at least 0", lambda number: 0 <= number < math.inf, "MS")


@dataclass(frozen=True)
class VadParameters(Options):
    """What counts as speech: from probabilities to spans; the names are those of silero's `get_speech_timestamps`.

    Values are checked as the object is made: OptionError with one line that begins `vad_parameters:`.
    """

    threshold: float = option(
        0.5,
        help="probability from which a frame of 32 ms is speech",
        group=GROUP,
        form=_PROBABILITY,
        origin=(FASTER,),
    )
    neg_threshold: float | None = option(
        None,
        help="probability below which a frame ends speech; None is threshold - 0.15, at least 0.01",
        group=GROUP,
        form=optional(replace(_PROBABILITY, expected=f"{_PROBABILITY.expected}, or None")),
        origin=(FASTER,),
    )
    min_speech_duration_ms: float = option(
        0,
        help="milliseconds: speech that is not longer is left out",
        group=GROUP,
        form=_MILLISECONDS,
        origin=(FASTER,),
    )
    max_speech_duration_s: float = option(
        math.inf,
        help="seconds, padding included: longer speech is cut at its longest pause, without one at this length; at "
        "most 30 with chunking vad",
        group=GROUP,
        form=number("seconds above 0", lambda number: number > 0, "SECONDS"),
        origin=(FASTER,),
    )
    min_silence_duration_ms: float = option(
        2000,
        help="milliseconds of silence that separate two spans; 160 with chunking vad",
        group=GROUP,
        form=_MILLISECONDS,
        origin=(FASTER,),
    )
    speech_pad_ms: float = option(
        400,
        help="milliseconds that are added before and after each span; neighbors share a silence too short for both",
        group=GROUP,
        form=_MILLISECONDS,
        origin=(FASTER,),
    )
    min_silence_at_max_speech: float = option(
        98,
        help="milliseconds: a pause at which speech that is too long may be cut is longer than this",
        group=GROUP,
        form=_MILLISECONDS,
        origin=(FASTER,),
    )
    use_max_poss_sil_at_max_speech: bool = option(
        True,
        help="whether speech that is too long is cut at its longest pause; False cuts at its last one",
        group=GROUP,
        form=truth(),
        origin=(FASTER,),
    )

    @classmethod
    def unknown(cls, name: str) -> str:
        """What is said of a name that is none of the fields'."""
        return f"vad_parameters: no field {name!r}"

    def __post_init__(self) -> None:
        for definition in options_of(VadParameters):
            value = getattr(self, definition.name)
            try:
                definition.form.convert(definition.name, value)
            except ValueError:
                raise _wrong(definition.name, definition.form.expected, value) from None
        if self.neg_threshold is not None and self.neg_threshold > self.threshold:
            raise _wrong("neg_threshold", f"at most the threshold of {self.threshold:g}", self.neg_threshold)
        longest, least = self.max_speech_duration_s, 2 * self.speech_pad_ms / 1000 + 2 * FRAME_SECONDS
        if longest < least:
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
        if not isinstance(value, Mapping):
            raise OptionError(f"vad_parameters: a dictionary, such as {{'threshold': 0.6}}, or None, got {value!r}")
        check_names(cls, value)
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


# The defaults with chunking="vad", which are those of faster-whisper's batches: more silences to cut at, and no span
# that is longer than a window of the encoder.
CHUNKED = VadParameters(min_silence_duration_ms=160, max_speech_duration_s=CHUNK_LENGTH)
