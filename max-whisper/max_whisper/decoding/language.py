"""Which language is spoken."""

import numpy as np

from max_whisper.decoding.model import AudioFeatures, SpeechModel
from max_whisper.errors import OptionError
from max_whisper.tokenizer import Tokenizer


def detect_language(model: SpeechModel, features: AudioFeatures, tokenizer: Tokenizer) -> tuple[str, dict[str, float]]:
    """The most probable language of one window and the probabilities of all, by code.

    features: of `model.encode`, for a batch of one. The probabilities are a softmax over the language tokens alone,
    after <|startoftranscript|> (whisper/decoding.py, detect_language).

    Raises OptionError for an English-only vocabulary.
    """
    if tokenizer.language is None:
        raise OptionError("language: an English-only model cannot detect languages; take one without .en")
    start = np.array([[tokenizer.sot]], dtype=np.int64)
    logits = model.start(features).advance(start, [0])[0, 0, list(tokenizer.all_language_tokens)]
    exponentials = np.exp(logits - logits.max())
    probabilities = (exponentials / exponentials.sum()).tolist()
    probability_of = dict(zip(tokenizer.all_language_codes, probabilities, strict=True))
    return max(probability_of, key=probability_of.__getitem__), probability_of
