"""One temperature after the other, until a text is good enough (whisper/transcribe.py, decode_with_fallback)."""

from collections.abc import Sequence

from max_whisper.backends.interface import AudioFeatures
from max_whisper.decoding.decode import DecodingResult, WindowContext, WindowDecoder
from max_whisper.options import TranscribeOptions


def decode_with_fallback(
    decoder: WindowDecoder, features: AudioFeatures, windows: Sequence[WindowContext]
) -> list[DecodingResult]:
    """Decode a batch of windows at the first temperature, and those that fail again at the next one.

    Where all temperatures fail, the last one's text stays.
    """
    results: dict[int, DecodingResult] = {}
    pending = list(range(len(windows)))
    for temperature in decoder.options.temperatures:
        if results:
            failed = [i for i, window in enumerate(pending) if is_poor(results[window], decoder.options)]
            if not failed:
                break
            if len(failed) < len(pending):
                features = decoder.model.select(features, failed)
            pending = [pending[i] for i in failed]
        decoded = decoder.decode(features, [windows[window] for window in pending], temperature)
        results.update(zip(pending, decoded, strict=True))
    return [results[window] for window in range(len(windows))]


def is_poor(result: DecodingResult, options: TranscribeOptions) -> bool:
    """Whether a text repeats itself or is improbable, unless it is taken for silence."""
    if is_improbable(result, options):
        return not is_without_speech(result, options)
    limit = options.compression_ratio_threshold
    return limit is not None and result.compression_ratio > limit


def is_improbable(result: DecodingResult, options: TranscribeOptions) -> bool:
    """Whether the mean log probability is below its threshold."""
    return options.logprob_threshold is not None and result.avg_logprob < options.logprob_threshold


def is_without_speech(result: DecodingResult, options: TranscribeOptions) -> bool:
    """Whether <|nospeech|> is more probable than its threshold."""
    return options.no_speech_threshold is not None and result.no_speech_prob > options.no_speech_threshold


def is_silence(result: DecodingResult, options: TranscribeOptions) -> bool:
    """Whether the window is to be skipped: <|nospeech|> was probable, and its text was not."""
    if not is_without_speech(result, options):
        return False
    return options.logprob_threshold is None or not result.avg_logprob > options.logprob_threshold
