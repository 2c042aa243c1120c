"""How many threads compute, and that it changes no result."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from max_whisper import compile_model, load_model
from max_whisper.errors import OptionError
from max_whisper.runtime.threads import allowed_cpus, cores

RECORDING = Path(__file__).resolve().parents[2] / "audio_samples" / "greeting.ogg"
on_linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads are chosen on Linux only")

# Prints the tokens and their mean log probabilities, the number of MAX's threads, and the CPUs that each may use.
TRANSCRIBE = """
import os, sys
from pathlib import Path
import max_whisper

model = max_whisper.load_model("nano", compute_type="int8", threads=int(sys.argv[1]))
if sys.argv[3:]:
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {int(sys.argv[3])})
segments = model.transcribe(sys.argv[2], temperature=0).segments
threads = list(Path("/proc/self/task").iterdir())
print([(segment.tokens, segment.avg_logprob) for segment in segments])
print(sum("Thread" in (thread / "comm").read_text() for thread in threads))
print({tuple(sorted(os.sched_getaffinity(int(thread.name)))) for thread in threads})
"""


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compiling has threads of its own."""
    compile_model("nano", compute_type="int8")


def transcribed(threads: int, cpu: int | None = None) -> list[str]:
    """What it prints; `cpu`: the one that all threads are to share."""
    program = [sys.executable, "-c", TRANSCRIBE, str(threads), str(RECORDING), *([] if cpu is None else [str(cpu)])]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture(scope="module")
def with_all_cores() -> list[str]:
    return transcribed(0)


@on_linux
def test_one_thread_gives_the_same_and_keeps_no_thread_to_one_cpu(with_all_cores: list[str]) -> None:
    result, n_threads, cpus = transcribed(1)
    assert n_threads == "1"
    assert cpus == str({tuple(allowed_cpus())})
    assert result == with_all_cores[0]
    assert len(result) > len("[]")
    assert int(with_all_cores[1]) >= int(n_threads)


@on_linux
def test_threads_that_share_a_core_give_the_same(with_all_cores: list[str]) -> None:
    """They wait for each other in turns; and which of them computes what makes no difference."""
    result, n_threads, cpus = transcribed(0, allowed_cpus()[0])
    assert cpus == str({(allowed_cpus()[0],)})
    assert int(n_threads) >= 1
    assert result == with_all_cores[0]


@on_linux
def test_a_process_chooses_once() -> None:
    load_model("nano", compute_type="int8")
    other = len(allowed_cpus()) + 1
    with pytest.raises(OptionError, match=rf"threads: a process chooses once, with its first model: .*, got {other}"):
        load_model("nano", compute_type="int8", threads=other)


@pytest.mark.parametrize("threads", [-1, 1.5, "2"])
def test_a_number_that_cannot_be(threads: object) -> None:
    with pytest.raises(OptionError, match="threads: a number of at least 1"):
        load_model("nano", threads=threads)  # type: ignore[arg-type]


def test_threads_of_pytorch() -> None:
    program = 'import torch, max_whisper; max_whisper.load_model("nano", backend="torch", threads=1)'
    program += "; print(torch.get_num_threads())"
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "1"


def test_every_cpu_belongs_to_one_core() -> None:
    assert sorted(cpu for core in cores(allowed_cpus()) for cpu in core) == allowed_cpus()
