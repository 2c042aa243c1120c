"""Logits to tokens: rules of what may come next, searches that choose, a rank among their texts, and the fallback.

Logits are NumPy arrays here; who computes them is behind `backends.interface.SpeechModel`.
"""

from max_whisper.decoding.decode import DecodingResult, WindowContext, WindowDecoder
from max_whisper.decoding.fallback import decode_with_fallback, is_silence
from max_whisper.decoding.language import language_probabilities, mean_probabilities, most_probable_language

__all__ = [
    "DecodingResult",
    "WindowContext",
    "WindowDecoder",
    "decode_with_fallback",
    "is_silence",
    "language_probabilities",
    "mean_probabilities",
    "most_probable_language",
]
