"""The parser of a command line: argparse with its errors on one line."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from max_whisper.options.foreign_names import FOREIGN_NAMES


class CommandParser(argparse.ArgumentParser):
    """argparse with its error on one line, and with a hint for an option that other programs have."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"max-whisper: error: {message}; see {self.prog} --help\n")

    def add_foreign_names(self) -> None:
        """Refuse each of `FOREIGN_NAMES` that is no option of this parser, with what takes its place."""
        for name, hint in FOREIGN_NAMES.items():
            option = f"--{name.replace('_', '-')}"
            if option not in self._option_string_actions:
                self.add_argument(option, action=_Refusal, nargs="?", hint=hint, help=argparse.SUPPRESS)


class _Refusal(argparse.Action):
    """An option that does not exist here, with what takes its place."""

    def __init__(self, *, hint: str, **keywords: Any) -> None:
        super().__init__(default=argparse.SUPPRESS, **keywords)
        self._hint = hint

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        parser.error(f"no such option {self.option_strings[0]}: {self._hint}")
