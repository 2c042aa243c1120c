"""Waiting for other processes to come to rest."""

import subprocess
import sys

import pytest

from benchmarks import idle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")


def test_it_waits_while_a_process_uses_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    # However many others share the core, a loop has run for a moment in each interval.
    monkeypatch.setattr(idle, "INTERVAL", 0.3)
    monkeypatch.setattr(idle, "SHARE", 0.0)
    monkeypatch.setattr(idle, "PATIENCE", 0.5)
    program = "print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        assert not idle.wait_until_idle([busy.pid])
        busy.kill()
    assert idle.wait_until_idle([busy.pid]), "it has ended"


def test_a_process_that_waits_is_idle() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as waiting:
        assert idle.wait_until_idle([waiting.pid])
