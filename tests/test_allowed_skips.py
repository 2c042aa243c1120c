"""Skips that are failures: in a run of pytest of its own, and the list that the tests have."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.allowed_skips import LIST, AllowedSkip, read_allowed_skips

ROOT = Path(__file__).resolve().parents[1]
CONFTEST = """
from pathlib import Path
from tests.allowed_skips import SkipsAreFailures, read_allowed_skips

def pytest_configure(config):
    allowed = read_allowed_skips(Path(__file__).with_name("list.txt").read_text())
    config.pluginmanager.register(SkipsAreFailures(allowed, Path(__file__).parent))
"""
TESTS = """
import pytest

@pytest.mark.skipif(True, reason="no tape recorder")
def test_marked(): ...

def test_inside():
    pytest.skip("no gramophone, model 7")

@pytest.mark.xfail(reason="not yet")
def test_expected_to_fail():
    assert False

def test_that_runs(): ...
"""
ALLOWING = "test_some.py: no tape recorder | old\ntest_some.py: no gramophone, * | older\n"


def run(folder: Path, allowed: str) -> subprocess.CompletedProcess[str]:
    """pytest in a folder of tests, with a list of allowed skips."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "list.txt").write_text(allowed)
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_a_skip_is_a_failure_unless_the_list_has_it(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    done = run(tmp_path, ALLOWING.splitlines()[0])
    assert done.returncode == 1
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed" in done.stdout
    assert "test_some.py: no gramophone, model 7 | why it cannot run there" in done.stdout

    done = run(tmp_path, ALLOWING)
    assert done.returncode == 0
    assert "1 passed, 2 skipped, 1 xfailed" in done.stdout


def test_a_line_of_another_file_allows_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    done = run(tmp_path, ALLOWING.replace("some", "other"))
    assert "1 failed, 1 passed, 1 xfailed, 1 error" in done.stdout


def test_a_file_that_is_skipped_as_a_whole_is_a_failure_too(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    done = run(tmp_path, "")
    assert done.returncode != 0
    assert "could not import 'no_such_module'" in done.stdout


def test_a_line_without_a_skip_is_told(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("def test_that_runs(): ...\n")
    done = run(tmp_path, "test_some.py: no tape recorder | old\ntest_other.py: no film | older\n")
    assert done.returncode == 0
    assert "no test of test_some.py was skipped for: no tape recorder" in done.stdout
    assert "test_other" not in done.stdout  # it was not asked for


@pytest.mark.parametrize("line", ["test_some.py: reason", "test_some.py | why", ": reason | why", "reason | why"])
def test_a_line_lacks_a_part(line: str) -> None:
    with pytest.raises(ValueError, match="not FILE: REASON"):
        read_allowed_skips(line)


def allowed_skips() -> list[AllowedSkip]:
    return read_allowed_skips(LIST.read_text())


def test_every_line_is_of_a_file_that_skips_for_its_reason() -> None:
    assert allowed_skips()
    for skip in allowed_skips():
        text = (LIST.parent / skip.file).read_text()
        assert "skip" in text
        assert all(part in text for part in skip.reason.split("*")), skip.reason
