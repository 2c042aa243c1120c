"""Forked processes: the threads with which a model computes stay behind in the process that loaded it.

A computation in the child would wait for them for ever, with the parent's model and with one of its own. So it is
refused. A process that has only imported the package may be forked, and its children load models as they like.
"""

import os

from max_whisper.errors import DeviceError

_loading_process: int | None = None  # the first that began to load one: this one, or one that it was forked from


def note_loading() -> None:
    """Say that this process loads a model. Raises DeviceError where the one that it was forked from did so before."""
    global _loading_process
    check_not_forked()
    _loading_process = os.getpid()


def check_not_forked() -> None:
    """Raises DeviceError in a process that was forked from one that had loaded a model."""
    if _loading_process not in (None, os.getpid()):
        raise DeviceError(
            "this process was forked from one that had begun to load a model, whose threads it does not have; start "
            "it by 'spawn' (multiprocessing.get_context('spawn')), or load models only after the fork (gunicorn "
            "without --preload)"
        )
