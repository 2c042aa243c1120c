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


class DeviceError(MaxWhisperError):
    """A device or backend that this machine does not have."""


class OptionError(MaxWhisperError, ValueError):
    """An option with a value, or a combination of values, that cannot be."""
