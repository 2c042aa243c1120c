"""A forked process: an error at once where its parent had loaded a model, and all works where it had only imported."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")

AUDIO = str(Path(__file__).resolve().parents[2] / "audio_samples" / "greeting.ogg")
BEGINNING = f"""
import multiprocessing, os, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork in a process with threads
import max_whisper
AUDIO = {AUDIO!r}
fork = multiprocessing.get_context("fork")
def refused(call):
    try:
        call()
    except max_whisper.DeviceError as error:
        return "spawn" in str(error)
    return False
def child(target, *arguments):
    def run():
        answers.put(target(*arguments))
    answers = fork.SimpleQueue()
    process = fork.Process(target=run)
    process.start()
    process.join(20)
    assert not process.is_alive(), "the child waits for ever"
    assert process.exitcode == 0, process.exitcode
    return answers.get()
"""


def run(program: str) -> None:
    """Run a program in a process of its own. Fails where it fails or does not end."""
    done = subprocess.run(
        [sys.executable, "-c", BEGINNING + program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "call",
    [
        "model.transcribe(AUDIO)",
        "model.transcribe(AUDIO, beam_size=2, word_timestamps=True)",
        "model.transcribe(AUDIO, chunking='vad')",
        "next(model.stream(AUDIO))",
        "next(half_read)",
        "list(model.transcribe_many([AUDIO, AUDIO]))",
        "max_whisper.load_model('nano', device='cpu')",
        "max_whisper.load_model('nano', device='cpu', compute_type='int8')",
        "max_whisper.compile_model('nano', device='cpu')",
    ],
)
def test_a_child_of_a_process_with_a_model_is_told_so(call: str) -> None:
    run(f"""
model = max_whisper.load_model("nano", device="cpu")
model.transcribe(AUDIO)
half_read = model.stream(AUDIO)
assert child(refused, lambda: {call})
assert model.transcribe(AUDIO).text.strip()  # the parent goes on
""")


def test_a_child_of_a_process_with_pytorchs_model_is_told_so() -> None:
    run("""
model = max_whisper.load_model("nano", backend="torch", device="cpu")
model.transcribe(AUDIO)
assert child(refused, lambda: model.transcribe(AUDIO))
""")


def test_a_child_of_a_process_that_compiled_is_told_so() -> None:
    run("""
max_whisper.compile_model("nano", device="cpu")
assert child(refused, lambda: max_whisper.load_model("nano", device="cpu"))
""")


def test_a_pool_of_processes_gets_the_error() -> None:
    run(
        """
from concurrent.futures import ProcessPoolExecutor
model = max_whisper.load_model("nano", device="cpu")
with ProcessPoolExecutor(2, mp_context=fork) as pool:
    for future in [pool.submit(model_text, AUDIO) for _ in range(2)]:
        assert isinstance(future.exception(), max_whisper.DeviceError), future.exception()
""".replace("model = max", "def model_text(path):\n    return model.transcribe(path).text\nmodel = max", 1)
    )


def test_a_child_that_is_refused_ends_by_itself() -> None:
    run("""
model = max_whisper.load_model("nano", device="cpu")
pid = os.fork()
if pid == 0:
    sys.exit(0 if refused(lambda: model.transcribe(AUDIO)) else 1)  # with Python's whole end
for _ in range(200):
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended:
        break
    time.sleep(0.1)
assert ended, "the child does not end"
assert os.waitstatus_to_exitcode(status) == 0, status
""")


def test_a_process_that_has_only_imported_may_be_forked() -> None:
    run("""
def transcribe():
    return max_whisper.load_model("nano", device="cpu").transcribe(AUDIO).text
max_whisper.available_models()
first, second = child(transcribe), child(transcribe)
assert first.strip() and first == second == transcribe()
""")


def test_spawned_children_work_as_the_error_says(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"""
import multiprocessing
import max_whisper
def transcribe(path):
    return max_whisper.load_model("nano", device="cpu").transcribe(path).text
if __name__ == "__main__":
    text = transcribe({AUDIO!r})
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(transcribe, [{AUDIO!r}]) == [text]
""")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
