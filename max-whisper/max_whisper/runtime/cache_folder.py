"""Where max-whisper keeps what it downloads, packs and compiles; and MAX and the Hugging Face Hub, without a home."""

import os
import stat
import sys
from pathlib import Path

from max_whisper.errors import CheckpointError

VARIABLE = "MAX_WHISPER_CACHE"
MAX_VARIABLE = "MODULAR_CACHE_DIR"  # names the folder of MAX's own caches
_HUB_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")

_is_told = False  # whether the user knows that there is no home folder
_given_to_hub = ""  # what this process has set HF_HOME to


def cache_dir() -> Path:
    """The one folder of everything kept between runs. It need not exist.

    `$MAX_WHISPER_CACHE` where it is set; otherwise the platform's cache folder (`$XDG_CACHE_HOME` or `~/.cache`,
    `~/Library/Caches` on macOS) with `max-whisper` in it. Where that neither exists nor can be made, since there is no
    home folder or none that this user may write to, it is a folder of the user's own among the temporary files.

    Raises CheckpointError where there is no such folder either.
    """
    if folder := os.environ.get(VARIABLE):
        try:
            return Path(folder).expanduser()
        except RuntimeError:
            raise CheckpointError(
                f"MAX_WHISPER_CACHE: {folder!r} is in no home folder that is known; give its path"
            ) from None
    folder_of_user = _platform_folder("max-whisper")
    if folder_of_user is not None and (folder_of_user.is_dir() or _can_be_made(folder_of_user)):
        return folder_of_user
    return _temporary_folder()


def fallback_notice() -> str | None:
    """The line for a person, the first time that it is asked for, where `cache_dir` is among the temporary files."""
    global _is_told
    folder = cache_dir()
    if _is_told or os.environ.get(VARIABLE) or folder == _platform_folder("max-whisper"):
        return None
    _is_told = True
    return f"there is no home folder that can be written to: the cache is {folder}; MAX_WHISPER_CACHE names another"


def give_max_a_folder() -> None:
    """Have MAX keep its caches in `cache_dir` where its own folder cannot be written to.

    MAX 26.7 cannot compile an operation in Mojo without one: with no home folder it tries to make `/opt/modular`.
    Where the user has named a folder in `MODULAR_CACHE_DIR`, that stays. Programs that this one starts get the same.
    """
    if os.environ.get(MAX_VARIABLE):
        return
    folder = _platform_folder("modular") if "HOME" in os.environ else None
    if folder is None or not (os.access(folder, os.W_OK | os.X_OK) if folder.is_dir() else _can_be_made(folder)):
        os.environ[MAX_VARIABLE] = str(cache_dir() / "modular")


def give_hub_a_folder() -> None:
    """Have the Hugging Face Hub's library keep models in `cache_dir` where its own folder is not there nor can be made.

    To be called before the library is imported: without a home it would make a folder called `~`. Where the user has
    named a folder, that stays; so does one that can only be read, which may hold the model.
    """
    global _given_to_hub
    if any(os.environ.get(name) for name in _HUB_VARIABLES):
        return
    folder = _default_hub_folder()
    if folder is None or not (folder.is_dir() or _can_be_made(folder)):
        os.environ["HF_HOME"] = _given_to_hub = str(cache_dir() / "huggingface")


def is_hub_ours() -> bool:
    """Whether the Hub's folder in `cache_dir` is one that `give_hub_a_folder` gives.

    Where the user has the Hub's library keep its files there, in `~/.cache` or in a folder that is named, they are of
    other programs as well.
    """
    ours = _real_path(cache_dir() / "huggingface")
    others = [folder for name in _HUB_VARIABLES if (folder := os.environ.get(name)) and folder != _given_to_hub]
    if (default := _default_hub_folder()) is not None:
        others.append(str(default))
    return not any(ours in (path, *path.parents) for path in map(_real_path, others))


def _default_hub_folder() -> Path | None:
    """The folder that the Hub's library takes by itself; None where the user has no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    except RuntimeError:
        return None


def _real_path(path: str | Path) -> Path:
    """A path without links, whether or not it is there."""
    return Path(os.path.realpath(os.path.expanduser(path)))  # noqa: PTH111  # Path raises where there is no home


def _platform_folder(name: str) -> Path | None:
    """A folder of this name in the user's cache folder; None where the user has no home."""
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / name
        base = os.environ.get("XDG_CACHE_HOME")
        return (Path(base).expanduser() if base else Path.home() / ".cache") / name
    except RuntimeError:  # neither HOME nor the list of users tells the home
        return None


def _can_be_made(folder: Path) -> bool:
    """Whether this user may make a folder that is not there."""
    try:
        parent = next(parent for parent in folder.absolute().parents if parent.exists())
    except OSError:
        return False
    return parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)


def _temporary_folder() -> Path:
    """A folder among the temporary files, made where it is missing, that nobody else can write to.

    Code is loaded from it, and its name can be guessed: one that another user has made is not taken.
    """
    user = os.getuid()
    for parent in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp"):
        if not parent or not os.access(parent, os.W_OK | os.X_OK):
            continue
        folder = Path(parent) / f"max-whisper-{user}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            state = folder.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(state.st_mode) and state.st_uid == user and not state.st_mode & 0o022:
            return folder
    raise CheckpointError(
        "there is no home folder, nor a temporary one, that can be written to, for compiled graphs and packed weights;"
        " name a folder in MAX_WHISPER_CACHE"
    )
