"""The frames of a spectrogram in a compiled operation instead of NumPy."""

from functools import lru_cache

import numpy as np
from max import driver, engine

from max_whisper.audio import Samples
from max_whisper.audio.log_mel import LogMel, hann_window, mel_filters
from max_whisper.runtime.forks import check_not_forked


class CompiledLog10Mel:
    """`log_mel.log10_mel` by the graph of that name: the same values but for the rounding of the last bits."""

    def __init__(self, graph: engine.Model) -> None:
        self._graph = graph

    def __call__(self, samples: Samples, n_mels: int) -> LogMel:
        """The frames that lie whole in at least 400 samples, on all threads: float32 [n_mels, frames].

        Several threads may call it at once, with no turn: nothing of a call is kept. Raises DeviceError in a process
        that was forked from the one that loaded the graph.
        """
        check_not_forked()
        (values,) = self._graph.execute(driver.Buffer.from_numpy(np.ascontiguousarray(samples)), *_constants(n_mels))
        return values.to_numpy()


@lru_cache
def _constants(n_mels: int) -> list[driver.Buffer]:
    """The window, the filters, and where each filter begins and has ended."""
    filters = mel_filters(n_mels).astype(np.float64)
    has_bins = filters.any(axis=1)
    begins = (filters != 0).argmax(axis=1)
    ends = filters.shape[1] - (filters != 0)[:, ::-1].argmax(axis=1)
    bands = np.stack([begins, np.where(has_bins, ends, begins)], axis=1)
    return [driver.Buffer.from_numpy(array) for array in (hann_window(), filters, bands)]
