"""max-whisper itself, with backend max."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from .peer import BEAMS, Peer, Text, Work, for_each_token, seconds, windows


class MaxPeer(Peer):
    how: ClassVar[dict[str, str]] = {
        "prompt": "the cross-attention's keys and values, and a call of its decoder",
        "long_prompt": "the cross-attention's keys and values, and a call of its decoder",
        "token": "the difference of two texts of its decoding with its rules for logits, 8 and 72 tokens long",
        "beam_token": "the difference of two texts of its decoding, 8 and 72 tokens long",
        "batched": "`transcribe_many`, given the windows",
    }

    def __init__(self, path: str, precision: str, work: Work) -> None:
        from max_whisper.transcriber import load_model

        self._work = work
        self._transcriber = load_model(path, backend="max", device="cpu", compute_type=precision)
        self._model: Any = self._transcriber.model

    def log_mel(self, window: np.ndarray) -> float:
        return seconds(lambda: self._mel(window))

    def encoder(self, window: np.ndarray) -> float:
        mel = self._mel(window)

        def encode() -> None:
            self._model.synchronize(self._model.encode(mel))

        return seconds(encode)

    def prompt(self, window: np.ndarray, tokens: list[int]) -> float:
        features = self._model.encode(self._mel(window))
        self._model.synchronize(features)
        prompt = np.array([tokens], dtype=np.int64)
        return seconds(lambda: self._model.start(features).advance(prompt, [len(tokens) - 1]))

    def token(self, window: np.ndarray) -> float:
        return self._token(window, None)

    def beam_token(self, window: np.ndarray) -> float:
        return self._token(window, BEAMS)

    def transcribe(self, samples: np.ndarray) -> Iterator[Text]:
        return self._texts(self._transcriber.stream(samples, **self._options()))

    def transcribe_batched(self, samples: np.ndarray) -> Iterator[Text]:
        results = self._transcriber.transcribe_many(
            windows(samples), batch_size=self._work.batch_size, **self._options()
        )
        for result in results:
            if isinstance(result, Exception):
                raise result
            yield from self._texts(result.segments)

    def _texts(self, segments: Iterable[Any]) -> Iterator[Text]:
        for segment in segments:
            yield Text(segment.text, sum(token < self._work.end for token in segment.tokens))

    def _options(self) -> dict[str, Any]:
        return {
            "language": "en",
            "temperature": 0.0,
            "without_timestamps": not self._work.timestamps,
            "condition_on_previous_text": False,
            "compression_ratio_threshold": None,
            "logprob_threshold": None,
            "no_speech_threshold": None,
            "sample_len": self._work.max_tokens,
        }

    def _mel(self, window: np.ndarray) -> np.ndarray:
        from max_whisper.audio.samples import open_samples
        from max_whisper.transcription.tasks import spectrogram

        return spectrogram(self._model, open_samples(window)).window(0, window.size // 160)[None]

    def _token(self, window: np.ndarray, beams: int | None) -> float:
        from max_whisper.decoding.decode import WindowContext, WindowDecoder
        from max_whisper.models.whisper.tokenizer import get_tokenizer
        from max_whisper.options import TranscribeOptions

        dims = self._transcriber.dims
        tokenizer = get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages, language="en")
        features = self._model.encode(self._mel(window))

        def text(tokens: int) -> None:
            options = TranscribeOptions.from_keywords(
                {
                    "language": "en",
                    "beam_size": beams,
                    "sample_len": tokens,
                    "without_timestamps": True,
                    "suppress_tokens": [self._work.end],
                }
            ).resolve(dims)
            decoder = WindowDecoder(self._model, tokenizer, options)
            (result,) = decoder.decode(features, [WindowContext(tokenizer)], 0.0)
            if len(result.tokens) != tokens:
                raise RuntimeError(f"the decoder made {len(result.tokens)} tokens where {tokens} were asked for")

        return for_each_token(text)
