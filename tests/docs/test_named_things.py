"""What the pages name exists: paths, modules, commands, options, `make` targets, keywords and messages.

The history in CHANGELOG.md may name things of the past and is left out. In the tables of docs/from-*.md the first
column is of other programs.
"""

import ast
import importlib
import inspect
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import max_whisper
from max_whisper.cli.program import run
from max_whisper.definitions import options_of
from max_whisper.options.foreign_names import FOREIGN_NAMES
from max_whisper.results.formats import SubtitleOptions

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "max-whisper" / "max_whisper"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "[a-z]*/README.md", "max-whisper/max_whisper/*/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

COMMANDS = ("transcribe", "language", "compile", "models", "cache", "demo", "parity", "parity-options")
FOREIGN_MODULES = ("whisper", "faster_whisper")
SHELL = ("sh", "console")


@dataclass(frozen=True)
class Page:
    """A page's code: the spans in its prose, and its blocks by language."""

    spans: list[str]
    blocks: list[tuple[str, str]]

    @property
    def shell(self) -> Iterator[str]:
        """The lines of its shell blocks, without their comments."""
        for language, text in self.blocks:
            if language in SHELL:
                yield from (line.partition("  #")[0] for line in text.splitlines())


@cache
def read_page(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    if path.name.startswith("from-"):
        prose = re.sub(r"^\|.*?(?<!\\)\|", "|", prose, flags=re.MULTILINE)
    return Page([span.replace("\\|", "|") for span in re.findall(r"`([^`\n]+)`", prose)], blocks)


@cache
def tracked_names() -> frozenset[str]:
    """The names of the repository's source files, without their folders."""
    folders = (PACKAGE, ROOT / "benchmarks", ROOT / "training", ROOT / "tests", ROOT / "docs", ROOT / "examples")
    return frozenset(path.name for folder in folders for path in folder.rglob("*.*"))


@every_page
def test_paths(page: Path) -> None:
    tops = {path.name for folder in (ROOT, PACKAGE, PACKAGE.parent) for path in folder.iterdir()}
    absent = []
    for span in read_page(page).spans:
        if re.fullmatch(r"[\w-]+\.(py|mojo)", span):
            is_there = span in tracked_names()
        elif re.fullmatch(r"[\w-]+(/[\w.-]*)+", span) and span.partition("/")[0] in tops - {"build", "dist"}:
            is_there = any((folder / span).exists() for folder in (ROOT, PACKAGE, PACKAGE.parent, page.parent))
        else:
            continue
        if not is_there:
            absent.append(span)
    assert absent == []


@every_page
def test_modules(page: Path) -> None:
    text = " ".join([*read_page(page).spans, *(block for _, block in read_page(page).blocks)])
    names = set(re.findall(r"(?<![\w./-])(?:max_whisper|benchmarks|training)(?:\.\w+)+", text))
    files = {name for name in names if name.endswith((".json", ".md", ".py"))}
    assert [name for name in sorted(names - files) if not resolves(name)] == []


def resolves(name: str) -> bool:
    """Whether a dotted name is a module of the repository, or something in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = (PACKAGE.parent if parts[0] == "max_whisper" else ROOT).joinpath(*parts[:end])
        if path.is_dir() or path.with_suffix(".py").is_file():
            if end == len(parts):
                return True
            value = importlib.import_module(".".join(parts[:end]))
            for part in parts[end:]:
                if not hasattr(value, part):
                    return False
                value = getattr(value, part)
            return True
    return False


@every_page
def test_commands(page: Path) -> None:
    spans = [span for span in read_page(page).spans if not span.startswith("...")]  # messages
    text = "\n".join([*spans, *read_page(page).shell])
    named = set(re.findall(r"(?<![\w/-])(?:max-whisper|-m max_whisper) ([a-z][a-z-]+)", text))
    assert sorted(named - set(COMMANDS)) == []


def test_the_commands_are_those_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    listed = re.findall(r"^    ([a-z][a-z-]*)\s", capsys.readouterr().out, flags=re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


@pytest.fixture(scope="module")
def known_options() -> set[str]:
    """The options of the command line, as its help shows them, and those of the scripts."""
    known = {"--help", "--version"}
    for command in COMMANDS:
        with redirect_stdout(io.StringIO()) as output:
            run([command, "--help"])
        known |= set(re.findall(r"--[a-z][\w-]*", output.getvalue()))
    for folder in ("benchmarks", "training", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            known |= set(re.findall(r'"(--[a-z][\w-]*)"', path.read_text(encoding="utf-8")))
    return known


@every_page
def test_options(page: Path, known_options: set[str]) -> None:
    ours = [line for line in read_page(page).shell if re.search(r"max-whisper |benchmarks\.|training", line)]
    ours = [line for line in ours if not re.match(r"pip |docker |sudo ", line)]
    named = {option.replace("_", "-") for text in [*read_page(page).spans, *ours] for option in options_in(text)}
    assert sorted(named - known_options) == []


def options_in(text: str) -> list[str]:
    return re.findall(r"(?<![\w-])--[a-z][\w-]*", text)


@every_page
def test_make_targets(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE))
    text = "\n".join([*read_page(page).spans, *read_page(page).shell])
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", text))
    if page.name == "usage.md":  # the table of targets
        rows = re.search(r"^\| `make` target.*?\n\n", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        assert rows is not None
        named |= {
            name for row in rows[0].strip().splitlines()[2:] for name in re.findall(r"`([a-z-]+)`", row.split("|")[1])
        }
    assert sorted(named - targets) == []


def callables() -> dict[str, Callable[..., Any]]:
    """The calls whose keywords are checked, by the last part of their name."""
    transcriber = max_whisper.Transcriber
    methods = (transcriber.transcribe, transcriber.stream, transcriber.transcribe_many, transcriber.detect_language)
    functions = (max_whisper.load_model, max_whisper.compile_model, max_whisper.load_audio, *methods)
    return {
        "TranscribeOptions": max_whisper.TranscribeOptions,
        "VadParameters": max_whisper.VadParameters,
        "save": max_whisper.Transcription.save,
        **{function.__name__: function for function in functions},
    }


def keywords_of(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters
    names = set(parameters)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        is_saving = function is max_whisper.Transcription.save
        names |= {field.name for field in fields(SubtitleOptions if is_saving else max_whisper.TranscribeOptions)}
    return names


def wrong_keywords(tree: ast.AST) -> list[str]:
    """The keywords of calls in some code that the called function does not have."""
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function := callables().get(name):
                known = keywords_of(function)
                wrong += [f"{name}({keyword.arg}=)" for keyword in node.keywords if keyword.arg not in known]
    return wrong


@every_page
def test_python_blocks(page: Path) -> None:
    for language, text in read_page(page).blocks:
        if language != "python":
            continue
        compile(text, str(page), "exec")
        tree = ast.parse(text)
        imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        modules = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
        modules |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
        if modules & set(FOREIGN_MODULES):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("max_whisper"):
                assert [alias.name for alias in node.names if not resolves(f"{node.module}.{alias.name}")] == []
        assert wrong_keywords(tree) == []


@every_page
def test_keywords_in_prose(page: Path) -> None:
    known = set().union(*(keywords_of(function) for function in callables().values())) | set(FOREIGN_NAMES)
    known |= {option.name for option in options_of(SubtitleOptions)}  # keywords of a Transcription's `save`
    wrong = []
    for span in read_page(page).spans:
        if re.fullmatch(r"[a-z]\w*=\S.*|[a-z]\w*=", span):
            name = span.partition("=")[0]
            wrong += [] if name in known else [span]
        elif re.fullmatch(r"[\w.]+\(.*\)", span):
            try:
                wrong += wrong_keywords(ast.parse(span))
            except SyntaxError:
                continue  # a formula
    assert wrong == []


@cache
def package_texts() -> str:
    """Every string of the package; of what is formatted into it, the constants of its module alone."""
    texts = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(_text_of(part, constants) for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def _text_of(part: ast.expr, constants: Mapping[str, Any]) -> str:
    """What a part of a formatted string gives; a character that is in no page where that is not known."""
    if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name):
        return str(constants.get(part.value.id, "\0"))
    return str(part.value) if isinstance(part, ast.Constant) else "\0"


def test_messages() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    cells = [re.split(r"(?<!\\)\|", line)[1].strip() for line in page.splitlines() if line.startswith("| `")]
    messages = [cell.strip("`").replace("\\|", "|") for cell in cells]
    assert len(messages) > 40
    parts = [part.strip() for message in messages for part in re.split(r"\.\.\.|; ", message)]
    assert [part for part in parts if re.search(r"\w{2}", part) and part not in package_texts()] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("max_whisper.results.formats.write", True),
        ("max_whisper.results.formats.read", False),
        ("max_whisper.result", False),
        ("benchmarks.peers", True),
    ],
)
def test_the_search_for_names(name: str, expected: bool) -> None:
    assert resolves(name) is expected


def test_the_search_for_keywords() -> None:
    assert wrong_keywords(ast.parse("model.transcribe('a.mp3', beam_sise=5, language='en')")) == [
        "transcribe(beam_sise=)"
    ]
