"""The errors that a user of max-whisper can cause.

Every message is one line: what was wrong, in which file or option, and what to do about it. The command line prints it
as it stands and exits with status 1.

Warnings are of one line too, and the work goes on.
"""

import inspect
import warnings


class MaxWhisperError(Exception):
    """Base of every error that max-whisper raises on purpose."""


class AudioError(MaxWhisperError):
    """A recording that cannot be read or is not audio."""


class CheckpointError(MaxWhisperError):
    """A model that cannot be found, downloaded, read or is not a Whisper checkpoint."""


class DownloadError(CheckpointError):
    """A model that has to be downloaded and cannot be: there is no network, or the server refuses it.

    advice: what to do in its place, in the words of whoever asked for it, Python's or the command line's.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message, advice)  # both, so that a copy made for another process has both

    def __str__(self) -> str:
        return "; ".join(part for part in self.args if part)

    def advised(self, advice: str) -> "DownloadError":
        """The same error with other advice."""
        return DownloadError(self.args[0], advice)


class DeviceError(MaxWhisperError):
    """A device or backend that this machine does not have, or that a forked process cannot use."""


class NonFiniteError(MaxWhisperError):
    """A model that gives NaN or infinite values for a recording, in float32 too."""


class OptionError(MaxWhisperError, ValueError):
    """An option with a value, or a combination of values, that cannot be."""


class CheckpointWarning(UserWarning):
    """A model that is not used whole: tokens of its own are never written."""


class PrecisionWarning(UserWarning):
    """A model that gives NaN or infinite values in half precision or int8, and is computed in float32 there."""


def without_frames(error: MaxWhisperError) -> MaxWhisperError:
    """An error that is given back as a value: without the frames that hold the recording, its files and sockets."""
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
    return error


def warn(message: str, category: type[Warning]) -> None:
    """Warn in the name of the line outside this package that asked for the work."""
    level, frame, package = 1, inspect.currentframe(), __name__.partition(".")[0]
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
