"""Which language is spoken."""

from collections.abc import Mapping, Sequence

import numpy as np

from max_whisper.backends.interface import AudioFeatures, SpeechModel
from max_whisper.errors import OptionError
from max_whisper.models.whisper.tokenizer import Tokenizer


def language_probabilities(
    model: SpeechModel, features: AudioFeatures, n_windows: int, tokenizer: Tokenizer
) -> list[dict[str, float]]:
    """For each window of a batch, how probable each language is, by code.

    features: of `model.encode`, for `n_windows` windows. The probabilities are a softmax over the language tokens
    alone, after <|startoftranscript|> (whisper/decoding.py, detect_language).

    Raises OptionError for an English-only vocabulary.
    """
    if tokenizer.language is None:
        raise OptionError("language: an English-only model cannot detect languages; take one without .en")
    start = np.full((n_windows, 1), tokenizer.sot, dtype=np.int64)
    logits = model.start(features).advance(start, [0])[:, 0, list(tokenizer.all_language_tokens)]
    return [dict(zip(tokenizer.all_language_codes, _softmax(row).tolist(), strict=True)) for row in logits]


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Of one window, contiguous, so that rounding does not depend on how many there are."""
    exponentials = np.exp(np.ascontiguousarray(logits - logits.max()))
    return exponentials / exponentials.sum()


def mean_probabilities(windows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How probable each language is in several windows together."""
    return {code: sum(window[code] for window in windows) / len(windows) for code in windows[0]}


def most_probable_language(probabilities: Mapping[str, float]) -> str:
    """The code of the most probable language."""
    return max(probabilities, key=probabilities.__getitem__)
