"""Hugging Face transformers, on PyTorch."""

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

import numpy as np

from .peer import BEAMS, STEPS, WINDOW_SAMPLES, NotInstalledError, Peer, Text, Work, for_each_token, seconds, windows


class TransformersPeer(Peer):
    how: ClassVar[dict[str, str]] = {
        "token": "a step of its decoder with its caches, and the arg max; without its rules for logits",
        "beam_token": "the difference of two texts of `generate`, 8 and 72 tokens long",
        "recording": "`generate` on each window in turn: its own long-form loop needs timestamps",
        "batched": "`generate` on as many windows at a time as a batch has",
    }

    def __init__(self, path: str, precision: str, work: Work) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise NotInstalledError(f"{error}; install it: pip install '.[peers]'") from error
        torch.set_num_threads(work.threads)
        torch.set_grad_enabled(False)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self._torch, self._work = torch, work
        self._dtype = getattr(torch, precision)
        model = transformers.WhisperForConditionalGeneration
        self._model = model.from_pretrained(path, dtype=self._dtype).eval()
        self._tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(path)
        self._extractor = transformers.WhisperFeatureExtractor(feature_size=work.n_mels)

    def log_mel(self, window: np.ndarray) -> float:
        return seconds(lambda: self._mel([window]))

    def encoder(self, window: np.ndarray) -> float:
        mel = self._mel([window])
        return seconds(lambda: self._model.model.encoder(mel))

    def prompt(self, window: np.ndarray, tokens: list[int]) -> float:
        return self._decode(window, tokens, 0)[0]

    def token(self, window: np.ndarray) -> float:
        return self._decode(window, self._work.prompt, STEPS)[1] / STEPS

    def beam_token(self, window: np.ndarray) -> float:
        mel = self._mel([window])
        return for_each_token(
            lambda tokens: self._generate(mel, tokens, num_beams=BEAMS, suppress_tokens=[self._work.end])
        )

    def transcribe(self, samples: np.ndarray) -> Iterator[Text]:
        return self._texts(samples, 1)

    def transcribe_batched(self, samples: np.ndarray) -> Iterator[Text]:
        return self._texts(samples, self._work.batch_size)

    def _texts(self, samples: np.ndarray, batch_size: int) -> Iterator[Text]:
        remaining = windows(samples)
        while batch := list(islice(remaining, batch_size)):
            mel = self._mel(batch)
            tokens = self._generate(mel, self._work.max_tokens, return_timestamps=self._work.timestamps)
            texts = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
            yield from map(Text, texts, (tokens < self._work.end).sum(-1).tolist())

    def _mel(self, batch: list[np.ndarray]) -> Any:
        whole = [np.pad(window, (0, WINDOW_SAMPLES - len(window))) for window in batch]
        return self._extractor(whole, sampling_rate=16_000, return_tensors="pt").input_features.to(self._dtype)

    def _generate(self, mel: Any, tokens: int | None, **options: Any) -> Any:
        length = {} if tokens is None else {"max_new_tokens": tokens}
        language = {"language": "en", "task": "transcribe"} if self._work.multilingual else {}
        return self._model.generate(mel, do_sample=False, **length, **language, **options)

    def _decode(self, window: np.ndarray, prompt: list[int], steps: int) -> tuple[float, float]:
        """Seconds of the prompt, and of all steps after it."""
        features = self._model.model.encoder(self._mel([window]))
        tokens, caches = self._torch.tensor([prompt]), None
        times = [time.perf_counter()]
        for _ in range(1 + steps):
            output = self._model(
                encoder_outputs=features, decoder_input_ids=tokens, past_key_values=caches, use_cache=True
            )
            caches = output.past_key_values
            tokens = output.logits[:, -1].argmax(-1, keepdim=True)
            times.append(time.perf_counter())
        return times[1] - times[0], times[-1] - times[1]
