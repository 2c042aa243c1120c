"""Write the files that are made from the definitions of the options: the page of options and the types of keywords.

    PYTHONPATH=max-whisper python docs/make_pages.py

They are docs/options.md, and in the package options/keywords.py, audio/keywords.py and results/keywords.py, by which
editors and type checkers know the keywords of `transcribe`, `detect_language` and `Transcription.save`. A test compares
them with what this writes.
"""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from max_whisper.audio.reading import ReadingOptions
from max_whisper.audio.vad.parameters import CHUNKED, VadParameters
from max_whisper.cli.options import OutputOptions, TemperatureOptions, WorkerOptions
from max_whisper.definitions import FASTER, OPENAI, Option, options_of
from max_whisper.options import LoadOptions, TranscribeOptions
from max_whisper.results.formats import SubtitleOptions

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "max-whisper" / "max_whisper"
WIDTH = 120  # characters of a line of Python

INTRODUCTION = """\
# Options

This page is made from the definitions of the options in the source, by `docs/make_pages.py`.

The last column names who else has an option under the same name: *o* is openai-whisper, *f* faster-whisper. Defaults
are openai-whisper's where it has the option. On the command line an option is written with two hyphens, as
`--beam-size 5`, and with `-` or `_` between its words; a number that is None is written `None`.
"""

TRANSCRIBE = """\
## Options of a transcription

They are keywords of `transcribe`, `stream` and `transcribe_many`, fields of `TranscribeOptions`, and options of
`max-whisper transcribe`. The backend `torch`, which is openai-whisper itself, takes those of reading the recording,
those of *o*, `seed`, `max_new_tokens` and `clamp_timestamps`; for another it raises an OptionError. Those of reading
the recording are keywords of `detect_language` and `load_audio` too, and options of `max-whisper language`.
"""

VAD = """\
## Voice activity

The fields of `VadParameters`. Give those that differ as `vad_parameters={"threshold": 0.6}`, or on the command line
with `vad_` before the name: `--vad-threshold 0.6`.
"""

SUBTITLES = """\
## Files and subtitles

Keywords of `Transcription.save`, and options of `max-whisper transcribe`. `compatible` is for all formats: see [what
differs](from-openai-whisper.md#files). The others are for srt and vtt, and need words: transcribe with
`word_timestamps=True`.
"""

LOADING = """\
## Loading a model

Arguments of `load_model`, and options of `max-whisper transcribe` and `max-whisper language`.
"""

COMMAND_LINE = """\
## The command line alone
"""


def page() -> str:
    """docs/options.md."""
    sections = [
        INTRODUCTION,
        TRANSCRIBE,
        *_tables(options_of(TranscribeOptions)),
        VAD,
        _table(options_of(VadParameters)),
        SUBTITLES,
        _table(options_of(SubtitleOptions)),
        LOADING,
        _table(options_of(LoadOptions)),
        COMMAND_LINE,
        _table([*options_of(OutputOptions), *options_of(WorkerOptions), *options_of(TemperatureOptions)]),
    ]
    return "\n".join(sections)


def reading_keywords() -> str:
    """max_whisper/audio/keywords.py."""
    return _module(
        "The keywords of reading a recording, for editors and type checkers.",
        "ReadingKeywords",
        "The fields of `ReadingOptions`, each of which may be left away.",
        options_of(ReadingOptions),
        ["from typing import TypedDict"],
    )


def transcribe_keywords() -> str:
    """max_whisper/options/keywords.py."""
    return _module(
        "The keywords of `transcribe`, `stream` and `transcribe_many`, for editors and type checkers.",
        "TranscribeKeywords",
        "The fields of `TranscribeOptions`, each of which may be left away.",
        options_of(TranscribeOptions)[len(options_of(ReadingOptions)) :],  # after those of its base
        [
            "from collections.abc import Iterable, Mapping, Sequence",
            "from typing import Any, Literal",
            "",
            "from max_whisper.audio.keywords import ReadingKeywords",
            "from max_whisper.audio.vad.parameters import VadParameters",
        ],
        base="ReadingKeywords",
    )


def subtitle_keywords() -> str:
    """max_whisper/results/keywords.py."""
    return _module(
        "The keywords of `Transcription.save`, for editors and type checkers.",
        "SubtitleKeywords",
        "The fields of `SubtitleOptions`, each of which may be left away.",
        options_of(SubtitleOptions),
        ["from typing import TypedDict"],
    )


_LIKE_ASCII = "，！？："  # noqa: RUF001 - signs that the linter takes for a mistake

# The files that are made, and how.
FILES = {
    ROOT / "docs" / "options.md": page,
    PACKAGE / "audio" / "keywords.py": reading_keywords,
    PACKAGE / "options" / "keywords.py": transcribe_keywords,
    PACKAGE / "results" / "keywords.py": subtitle_keywords,
}


def _tables(options: Sequence[Option]) -> Iterator[str]:
    """A table for each group, under its name."""
    for group, members in groupby(options, lambda option: option.group):
        yield f"### {group[0].upper()}{group[1:]}\n"
        yield _table(list(members))


def _table(options: Sequence[Option]) -> str:
    rows = ["| option | default | meaning and unit | |", "|---|---|---|---|"]
    for option in options:
        origin = " ".join(letter for letter, program in (("o", OPENAI), ("f", FASTER)) if program in option.origin)
        rows.append(f"| `{option.name}` | {_default(option)} | {_cell(option.help)} | {origin} |")
    return "\n".join(rows) + "\n"


def _default(option: Option) -> str:
    default = f"`{option.default!r}`".replace("|", "\\|")
    if option.command_line and option.command_line_default != option.default:
        default += f"; command line `{option.command_line_default!r}`"
    if option in options_of(VadParameters) and getattr(CHUNKED, option.name) != option.default:
        default += f'; with `chunking="vad"` `{getattr(CHUNKED, option.name)!r}`'
    return default


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _module(
    purpose: str,
    name: str,
    meaning: str,
    options: Sequence[Option],
    imports: Sequence[str],
    *,
    base: str = "TypedDict",
) -> str:
    """A module with one TypedDict; each key has the option's help as its docstring."""
    lines = [f'"""{purpose}', "", "Made by docs/make_pages.py from the definitions of the options.", '"""', ""]
    lines += ["from __future__ import annotations", "", *imports, "", ""]
    lines += [f"class {name}({base}, total=False):", f'    """{meaning}"""', ""]
    for option in options:
        text = f"{option.help[0].upper()}{option.help[1:]}. The default is {option.default!r}."
        lines.append(f"    {option.name}: {option.annotation}".replace("'", '"'))
        docstring = f'"""{_in_docstring(text)}"""'
        lines += textwrap.wrap(docstring, WIDTH, initial_indent="    ", subsequent_indent="    ")
        if any(sign in text for sign in _LIKE_ASCII):
            lines[-1] += "  # noqa: RUF001"
    return "\n".join(lines) + "\n"


def _in_docstring(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def main() -> None:
    for path, make in FILES.items():
        path.write_text(make(), encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
