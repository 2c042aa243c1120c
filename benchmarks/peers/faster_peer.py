"""faster-whisper, on CTranslate2."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from .peer import BEAMS, WINDOW_SAMPLES, NotInstalledError, Peer, Text, Work, for_each_token, seconds


class FasterPeer(Peer):
    how: ClassVar[dict[str, str]] = {
        "prompt": "`generate` of a single token, given the encoder's output",
        "long_prompt": "`generate` of a single token, given the encoder's output",
        "token": "the difference of two texts of `generate`, 8 and 72 tokens long",
        "beam_token": "the difference of two texts of `generate`, 8 and 72 tokens long",
        "batched": "its `BatchedInferencePipeline`, given the windows",
    }

    def __init__(self, path: str, precision: str, work: Work) -> None:
        # CTranslate2 imports its converters, and they PyTorch and transformers where these are installed: seconds and
        # hundreds of megabytes that faster-whisper does not need and does not have where it is installed alone.
        for package in ("torch", "transformers"):
            sys.modules.setdefault(package, None)  # type: ignore[arg-type]
        try:
            import faster_whisper
        except ImportError as error:
            raise NotInstalledError(f"{error}; install it: pip install '.[peers]'") from error
        self._faster_whisper, self._work = faster_whisper, work
        self._model = faster_whisper.WhisperModel(path, device="cpu", compute_type=precision, cpu_threads=work.threads)

    def log_mel(self, window: np.ndarray) -> float:
        return seconds(lambda: self._mel(window))

    def encoder(self, window: np.ndarray) -> float:
        mel = self._mel(window)
        return seconds(lambda: self._model.encode(mel))

    def prompt(self, window: np.ndarray, tokens: list[int]) -> float:
        features = self._model.encode(self._mel(window))
        return seconds(lambda: self._generate(features, tokens, 1, 1))

    def token(self, window: np.ndarray) -> float:
        return self._token(window, 1)

    def beam_token(self, window: np.ndarray) -> float:
        return self._token(window, BEAMS)

    def transcribe(self, samples: np.ndarray) -> Iterator[Text]:
        segments, _ = self._model.transcribe(
            samples,
            **self._options(),
            condition_on_previous_text=False,
            compression_ratio_threshold=None,
            log_prob_threshold=None,
            no_speech_threshold=None,
        )
        return self._texts(segments)

    def transcribe_batched(self, samples: np.ndarray) -> Iterator[Text]:
        pipeline = self._faster_whisper.BatchedInferencePipeline(self._model)
        length = WINDOW_SAMPLES / 16_000
        total = len(samples) / 16_000
        starts = np.arange(0, total, length)
        segments, _ = pipeline.transcribe(
            samples,
            **self._options(),
            batch_size=self._work.batch_size,
            clip_timestamps=[{"start": start, "end": min(start + length, total)} for start in starts.tolist()],
        )
        return self._texts(segments)

    def _texts(self, segments: Iterable[Any]) -> Iterator[Text]:
        for segment in segments:
            yield Text(segment.text, sum(token < self._work.end for token in segment.tokens))

    def _options(self) -> dict[str, Any]:
        prompt, tokens = self._work.prompt, self._work.max_tokens
        return {
            "language": "en",
            "beam_size": 1,
            "temperature": 0.0,
            "without_timestamps": not self._work.timestamps,
            "max_new_tokens": None if tokens is None else self._max_length(prompt, tokens) - len(prompt),
            "vad_filter": False,
        }

    def _mel(self, window: np.ndarray) -> np.ndarray:
        return self._model.feature_extractor(window)[:, :3000]

    def _token(self, window: np.ndarray, beams: int) -> float:
        features = self._model.encode(self._mel(window))
        return for_each_token(lambda tokens: self._generate(features, self._work.prompt, tokens, beams))

    def _max_length(self, prompt: list[int], tokens: int) -> int:
        """The `max_length` of so many tokens: a text ends at half of it, or where it is full with prompt and text."""
        return max(2 * tokens, len(prompt) - 1 + tokens)

    def _generate(self, features: Any, prompt: list[int], tokens: int, beams: int) -> None:
        (result,) = self._model.model.generate(
            features,
            [prompt],
            beam_size=beams,
            max_length=self._max_length(prompt, tokens),
            suppress_tokens=[self._work.end],
        )
        made = len(result.sequences_ids[0])
        if made != tokens:
            raise RuntimeError(f"CTranslate2 made {made} tokens where {tokens} were asked for")
