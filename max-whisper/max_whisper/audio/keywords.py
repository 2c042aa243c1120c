"""The keywords of reading a recording, for editors and type checkers.

Made by docs/make_pages.py from the definitions of the options.
"""

from __future__ import annotations

from typing import TypedDict


class ReadingKeywords(TypedDict, total=False):
    """The fields of `ReadingOptions`, each of which may be left away."""

    audio_track: int | str | None
    """Audio track of a file, counted from 1, or its language tag (eng); None is the default one, then the one with the
    most channels, and no commentary where there is another. The default is None."""
    channel: int | str | None
    """Channel of a file's audio track, counted from 1, or its name (left, right, FL, FC); None mixes all of them to
    one. The default is None."""
    container_times: bool
    """Whether times are those of the file's container, in which the sound may begin late or have gaps; False ignores
    its time stamps, as openai-whisper does. The default is True."""
    input_format: str | None
    """Raw samples without a header, by FFmpeg's name: s16le, f32le, u8, mulaw, alaw and so on; needs sample_rate; None
    is a file that states its own format. The default is None."""
    sample_rate: int | None
    """Hz of raw samples or of an array; None is 16000 for an array; other files state their own. The default is
    None."""
    input_channels: int
    """Channels of raw samples, which alternate; needs input_format. The default is 1."""
