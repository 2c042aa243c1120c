"""openai-whisper, on PyTorch."""

import time
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from .peer import BEAMS, STEPS, NotInstalledError, Peer, Text, Work, for_each_token, seconds


class OpenAIPeer(Peer):
    how: ClassVar[dict[str, str]] = {
        "token": "a step of its decoder with its caches, and the arg max; without its rules for logits",
        "beam_token": "the difference of two texts of `whisper.decode`, 8 and 72 tokens long",
    }
    missing: ClassVar[dict[str, str]] = {"batched": "openai-whisper transcribes one window at a time"}

    def __init__(self, path: str, precision: str, work: Work) -> None:
        try:
            import torch
            import whisper
        except ImportError as error:
            raise NotInstalledError(f"{error}; install it: pip install openai-whisper") from error
        torch.set_num_threads(work.threads)
        torch.set_grad_enabled(False)
        self._torch, self._whisper, self._work = torch, whisper, work
        self._model = whisper.load_model(path, device="cpu").float()

    def log_mel(self, window: np.ndarray) -> float:
        return seconds(lambda: self._mel(window))

    def encoder(self, window: np.ndarray) -> float:
        mel = self._mel(window)
        return seconds(lambda: self._model.encoder(mel))

    def prompt(self, window: np.ndarray, tokens: list[int]) -> float:
        return self._decode(window, tokens, 0)[0]

    def token(self, window: np.ndarray) -> float:
        return self._decode(window, self._work.prompt, STEPS)[1] / STEPS

    def beam_token(self, window: np.ndarray) -> float:
        features = self._model.encoder(self._mel(window))[0]

        def text(tokens: int) -> None:
            options = self._whisper.DecodingOptions(
                language="en", beam_size=BEAMS, sample_len=tokens, without_timestamps=True, fp16=False,
                suppress_tokens=[self._work.end],
            )  # fmt: skip
            self._whisper.decode(self._model, features, options)

        return for_each_token(text)

    def transcribe(self, samples: np.ndarray) -> Iterator[Text]:
        result = self._model.transcribe(
            samples,
            language="en",
            temperature=0.0,
            without_timestamps=not self._work.timestamps,
            condition_on_previous_text=False,
            compression_ratio_threshold=None,
            logprob_threshold=None,
            no_speech_threshold=None,
            sample_len=self._work.max_tokens,
            fp16=False,
        )
        for segment in result["segments"]:
            yield Text(segment["text"], sum(token < self._work.end for token in segment["tokens"]))

    def transcribe_batched(self, samples: np.ndarray) -> Iterator[Text]:
        raise NotImplementedError(self.missing["batched"])

    def _mel(self, window: np.ndarray):  # type: ignore[no-untyped-def]
        return self._whisper.log_mel_spectrogram(window, self._work.n_mels)[None]

    def _decode(self, window: np.ndarray, prompt: list[int], steps: int) -> tuple[float, float]:
        """Seconds of the prompt, and of all steps after it."""
        inference = self._whisper.decoding.PyTorchInference(self._model, len(prompt))
        features = self._model.encoder(self._mel(window))
        tokens = self._torch.tensor([prompt])
        began = time.perf_counter()
        logits = inference.logits(tokens, features)
        prompted = time.perf_counter()
        for _ in range(steps):
            tokens = self._torch.cat([tokens, logits[:, -1].argmax(-1, keepdim=True)], dim=-1)
            logits = inference.logits(tokens, features)
        ended = time.perf_counter()
        inference.cleanup_caching()
        return prompted - began, ended - prompted
