"""One backend in a process of its own; see `service`.

Before the results come `step` events (progress) and `segment` events (text).
"""

import time
from typing import TYPE_CHECKING, Any, TextIO

from max_whisper.diagnostics.service import Service, serve
from max_whisper.progress import Step

if TYPE_CHECKING:
    from max_whisper.transcriber import Transcriber

WARM_UP_TOKENS = 4


class Worker(Service):
    """The backend and what can be asked of it."""

    REQUESTS = frozenset({"load", "warm_up", "transcribe", "stream", "steps", "memory"})

    def __init__(self, events: TextIO) -> None:
        super().__init__(events)
        self._transcriber: Transcriber | None = None

    def load(self, model: str, backend: str, device: str) -> dict[str, Any]:
        """Load a model. Seconds of all of it, importing the libraries too, and of the part that compiles."""
        compiling = _Stopwatch()

        def progress(step: Step, /) -> None:
            compiling.run(step.message.startswith("compiling"))
            self.say("step", message=step.message, done=step.done, total=step.total, unit=step.unit)

        began = time.perf_counter()
        from max_whisper.transcriber import load_model

        transcriber = load_model(model, backend=backend, device=device, progress=progress)
        seconds = time.perf_counter() - began
        compiling.run(False)
        self._transcriber = transcriber
        return {
            "load_seconds": seconds,
            "compile_seconds": compiling.seconds,
            "compiled": _compiled(backend, compiling.seconds),
            "device": transcriber.device,
            "dims": transcriber.dims.to_dict(),
        }

    def warm_up(self) -> dict[str, Any]:
        """Run everything once, on a second of silence, so that no later time has the cost of a first call in it."""
        import numpy as np

        silence = np.zeros(16_000, dtype=np.float32)
        for _ in self._loaded.stream(silence, temperature=0.0, sample_len=WARM_UP_TOKENS, no_speech_threshold=None):
            pass
        return {}

    def transcribe(self, path: str, options: dict[str, Any]) -> dict[str, Any]:
        """Transcribe a file: seconds from the decoded samples to the last word, and to the first.

        At temperature 0: what is drawn above it differs from one library to the next.
        """
        from max_whisper.audio import SAMPLE_RATE, load_audio

        audio = load_audio(path)
        first_text_seconds = None
        began = time.perf_counter()
        stream = self._loaded.stream(audio, **{"temperature": 0.0, **options})
        for segment in stream:
            if first_text_seconds is None:
                first_text_seconds = time.perf_counter() - began
            self.say("segment", start=segment.start, end=segment.end, text=segment.text)
        seconds = time.perf_counter() - began
        return {
            "seconds": seconds,
            "first_text_seconds": first_text_seconds,
            "audio_seconds": len(audio) / SAMPLE_RATE,
            "transcription": stream.transcription().to_dict(),
        }

    def stream(self, path: str, options: dict[str, Any]) -> dict[str, Any]:
        """Transcribe a file as it is read, and keep none of it: seconds of all of it, and the number of segments."""
        began = time.perf_counter()
        segments = sum(1 for _ in self._loaded.stream(path, **options))
        return {"seconds": time.perf_counter() - began, "segments": segments}

    def steps(self, path: str, tokens: int) -> dict[str, Any]:
        """Milliseconds for the features of one window of 30 s, and for each of `tokens` greedy steps after them."""
        import numpy as np

        from max_whisper.audio import N_SAMPLES, load_audio, pad_or_trim
        from max_whisper.audio.log_mel import log_mel_spectrogram
        from max_whisper.models.whisper.tokenizer import get_tokenizer

        model = self._loaded.model
        dims = model.dims
        tokenizer = get_tokenizer(
            dims.is_multilingual, num_languages=dims.num_languages, language="en", task="transcribe"
        )
        log_mel = log_mel_spectrogram(pad_or_trim(load_audio(path), N_SAMPLES), dims.n_mels)[None]
        synchronize = getattr(model, "synchronize", lambda features: None)

        began = time.perf_counter()
        features = model.encode(log_mel)
        synchronize(features)
        encoded = time.perf_counter()

        state = model.start(features)
        prompt = np.array([tokenizer.sot_sequence], dtype=np.int64)
        logits = state.advance(prompt, [prompt.shape[1] - 1])
        prompted = time.perf_counter()
        for _ in range(tokens):
            logits = state.advance(logits[:, -1].argmax(axis=-1, keepdims=True).astype(np.int64), [0])
        finished = time.perf_counter()
        return {
            "encoder_ms": 1000 * (encoded - began),
            "prompt_ms": 1000 * (prompted - encoded),
            "token_ms": 1000 * (finished - prompted) / tokens,
        }

    @property
    def _loaded(self) -> "Transcriber":
        if self._transcriber is None:
            raise RuntimeError("no model has been loaded")
        return self._transcriber


def _compiled(backend: str, seconds: float) -> str:
    """Where the compiled graphs came from."""
    if backend == "torch":
        return "nothing"
    return "now" if seconds else "cached"


class _Stopwatch:
    """Adds up the seconds during which it runs."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began: float | None = None

    def run(self, running: bool) -> None:
        now = time.perf_counter()
        if self._began is not None:
            self.seconds += now - self._began
        self._began = now if running else None


if __name__ == "__main__":
    serve(Worker)
