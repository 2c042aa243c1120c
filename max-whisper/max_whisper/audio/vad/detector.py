"""The probability of speech, frame by frame: Silero VAD, a small recurrent network."""

from __future__ import annotations

import importlib.util
from array import array
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from max_whisper.errors import MaxWhisperError

if TYPE_CHECKING:
    import onnxruntime

FRAME_SAMPLES = 512  # samples at 16 kHz to which one probability belongs, 32 ms
_CONTEXT_SAMPLES = 64  # samples of the frame before that the network sees too
_STATE_SIZE = 128  # of the network's LSTM
_BLOCK = 128  # frames in one run of the network, 4.1 s; always as many, so that rounding does not depend on the feeding


class SpeechDetector:
    """The probabilities of speech in one recording, which is fed in blocks of any size as it is read.

    They equal those of the package silero-vad (`silero_vad.sequence_vad.SileroVADSequence`), however the recording is
    cut into blocks. It keeps 4 bytes for each 32 ms of the recording and one run of the network.

    Raises:
        MaxWhisperError: the package silero-vad is not installed, or has no such model.
    """

    def __init__(self) -> None:
        self._session = _session()
        self._samples = np.zeros(_CONTEXT_SAMPLES + _BLOCK * FRAME_SAMPLES, np.float32)
        self._filled = _CONTEXT_SAMPLES  # the context before the first frame is zeros
        self._hidden = np.zeros((1, 1, _STATE_SIZE), np.float32)
        self._cell = np.zeros((1, 1, _STATE_SIZE), np.float32)
        self._probabilities = array("f")
        self.n_samples = 0  # fed so far

    def feed(self, block: NDArray[np.float32]) -> None:
        """The next samples of the recording, float32 [n] at 16 kHz."""
        self.n_samples += len(block)
        while len(block):
            n_taken = min(len(block), len(self._samples) - self._filled)
            self._samples[self._filled : self._filled + n_taken] = block[:n_taken]
            self._filled += n_taken
            block = block[n_taken:]
            if self._filled == len(self._samples):
                self._run(_BLOCK)

    def finish(self) -> NDArray[np.float32]:
        """The probabilities of the recording, float32 [ceil(n_samples / 512)]; the last frame is filled with zeros."""
        n_waiting = self._filled - _CONTEXT_SAMPLES
        if n_waiting:
            self._samples[self._filled :] = 0
            self._run(-(-n_waiting // FRAME_SAMPLES))
        return np.array(self._probabilities, np.float32)

    def _run(self, n_frames: int) -> None:
        """Give the network the frames that have come together."""
        frames = np.lib.stride_tricks.sliding_window_view(self._samples, _CONTEXT_SAMPLES + FRAME_SAMPLES)
        probabilities, self._hidden, self._cell = self._session.run(
            ["speech_probs", "hn", "cn"],
            {
                "input": np.ascontiguousarray(frames[: n_frames * FRAME_SAMPLES : FRAME_SAMPLES]),
                "h": self._hidden,
                "c": self._cell,
            },
        )
        self._probabilities.frombytes(probabilities.tobytes())
        self._samples[:_CONTEXT_SAMPLES] = self._samples[-_CONTEXT_SAMPLES:]
        self._filled = _CONTEXT_SAMPLES


@lru_cache(maxsize=1)
def _session() -> onnxruntime.InferenceSession:
    """The network, on one thread of the CPU; it has no state of its own, so detectors share it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # on more it is slower
    return onnxruntime.InferenceSession(str(_model_file()), options, providers=["CPUExecutionProvider"])


def _model_file() -> Path:
    """The network's file in the package silero-vad, which is not imported: that would import PyTorch."""
    package = importlib.util.find_spec("silero_vad")
    for folder in package.submodule_search_locations or () if package else ():
        path = Path(folder) / "data" / "silero_vad_16k_sequence.onnx"
        if path.is_file():
            return path
    raise MaxWhisperError(
        "voice activity: the package silero-vad with silero_vad_16k_sequence.onnx is missing;"
        " run: pip install 'silero-vad>=6.2.3,<7'"
    )
