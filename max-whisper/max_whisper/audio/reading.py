"""The options of reading a recording: what its bytes are, which of its tracks and channels, and in whose time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from max_whisper.checks import Form, is_integer, optional, truth
from max_whisper.definitions import Options, check_options, option
from max_whisper.errors import OptionError

if TYPE_CHECKING:
    from typing_extensions import Self

# FFmpeg's names of samples without a header (libavformat/pcmdec.c).
RAW_FORMATS = (
    *("u8", "s8", "mulaw", "alaw", "vidc"),
    *("s16le", "s16be", "s24le", "s24be", "s32le", "s32be"),
    *("u16le", "u16be", "u24le", "u24be", "u32le", "u32be"),
    *("f32le", "f32be", "f64le", "f64be"),
)

_READING = "reading the recording"
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 768_000  # Hz
_MOST_CHANNELS = 64  # of FFmpeg's PCM decoders


def _rate(name: str, value: Any) -> int:
    if not (is_integer(value) and _LOWEST_RATE <= value <= _HIGHEST_RATE):
        raise ValueError
    return int(value)


def _number_or_name(name: str, value: Any) -> int | str:
    """A number from 1 on, which a command line gives as text, or a name."""
    if isinstance(value, str):
        text = value.strip()
        if not text:
            raise ValueError
        if not text.lstrip("+-").isdecimal():
            return text
        value = int(text)
    if not (is_integer(value) and value >= 1):
        raise ValueError
    return int(value)


def _raw_format(name: str, value: Any) -> str:
    # FFmpeg's codecs of these formats are called so: 'pcm_s16le'.
    if not (isinstance(value, str) and value.lower().removeprefix("pcm_") in RAW_FORMATS):
        raise ValueError
    return value.lower().removeprefix("pcm_")


def _channels(name: str, value: Any) -> int:
    if not (is_integer(value) and 1 <= value <= _MOST_CHANNELS):
        raise ValueError
    return int(value)


_TRACK = Form("a number from 1 on, or a language such as 'eng'", str, "TRACK", _number_or_name)
_CHANNEL = Form("a number from 1 on, or a name such as 'left' or 'FC'", str, "CHANNEL", _number_or_name)
_RATE = Form(f"whole Hz from {_LOWEST_RATE} to {_HIGHEST_RATE}", int, "HZ", _rate)
_RAW_FORMAT = Form(f"one of {', '.join(RAW_FORMATS)}", str, "FORMAT", _raw_format)


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(Options):
    """How a recording is read; the defaults give what openai-whisper reads, in the container's own time.

    Values and their combinations are checked as the object is made: OptionError.
    """

    audio_track: int | str | None = option(
        None,
        help="audio track of a file, counted from 1, or its language tag (eng); None is the default one, then the one "
        "with the most channels, and no commentary where there is another",
        group=_READING,
        form=optional(_TRACK),
    )
    channel: int | str | None = option(
        None,
        help="channel of a file's audio track, counted from 1, or its name (left, right, FL, FC); None mixes all of "
        "them to one",
        group=_READING,
        form=optional(_CHANNEL),
    )
    container_times: bool = option(
        True,
        help="whether times are those of the file's container, in which the sound may begin late or have gaps; False "
        "ignores its time stamps, as openai-whisper does",
        group=_READING,
        form=truth(),
    )
    input_format: str | None = option(
        None,
        help="raw samples without a header, by FFmpeg's name: s16le, f32le, u8, mulaw, alaw and so on; needs "
        "sample_rate; None is a file that states its own format",
        group=_READING,
        form=optional(_RAW_FORMAT),
    )
    sample_rate: int | None = option(
        None,
        help="Hz of raw samples or of an array; None is 16000 for an array; other files state their own",
        group=_READING,
        form=optional(_RATE),
    )
    input_channels: int = option(
        1,
        help="channels of raw samples, which alternate; needs input_format",
        group=_READING,
        form=Form(f"a number of channels from 1 to {_MOST_CHANNELS}", int, "N", _channels),
    )

    def __post_init__(self) -> None:
        check_options(self)
        for conflict in _conflicts(self):
            raise OptionError(conflict)

    def of_one_among_many(self, is_array: bool) -> Self:
        """The options for one of several recordings, whose `sample_rate` is for the arrays and raw files among them."""
        return self if is_array or self.input_format is not None else replace(self, sample_rate=None)


def _conflicts(options: ReadingOptions) -> Iterator[str]:
    """What is wrong with options that are right one by one, a line for each."""
    raw = options.input_format
    if raw is None:
        if options.input_channels != 1:
            yield "input_channels: files state their own; it is for raw samples, give input_format too"
        return
    if options.sample_rate is None:
        yield f"input_format: raw {raw} does not state its rate; give sample_rate too, such as 16000"
    if options.audio_track is not None:
        yield "audio_track: raw samples are a single track; leave it away"
    if isinstance(options.channel, int) and options.channel > options.input_channels:
        yield f"channel: it is {options.channel}, but input_channels {options.input_channels}; give both as they are"
