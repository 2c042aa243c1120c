"""The errors that a user of max-whisper can cause.

Every message is one line: what was wrong, in which file or option, and what to do about it. The command line prints it
as it stands and exits with status 1.
"""


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
    """A device or backend that this machine does not have."""


class OptionError(MaxWhisperError, ValueError):
    """An option with a value, or a combination of values, that cannot be."""
