"""What `parity-options` found, as tables on a screen and as a page of the documentation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.table import Table

from max_whisper.diagnostics.option_cases import NOT_COMPARED, VALUES_NOT_COMPARED
from max_whisper.diagnostics.option_comparison import LIMITS, WORD_LIMITS, Comparison
from max_whisper.diagnostics.sampling_parity import DRAWS, LEAST_EXPECTED, SIGNIFICANCE, FirstToken

SHOWN = 3  # differences of a case that are spelled out


@dataclass
class Report:
    """All that was compared."""

    backend: str
    device: str
    cases: list[Comparison] = field(default_factory=list)
    fallback: list[Comparison] = field(default_factory=list)
    first_tokens: list[FirstToken] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        compared: list[Comparison | FirstToken] = [*self.cases, *self.fallback, *self.first_tokens]
        return all(one.is_equal for one in compared)


def summary(report: Report) -> Table:
    """How much was compared for each model, and how much of it is equal."""
    title = f"{report.backend} {report.device} beside openai-whisper"
    table = Table(title=title, title_justify="left", box=box.ROUNDED)
    table.add_column("model", no_wrap=True)
    for heading in ("cases", "equal", "windows", "segments", "words", "log probabilities", "word times", "fallback"):
        table.add_column(heading, justify="right")
    table.add_column("first token drawn")
    for model in dict.fromkeys(outcome.case.model for outcome in (*report.cases, *report.fallback)):
        cases = [outcome for outcome in report.cases if outcome.case.model == model]
        fallback = [outcome for outcome in report.fallback if outcome.case.model == model]
        drawn = [first for first in report.first_tokens if first.model == model]
        every: list[Comparison | FirstToken] = [*cases, *fallback, *drawn]
        equal = sum(outcome.is_equal for outcome in cases)
        table.add_row(
            model,
            str(len(cases)),
            str(equal),
            *(f"{sum(getattr(outcome, name) for outcome in cases):,}" for name in ("windows", "segments", "words")),
            f"{max((outcome.largest_logprob_difference for outcome in cases), default=0.0):.0e}",
            f"{max((outcome.largest_word_difference for outcome in cases), default=0.0):.2f} s",
            f"{sum(outcome.is_equal for outcome in fallback)} of {len(fallback)}",
            ", ".join(f"p = {first.probability:.3f}" for first in drawn),
            style=None if all(one.is_equal for one in every) else "red",
        )
    return table


def differing(report: Report) -> Iterator[str]:
    """A line for everything that differs."""
    for outcome in (*report.cases, *report.fallback):
        if not outcome.is_equal:
            case = outcome.case
            yield f"{case.model}, {case.recording}, {case.described or 'no options'}: {_verdict(outcome)}"
    for first in report.first_tokens:
        if not first.is_equal:
            yield f"{first.model}, {first.recording}, temperature={first.temperature}: {_first_verdict(first)}"


def page(report: Report, command: str, machine: dict[str, Any], versions: dict[str, str | None]) -> str:
    """The page in Markdown."""
    windows, segments, words = (
        sum(getattr(outcome, name) for outcome in report.cases) for name in ("windows", "segments", "words")
    )
    equal = sum(outcome.is_equal for outcome in report.cases)
    lines = [
        "# Every option beside openai-whisper",
        "",
        f"Written by `{command}` (`make parity-options`).",
        "",
        f"**{equal} of {len(report.cases)} cases are equal**: {windows:,} windows, {segments:,} segments, {words:,} "
        "words. Each case is a recording with some options, through openai-whisper's own `transcribe` on PyTorch and "
        f"through the backend `{report.backend}`, on the same weights and the same samples.",
        "",
        "Equal means: tokens, text, language, the window (seek) and the times of every segment, compression ratios and "
        f"temperatures are the same; avg_logprob and no_speech_prob differ by at most {LIMITS['avg_logprob']:g}; words "
        f"are the same, their times differ by at most {WORD_LIMITS['start']:g} s and their probabilities by at most "
        f"{WORD_LIMITS['probability']:g}; txt, srt, vtt and tsv are, byte for byte, what openai-whisper's writers make "
        "of openai-whisper's result, and these and JSON what they make of ours.",
        "",
        "`nano` is the bundled model: a multilingual vocabulary (51,865 tokens), of which it knows English. The others "
        "have random weights, drawn so that their text has timestamps, ends and pauses: `random:speaking-english` with "
        "the English vocabulary (51,864) and `random:speaking-multilingual`. What they write means nothing, and is as "
        "good for a comparison. `tones`, `noise`, `half_a_second` and `silence` are made-up signals; `two_days` is "
        "`one_day`, `dialogue` and `one_day` again, 164 s.",
        "",
        "## Machine and versions",
        "",
        *_table(("", ""), _environment(machine, versions)),
        "",
        "## Cases",
        "",
        *_table(
            ("", "model", "recording", "options", "windows", "segments", "words", "log probabilities", ""),
            [
                (
                    number,
                    _code(outcome.case.model),
                    outcome.case.recording,
                    _code(outcome.case.described),
                    outcome.windows,
                    outcome.segments,
                    outcome.words or "",
                    f"{outcome.largest_logprob_difference:.0e}" if outcome.segments else "",
                    _verdict(outcome),
                )
                for number, outcome in enumerate(report.cases, start=1)
            ],
        ),
        "",
        "The last number of a row is the largest difference of any avg_logprob or no_speech_prob. The largest of any "
        f"word's start or end in all cases is {max(o.largest_word_difference for o in report.cases):.2f} s.",
        "",
        *_not_written(report.cases),
        "## Temperatures tried",
        "",
        "Windows that fail at a threshold, or would but for another: what is drawn above temperature 0 differs between "
        "the libraries, so the windows and the temperatures that are tried in each are compared. The thresholds are "
        "such that no text passes or every text does, whatever is drawn. Chains of which the whole result is compared "
        "are among the cases above: at a temperature of 0.00001 the most probable token is always drawn.",
        "",
        *_table(
            ("model", "options", "attempts", "last temperature", ""),
            [
                (
                    _code(outcome.case.model),
                    _code(outcome.case.described),
                    len(outcome.temperatures),
                    f"{outcome.temperatures[-1]:g}",
                    _verdict(outcome),
                )
                for outcome in report.fallback
            ],
        ),
        "",
        "## The first token drawn",
        "",
        f"{DRAWS:,} draws of the first token of a window, each with a generator of its own, against PyTorch's softmax "
        "of openai-whisper's logits after its rules: Pearson's chi-square test, tokens of which fewer than "
        f"{LEAST_EXPECTED} are expected counted together. The seeds are fixed, so the numbers are the same each time; "
        f"p is to be above {SIGNIFICANCE:g}.",
        "",
        *_table(
            ("model", "recording", "temperature", "options", "tokens drawn", "cells", "chi-square", "p", ""),
            [
                (
                    _code(first.model),
                    first.recording,
                    first.temperature,
                    _code(", ".join(f"{name}={value!r}" for name, value in first.options.items())),
                    first.different_tokens,
                    first.cells,
                    f"{first.chi_square:.1f}",
                    f"{first.probability:.3f}",
                    _first_verdict(first),
                )
                for first in report.first_tokens
            ],
        ),
        "",
        "## Left out",
        "",
        "Options of max-whisper that have no case, and the tests that are there instead:",
        "",
        *_table(
            ("option", "why", "tests"),
            [
                (_code(name), reason, ", ".join(f"[{test}](../{test})" for test in tests))
                for name, (reason, tests) in NOT_COMPARED.items()
            ],
        ),
        "",
        "Values that have none:",
        "",
        *(f"- {reason}" for reason in VALUES_NOT_COMPARED),
    ]
    return "\n".join(lines) + "\n"


def _environment(machine: dict[str, Any], versions: dict[str, str | None]) -> Iterator[tuple[str, str]]:
    yield "processor", f"{machine['cpu']}, {machine['cores']} cores"
    if machine["gpus"]:
        yield "GPU", ", ".join(machine["gpus"])
    yield "system", f"{machine['system']}, Python {machine['python']}"
    for package, version in versions.items():
        if version is not None:
            yield package, version


def _not_written(cases: Sequence[Comparison]) -> Iterator[str]:
    """A paragraph on the files that openai-whisper's writers cannot make."""
    numbers = [str(number) for number, outcome in enumerate(cases, start=1) if outcome.not_written]
    if numbers:
        yield (
            "openai-whisper's writers of srt and vtt fail where the first segment has no text and words were not asked "
            "for (KeyError), and where a model writes timestamps although it was told not to, so that a time is "
            f"negative (AssertionError). These files are not compared in the cases {', '.join(numbers)}."
        )
        yield ""


def _verdict(outcome: Comparison) -> str:
    if outcome.is_equal:
        return "equal"
    rest = len(outcome.differences) - SHOWN
    return "DIFFERS: " + "; ".join(outcome.differences[:SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def _first_verdict(first: FirstToken) -> str:
    return "equal" if first.is_equal else f"DIFFERS: p = {first.probability:.6f}"


def _table(headings: Sequence[str], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
