"""Drawn tokens against PyTorch's softmax: two libraries share no random numbers, but they share the distribution."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import whisper
from whisper.decoding import DecodingTask

from max_whisper.audio import N_FRAMES, N_SAMPLES
from max_whisper.audio.samples import open_samples
from max_whisper.decoding import WindowContext, WindowDecoder
from max_whisper.diagnostics.option_cases import ENGLISH, MULTILINGUAL, NANO, samples
from max_whisper.diagnostics.option_comparison import Pair
from max_whisper.models.whisper.tokenizer import get_tokenizer
from max_whisper.options import TranscribeOptions
from max_whisper.transcription.tasks import spectrogram

DRAWS = 2000
BATCH = 40  # windows
LEAST_EXPECTED = 5  # draws of a token; rarer tokens are counted together (Cochran 1954)
SIGNIFICANCE = 0.001

# Model, recording, temperature and other options of the windows whose first token is drawn.
FIRST_TOKENS: tuple[tuple[str, str, float, dict[str, Any]], ...] = (
    (NANO, "one_day", 1.0, {}),
    (ENGLISH, "tones", 1.0, {"without_timestamps": True}),
    (ENGLISH, "tones", 0.4, {"without_timestamps": True}),
    (MULTILINGUAL, "noise", 1.0, {}),
    (MULTILINGUAL, "noise", 0.7, {"without_timestamps": True, "suppress_blank": False}),
)


@dataclass(frozen=True)
class FirstToken:
    """How often each token was drawn first, against the reference's probabilities."""

    model: str
    recording: str
    temperature: float
    options: Mapping[str, Any]
    different_tokens: int  # drawn
    cells: int  # of the test
    chi_square: float
    probability: float  # of a chi-square as large or larger, if the distributions are the same

    @property
    def is_equal(self) -> bool:
        """Whether the draws may well come from the reference's distribution."""
        return self.probability > SIGNIFICANCE


def compare_first_token(
    pair: Pair, recording: str, temperature: float, options: Mapping[str, Any], draws: int = DRAWS
) -> FirstToken:
    """Draw the first token of a recording's first window so many times."""
    audio = samples(recording)
    drawn = Counter(_draw(pair, audio, temperature, options, draws))
    expected = draws * reference_distribution(pair.reference, audio, temperature, options)
    chi_square, cells, probability = chi_square_test(np.array([drawn[t] for t in range(len(expected))]), expected)
    return FirstToken(pair.name, recording, temperature, options, len(drawn), cells, chi_square, probability)


def _draw(pair: Pair, audio: np.ndarray, temperature: float, options: Mapping[str, Any], draws: int) -> list[int]:
    model, dims = pair.ours.model, pair.ours.dims
    chosen = TranscribeOptions(language="en", temperature=temperature, sample_len=1, **options).resolve(dims)
    tokenizer = get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages, language="en", task=chosen.task)
    decoder = WindowDecoder(model, tokenizer, chosen)
    log_mel = spectrogram(model, open_samples(audio)).window(0, N_FRAMES)
    window = model.encode(np.ascontiguousarray(log_mel[None]))
    tokens = []
    for first in range(0, draws, BATCH):
        # The same window as if it stood at many places of a recording: where it stands seeds what is drawn from it.
        contexts = [WindowContext(tokenizer, seek=seek) for seek in range(first, min(first + BATCH, draws))]
        for result in decoder.decode(model.select(window, [0] * len(contexts)), contexts, temperature):
            # Where the text ends at once there is no token but the end.
            tokens.append(result.tokens[0] if result.tokens else tokenizer.eot)
    return tokens


@torch.no_grad()
def reference_distribution(
    model: whisper.Whisper, audio: np.ndarray, temperature: float, options: Mapping[str, Any]
) -> np.ndarray:
    """PyTorch's softmax of openai-whisper's first logits after its filters, over the temperature: float64 [n_vocab]."""
    log_mel = whisper.log_mel_spectrogram(audio, model.dims.n_mels, padding=N_SAMPLES)[:, :N_FRAMES]
    asked = whisper.DecodingOptions(language="en", temperature=temperature, fp16=False, **options)
    task = DecodingTask(model, asked)
    tokens = torch.tensor([task.initial_tokens])
    logits = task.inference.logits(tokens, model.encoder(log_mel[None]))[:, -1]
    task.inference.cleanup_caching()
    for logit_filter in task.logit_filters:
        logit_filter.apply(logits, tokens)
    return (logits[0].double() / temperature).softmax(dim=-1).numpy()


def chi_square_test(observed: np.ndarray, expected: np.ndarray) -> tuple[float, int, float]:
    """Pearson's test: the statistic, its cells and the probability of one as large or larger.

    observed, expected: counts [n] with the same sum. Values with small expectations are one cell together, which takes
    in the least frequent others until it is large enough. Something observed that cannot be has the probability 0.
    """
    if observed[expected == 0].any():
        return float("inf"), 0, 0.0
    order = np.argsort(-expected)
    observed, expected = observed[order].astype(np.float64), expected[order]
    n_single = int((expected >= LEAST_EXPECTED).sum())
    while n_single and 0 < expected[n_single:].sum() < LEAST_EXPECTED:
        n_single -= 1
    observed = np.append(observed[:n_single], observed[n_single:].sum())
    expected = np.append(expected[:n_single], expected[n_single:].sum())
    if not expected[-1]:
        observed, expected = observed[:-1], expected[:-1]
    statistic = float(((observed - expected) ** 2 / expected).sum())
    if len(expected) == 1:
        return statistic, 1, 1.0
    freedom = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
    tail = torch.special.gammaincc(freedom, torch.tensor(statistic / 2, dtype=torch.float64))
    return statistic, len(expected), float(tail)
