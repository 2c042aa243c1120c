"""A Whisper model whose logits are a made-up function of the window and the tokens so far.

The same script drives openai-whisper's decoding and ours, so that both can be led through every branch, exactly, and
without any network being computed. The function is random but shaped like speech: text, timestamps in pairs, the end
of the text, silence, and now and then a token that must not be chosen.
"""

import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from whisper.decoding import decode, detect_language
from whisper.transcribe import transcribe

from max_whisper.audio.log_mel import Log10Mel, log10_mel
from max_whisper.backends.interface import CrossAttention
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.tokenizer import Tokenizer, get_tokenizer

N_VOCAB = {"english": 51864, "multilingual": 51865, "large-v3": 51866}


def dimensions(vocabulary: str, n_text_ctx: int = 448, n_mels: int = 80) -> ModelDimensions:
    """Sizes of a model with one of the three vocabularies; the network's own sizes are never used."""
    return ModelDimensions(n_mels, 1500, 64, 1, 1, N_VOCAB[vocabulary], n_text_ctx, 64, 1, 1)


@dataclass(frozen=True)
class Script:
    """Logits for any window and any tokens, the same each time they are asked for."""

    dims: ModelDimensions
    seed: int
    silence: float = 0.2  # share of windows in which <|nospeech|> is probable
    confidence: float = 10.0  # how far the likeliest token stands out, in standard deviations of the others

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return get_tokenizer(self.dims.is_multilingual, num_languages=self.dims.num_languages)

    @cached_property
    def noise(self) -> np.ndarray:
        return np.random.default_rng(self.seed).standard_normal(self.dims.n_vocab, dtype=np.float32)

    @staticmethod
    def window(log_mel: np.ndarray) -> int:
        """A number that stands for a window's features; different where any bit of them is."""
        return zlib.crc32(np.ascontiguousarray(log_mel).tobytes()) & 0xFFFFFF

    def logits(self, window: int, tokens: Sequence[int]) -> np.ndarray:
        """float32 [n_vocab] of the token after `tokens`, which begin with the prompt."""
        tokenizer = self.tokenizer
        rng = np.random.default_rng([self.seed, window, *tokens])
        logits = np.roll(self.noise, int(rng.integers(self.dims.n_vocab)))
        height = np.float32(self.confidence * rng.uniform(0.6, 1.4))
        if tokens[-1] == tokenizer.sot:
            logits[list(tokenizer.all_language_tokens)] += np.float32(3)
            if rng.random() < self.silence:
                logits[tokenizer.no_speech] += height + np.float32(12)
        logits[self._next(rng, tokens, logits)] += height
        return logits

    def _next(self, rng: np.random.Generator, tokens: Sequence[int], logits: np.ndarray) -> Any:
        """Which tokens stand out."""
        tokenizer, begin = self.tokenizer, self.tokenizer.timestamp_begin
        timestamps = [token for token in tokens[tokens.index(tokenizer.sot) :] if token >= begin]
        last = timestamps[-1] if timestamps else begin
        after_timestamp = tokens[-1] >= begin
        kind = rng.choice(
            ["text", "blank", "timestamp", "many timestamps", "end", "forbidden"],
            p=[0.15, 0.05, 0.4, 0.05, 0.3, 0.05] if after_timestamp else [0.55, 0.05, 0.2, 0.05, 0.1, 0.05],
        )
        if kind == "text":
            return int(rng.integers(0, tokenizer.eot))
        if kind == "blank":
            return tokenizer.encode(" ")[0]
        if kind == "timestamp":
            ahead = 0 if after_timestamp and rng.random() < 0.7 else int(rng.integers(20, 400))
            return min(last + ahead, begin + 1500)
        if kind == "many timestamps":  # none of them the likeliest token, all together likelier than any
            logits[int(rng.integers(0, tokenizer.eot))] += np.float32(3)
            return slice(last + 1, begin + 1501)
        if kind == "end":
            return tokenizer.eot
        forbidden = [tokenizer.no_timestamps, tokenizer.sot, tokenizer.translate, tokenizer.no_speech]
        return [*forbidden, *tokenizer.non_speech_tokens]


class ScriptedModel:
    """A script as the SpeechModel of our decoding."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.dims = script.dims
        self.turns = nullcontext()  # each test has its model to itself
        self.log10_mel: Log10Mel = log10_mel
        self.n_encoded = 0  # calls
        self.batches: list[int] = []  # windows of each decoder started

    def encode(self, log_mel: np.ndarray) -> list[int]:
        assert log_mel.shape[1:] == (self.dims.n_mels, 3000)
        self.n_encoded += 1
        return [self.script.window(row) for row in log_mel]

    def select(self, features: list[int], windows: Sequence[int]) -> list[int]:
        return [features[window] for window in windows]

    def join(self, features: Sequence[list[int]]) -> list[int]:
        return [window for part in features for window in part]

    def start(self, features: list[int], *, group: int = 1, padding: Sequence[int] | None = None) -> "ScriptedState":
        self.batches.append(len(features))
        rows = [(window, pad) for window, pad in zip(features, padding or [0] * len(features), strict=True)]
        return ScriptedState(self.script, [row for row in rows for _ in range(group)])

    def cross_attention(self, features: list[int], tokens: np.ndarray, n_text: int) -> CrossAttention:
        """Scores as of one head that looks at the audio a little later with each token, and made-up probabilities."""
        scores = []
        for window, row in zip(features, tokens, strict=True):
            rng = np.random.default_rng([self.script.seed, window, *row.tolist()])
            centers = np.sort(rng.uniform(0, self.dims.n_audio_ctx, len(row)))[:, None]
            distance = (np.arange(self.dims.n_audio_ctx) - centers) / 20
            scores.append(-(distance**2) + rng.standard_normal(distance.shape))
        probabilities = np.random.default_rng(self.script.seed).random(tokens.shape)[:, 1:]
        return CrossAttention(np.array(scores, np.float32)[:, None], probabilities.astype(np.float32))


class ScriptedState:
    """The tokens so far of each row, in place of a KV cache."""

    def __init__(self, script: Script, rows: Sequence[tuple[int, int]]) -> None:
        self.script = script
        self.windows = [window for window, _ in rows]
        self.padding = [pad for _, pad in rows]
        self.tokens: list[list[int]] = [[] for _ in rows]

    def advance(self, tokens: np.ndarray, positions: Sequence[int]) -> np.ndarray:
        assert tokens.dtype == np.int64
        assert len(tokens) == len(self.windows)
        n_before = len(self.tokens[0])
        for row, new in zip(self.tokens, tokens.tolist(), strict=True):
            row.extend(new)
        context = self.script.dims.n_text_ctx
        assert any(len(row) - pad <= context for row, pad in zip(self.tokens, self.padding, strict=True))
        return np.stack(
            [
                np.stack([self.script.logits(window, row[pad : n_before + position + 1]) for position in positions])
                for window, pad, row in zip(self.windows, self.padding, self.tokens, strict=True)
            ]
        )

    def reorder(self, sources: Sequence[int]) -> None:
        assert all(self.windows[source] == window for source, window in zip(sources, self.windows, strict=True))
        self.tokens = [list(self.tokens[source]) for source in sources]


class _Projection:
    """What openai-whisper's beam search takes for a key or value layer: under it the cache holds rows to reorder."""


class _ScriptedDecoder:
    """The decoder of `ScriptedReference`: logits at <|startoftranscript|> and at the last token; the rest stay zero."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.key, value = _Projection(), _Projection()
        self.blocks = [SimpleNamespace(attn=SimpleNamespace(key=self.key, value=value))]
        self.value = value

    def __call__(
        self, tokens: torch.Tensor, features: torch.Tensor, kv_cache: dict[Any, torch.Tensor] | None = None
    ) -> torch.Tensor:
        kv_cache = {} if kv_cache is None else kv_cache
        if self.key in kv_cache:
            tokens = torch.cat([kv_cache[self.key], tokens], dim=1)
        n_before = kv_cache[self.key].shape[1] if self.key in kv_cache else 0
        kv_cache[self.key] = kv_cache[self.value] = tokens
        rows, length = tokens.shape
        logits = np.zeros((rows, length - n_before, self.script.dims.n_vocab), dtype=np.float32)
        # One window may stand for all its hypotheses, as PyTorch broadcasts it.
        windows = features[:, 0, 0].expand(rows).int().tolist()
        for row, (window, said) in enumerate(zip(windows, tokens.tolist(), strict=True)):
            for index in range(n_before, length):
                if said[index] == self.script.tokenizer.sot or index == length - 1:
                    logits[row, index - n_before] = self.script.logits(window, said[: index + 1])
        return torch.from_numpy(logits)


class ScriptedReference:
    """A script as the model of openai-whisper's own `transcribe`."""

    device = torch.device("cpu")
    transcribe = transcribe
    detect_language = detect_language

    def __init__(self, script: Script) -> None:
        self.script = script
        self.dims = script.dims
        self.is_multilingual = script.dims.is_multilingual
        self.num_languages = script.dims.num_languages
        self.decoder = _ScriptedDecoder(script)
        self.results: list[Any] = []  # the DecodingResult of each window

    def encoder(self, log_mel: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[[float(self.script.window(row.numpy()))]] for row in log_mel])

    def logits(self, tokens: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return _ScriptedDecoder(self.script)(tokens, features)

    def install_kv_cache_hooks(self) -> tuple[dict[Any, torch.Tensor], list[object]]:
        # Never empty: openai-whisper asks for hooks again while it is.
        return {"in use": torch.zeros(0)}, []

    def decode(self, log_mel: torch.Tensor, options: Any) -> Any:
        assert len(self.results) < 100, "the reference goes round in circles"
        self.results.append(decode(self, log_mel, options))
        return self.results[-1]
