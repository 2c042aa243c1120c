"""The parser of a command line: argparse with its errors on one line, each with its remedy."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from max_whisper.checks import did_you_mean
from max_whisper.options.foreign_names import FOREIGN_NAMES, FOREIGN_ON_THE_COMMAND_LINE

_EXPECTS_A_VALUE = re.compile(r"argument (--[\w-]+)\S*: expected one argument")


class CommandParser(argparse.ArgumentParser):
    """argparse with its error on one line, and with a hint for an option that it does not have."""

    # Names of options that a prefix means before all others, as it does in the program that scripts were written for.
    preferred: Collection[str] = ()

    def error(self, message: str) -> NoReturn:
        """Print a mistake and end with status 2."""
        if expecting := _EXPECTS_A_VALUE.match(message):
            message += f"; a value that begins with a hyphen follows a =: {expecting[1]}=-..."
        self.exit(2, f"max-whisper: error: {message}; see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but an option that does not exist is a mistake of this parser's own, with the nearest name."""
        values, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._no_such(unknown))
        return values, unknown

    def add_foreign_names(self) -> None:
        """Refuse names of other programs that are no option of this parser, with what takes their place."""
        for name, hint in {**FOREIGN_NAMES, **FOREIGN_ON_THE_COMMAND_LINE}.items():
            option = option_of(name)
            if option not in self._option_string_actions:
                hint = re.sub(r"\w+_\w+", lambda word: self._in_its_words(word[0]), hint)
                self.add_argument(option, action=_Refusal, nargs="?", hint=hint, help=argparse.SUPPRESS)

    def _no_such(self, arguments: Sequence[str]) -> str:
        """The first option that there is not, or the first argument that is one too many."""
        wrong = next((argument for argument in arguments if argument.startswith("-")), None)
        if wrong is None:
            return f"unexpected argument {arguments[0]!r}"
        name = wrong.partition("=")[0]
        known = [option for option, action in self._option_string_actions.items() if not isinstance(action, _Refusal)]
        hint = did_you_mean(name, [option for option in known if option.startswith("--")])
        return f"no such option {name}" + (f"; {hint}" if hint else "")

    def _in_its_words(self, name: str) -> str:
        return option_of(name) if option_of(name) in self._option_string_actions else name

    def _get_option_tuples(self, option_string: str) -> Any:
        """argparse's: the options that a prefix may mean. Names of other programs are none of them."""
        found = super()._get_option_tuples(option_string)
        found = [entry for entry in found if not isinstance(entry[0], _Refusal)]
        first = [entry for entry in found if entry[0].dest in self.preferred]
        return first if len(first) == 1 else found


def option_of(name: str) -> str:
    """The option of a name in Python: --beam-size of beam_size."""
    return f"--{name.replace('_', '-')}"


def path_of(text: str) -> str:
    """A path of a command line: ~ is the home folder after a = too, where the shell leaves it (--model=~/my.pt)."""
    return text if os.path.exists(text) else os.path.expanduser(text)  # noqa: PTH110, PTH111 - it may be a model's name


class _Refusal(argparse.Action):
    """An option that does not exist here, with what takes its place."""

    def __init__(self, *, hint: str, **keywords: Any) -> None:
        super().__init__(default=argparse.SUPPRESS, **keywords)
        self._hint = hint

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        parser.error(f"no such option {self.option_strings[0]}: {self._hint}")
