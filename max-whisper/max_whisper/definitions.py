"""One definition of an option: a field of a dataclass, from which everything else about the option is made.

    @dataclass(frozen=True)
    class Search:
        beam_size: int | None = option(None, help="beams", group="tokens", form=optional(integer("a number", 1)))

The command line's parser (cli/arguments.py), the checks of values (`check_options`), the page of options and the types
for editors (docs/make_pages.py) read the definitions by `options_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from max_whisper.checks import Form, did_you_mean
from max_whisper.errors import OptionError

# Programs that have an option under the same name.
OPENAI, FASTER = "openai-whisper", "faster-whisper"

_KEY = "option"
_SAME = object()
_Options = TypeVar("_Options", bound="Options")


@dataclass(frozen=True)
class CommandLine:
    """How an option of the command line differs from the same option in Python."""

    default: Any = _SAME
    is_late: bool = False  # whether the default depends on other options, and is set when all of them are known
    form: Form | None = None
    help: str | None = None
    flags: tuple[str, ...] = ()  # other names, with their hyphens: '-o'
    is_flag: bool = False  # whether the name alone means True
    is_repeatable: bool = False  # whether it may be given several times, each time with more


@dataclass(frozen=True)
class Option:
    """An option, as its field defines it."""

    name: str
    annotation: str  # the type, as it is written in Python
    default: Any
    help: str  # a line: the thing first, with its unit, then the meaning of None or 0
    group: str  # the part of the help and of the page of options in which it stands
    form: Form
    origin: tuple[str, ...]  # OPENAI and FASTER, where those have the option; an option with neither is ours
    command_line: CommandLine | None  # None where the command line does not have it as one option

    @property
    def command_line_default(self) -> Any:
        """The default on the command line, which is Python's unless the definition says another."""
        other = self.command_line.default if self.command_line else _SAME
        return self.default if other is _SAME else other


@dataclass(frozen=True)
class _Definition:
    """The part of a definition that a dataclass does not know of."""

    help: str
    group: str
    form: Form
    origin: tuple[str, ...]
    command_line: CommandLine | None


def option(
    default: Any,
    *,
    help: str,
    group: str,
    form: Form,
    origin: tuple[str, ...] = (),
    command_line: CommandLine | None = CommandLine(),
) -> Any:
    """A field of a dataclass that is an option; the arguments are the attributes of `Option`."""
    return field(default=default, metadata={_KEY: _Definition(help, group, form, origin, command_line)})


class Options:
    """Base of a dataclass of options: a name that it does not have is an OptionError, with the nearest one."""

    @classmethod
    def unknown(cls, name: str) -> str:
        """What is said of a name that is none of the options'."""
        return f"{name}: no such option"

    @classmethod
    def elsewhere(cls) -> Mapping[str, str]:
        """Names in other programs, each with the words that say what takes its place."""
        return {}

    def __new__(cls: type[_Options], *_: Any, **keywords: Any) -> _Options:
        check_names(cls, keywords)
        return super().__new__(cls)


def options_of(options: type[Any]) -> tuple[Option, ...]:
    """The options that a dataclass defines, in its order. The module of the class postpones its annotations."""
    found = []
    for entry in fields(options):
        definition: _Definition = entry.metadata[_KEY]
        found.append(Option(entry.name, str(entry.type), entry.default, **vars(definition)))
    return tuple(found)


def check_options(options: Any) -> None:
    """Bring each option of a frozen dataclass into its form. Raises OptionError for a value that cannot be."""
    for definition in options_of(type(options)):
        value = definition.form.check(definition.name, getattr(options, definition.name))
        object.__setattr__(options, definition.name, value)


def check_names(options: type[Options], keywords: Mapping[str, Any]) -> None:
    """Raises OptionError for a keyword that is no option, with the nearest name or the names that there are."""
    names = [definition.name for definition in options_of(options)]
    for name in keywords:
        if name in names:
            continue
        hint = options.elsewhere().get(name) or did_you_mean(name, names) or f"available are {', '.join(names)}"
        raise OptionError(f"{options.unknown(name)}; {hint}")
