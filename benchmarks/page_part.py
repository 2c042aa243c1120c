"""Parts of a Markdown page that commands write, between marks; the rest of the page is written by people."""

import shlex
import sys
from pathlib import Path


def write_part(path: Path, name: str, body: str) -> None:
    """Write `body` between the page's marks of that name, or at its end where it has none."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = path.read_text(encoding="utf-8") if path.exists() else "# Benchmarks\n"
    if begin not in page or end not in page:
        page += f"\n{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n{body.strip()}\n{end}{after}", encoding="utf-8")


def write_own_part(path: Path, name: str, body: str) -> None:
    """`write_part` of the module of that name, under the command that it was run by."""
    command = shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])
    write_part(path, name, f"`{command}`:\n\n{body}")


def markdown_table(heading: list[str], rows: list[list[str]]) -> str:
    """A table whose columns are right-aligned, but for the first."""
    lines = [f"| {' | '.join(heading)} |", "|---|" + "---:|" * (len(heading) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
