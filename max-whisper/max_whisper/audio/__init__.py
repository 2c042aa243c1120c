"""Any recording to 16 kHz samples, these to log-mel windows, and where in them there is speech."""

from max_whisper.audio.constants import (
    CHUNK_LENGTH,
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    N_FFT,
    N_FRAMES,
    N_SAMPLES,
    SAMPLE_RATE,
)
from max_whisper.audio.recording import (
    Audio,
    AudioWarning,
    Recording,
    Samples,
    load_audio,
    open_recording,
    pad_or_trim,
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
