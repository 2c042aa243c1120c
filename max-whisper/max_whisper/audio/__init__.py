"""Any recording to 16 kHz samples, these to log-mel windows, and where in them there is speech."""

import typing

from max_whisper import lazily
from max_whisper.audio.constants import (
    CHUNK_LENGTH,
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    N_FFT,
    N_FRAMES,
    N_SAMPLES,
    SAMPLE_RATE,
)

if typing.TYPE_CHECKING:
    from max_whisper.audio.recording import (
        Audio,
        AudioWarning,
        Recording,
        Samples,
        load_audio,
        open_recording,
        pad_or_trim,
    )
else:
    __getattr__, __dir__ = lazily.names_of(
        __name__,
        {
            "recording": [
                "Audio",
                "AudioWarning",
                "Recording",
                "Samples",
                "load_audio",
                "open_recording",
                "pad_or_trim",
            ]
        },
    )

__all__ = [
    "CHUNK_LENGTH",
    "FRAMES_PER_SECOND",
    "HOP_LENGTH",
    "N_FFT",
    "N_FRAMES",
    "N_SAMPLES",
    "SAMPLE_RATE",
    "Audio",
    "AudioWarning",
    "Recording",
    "Samples",
    "load_audio",
    "open_recording",
    "pad_or_trim",
]
