"""The probability of speech, frame by frame, of a recording that is read block by block."""

from __future__ import annotations

from array import array
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from max_whisper.audio.vad.network import CONTEXT_SAMPLES, FRAME_SAMPLES, LstmState, SileroNetwork
from max_whisper.errors import MaxWhisperError

_BLOCK = 32  # frames in one run of the network, 1.02 s; always as many, so that rounding does not depend on the feeding


class SpeechDetector:
    """The probabilities of speech in one recording, which is fed in blocks of any size as it is read.

    They are those of the package silero-vad, however the recording is cut into blocks. It keeps 4 bytes for each 32 ms
    of the recording and one run of the network. Several recordings may be fed in turn or in several threads, each to a
    detector of its own.

    Raises:
        MaxWhisperError: the network's weights are not in this installation.
    """

    def __init__(self) -> None:
        self._network = _network()
        self._samples = np.zeros(CONTEXT_SAMPLES + _BLOCK * FRAME_SAMPLES, np.float32)
        self._filled = CONTEXT_SAMPLES  # the context before the first frame is zeros
        self._state = LstmState.zeros()
        self._probabilities = array("f")
        self.n_samples = 0  # fed so far

    def feed(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next samples of the recording, float32 [n] at 16 kHz.

        Returns the probabilities that they complete, float32 [a multiple of 32]: nothing that follows changes them.
        """
        n_known = len(self._probabilities)
        self.n_samples += len(block)
        while len(block):
            n_taken = min(len(block), len(self._samples) - self._filled)
            self._samples[self._filled : self._filled + n_taken] = block[:n_taken]
            self._filled += n_taken
            block = block[n_taken:]
            if self._filled == len(self._samples):
                self._run(_BLOCK)
        return np.array(self._probabilities[n_known:], np.float32)

    def finish(self) -> NDArray[np.float32]:
        """The probabilities of the whole recording, float32 [ceil(n_samples / 512)].

        The last frame is filled with zeros.
        """
        n_waiting = self._filled - CONTEXT_SAMPLES
        if n_waiting:
            self._samples[self._filled :] = 0
            self._run(-(-n_waiting // FRAME_SAMPLES))
        return np.array(self._probabilities, np.float32)

    def _run(self, n_frames: int) -> None:
        """Give the network the samples that have come together, and keep the probabilities of the first frames."""
        frames = np.lib.stride_tricks.sliding_window_view(self._samples, CONTEXT_SAMPLES + FRAME_SAMPLES)
        probabilities, self._state = self._network(frames[::FRAME_SAMPLES], self._state)
        self._probabilities.frombytes(probabilities[:n_frames].tobytes())
        self._samples[:CONTEXT_SAMPLES] = self._samples[-CONTEXT_SAMPLES:]
        self._filled = CONTEXT_SAMPLES


@lru_cache(maxsize=1)
def _network() -> SileroNetwork:
    """The network with the weights of this installation; detectors share it."""
    path = Path(str(resources.files("max_whisper") / "assets" / "silero_vad.safetensors"))
    try:
        return SileroNetwork(load_file(path))
    except (OSError, SafetensorError, KeyError):
        raise MaxWhisperError(
            f"{path}: the weights of voice activity are not in this installation; install max-whisper again"
        ) from None
