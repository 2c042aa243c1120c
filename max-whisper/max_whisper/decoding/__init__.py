"""Logits to tokens: rules of what may come next, a chooser that picks, and the loop over one window.

Logits are NumPy arrays here; who computes them is behind `SpeechModel`.
"""

from max_whisper.decoding.decode import DecodingResult, WindowDecoder
from max_whisper.decoding.language import detect_language
from max_whisper.decoding.model import AudioFeatures, DecoderState, SpeechModel

__all__ = ["AudioFeatures", "DecoderState", "DecodingResult", "SpeechModel", "WindowDecoder", "detect_language"]
