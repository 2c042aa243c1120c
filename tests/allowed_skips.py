"""Where MAX_WHISPER_CI is set a skipped test is a failure, unless allowed_skips.txt has its file and reason.

`.ci/run` installs what tests need and sets the variable. Elsewhere a test that lacks something is skipped as usual.
"""

import fnmatch
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

LIST = Path(__file__).with_suffix(".txt")


@dataclass(frozen=True)
class AllowedSkip:
    """A line of the list, `FILE: REASON | WHY`."""

    file: str  # of the test, from the folder tests on
    reason: str  # as pytest tells it; * stands for any text
    why: str  # the test cannot run in continuous integration

    def allows(self, file: str, reason: str) -> bool:
        return file == self.file and fnmatch.fnmatchcase(reason, self.reason)


def read_allowed_skips(text: str) -> list[AllowedSkip]:
    """The lines of a list; raises ValueError for one that lacks a part. Lines that begin with # are comments."""
    allowed = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        skip, _, why = (part.strip() for part in line.partition(" | "))
        file, _, reason = (part.strip() for part in skip.partition(": "))
        if not (file and reason and why):
            raise ValueError(f"not FILE: REASON | WHY: {line}")
        allowed.append(AllowedSkip(file, reason, why))
    return allowed


class SkipsAreFailures:
    """A plugin of pytest that turns skips into failures, and tells which lines of the list have become needless."""

    def __init__(self, allowed: Sequence[AllowedSkip], folder: Path) -> None:
        """folder: the one from which the list names files."""
        self._allowed = allowed
        self._folder = folder
        self._files: set[str] = set()  # whose tests were asked for
        self._used: set[AllowedSkip] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        self._judge(report, collector.path)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._judge(report, item.path)
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for skip in self._allowed:
            if skip.file in self._files and skip not in self._used:
                terminalreporter.write_line(f"{LIST.name}: no test of {skip.file} was skipped for: {skip.reason}")

    def _judge(self, report: pytest.CollectReport | pytest.TestReport, path: Path) -> None:
        file = path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else str(path)
        self._files.add(file)
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        assert isinstance(report.longrepr, tuple)
        reason = report.longrepr[2].removeprefix("Skipped: ")
        used = [skip for skip in self._allowed if skip.allows(file, reason)]
        self._used.update(used)
        if not used:
            report.outcome = "failed"
            report.longrepr = (
                f"skipped: {reason}\nIn continuous integration every test runs: let .ci/run install what this one "
                f"needs, or add a line to {LIST.name}:\n{file}: {reason} | why it cannot run there"
            )
