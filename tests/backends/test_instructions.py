"""Whole models with instructions that are not the best ones of this CPU: the reference's words all the same.

A kind for each length of registers; the operations themselves are compared for every kind in tests/kernels.
"""

from pathlib import Path

import pytest

import max_whisper
from max_whisper.runtime.cpu import all_cpu_instructions
from max_whisper.transcriber import Transcriber

AUDIO = Path(__file__).resolve().parents[2] / "audio_samples"
RECORDINGS = [AUDIO / name for name in ("greeting.ogg", "dialogue.flac")]
KINDS = [("float32", "avx2"), ("float32", "plain"), ("int8", "avx512_vnni"), ("int8", "avx2")]


@pytest.fixture(scope="module")
def reference() -> Transcriber:
    return max_whisper.load_model("nano", backend="torch", device="cpu")


@pytest.mark.parametrize(("compute_type", "instructions"), KINDS, ids="-".join)
def test_other_instructions_give_the_same_words(
    reference: Transcriber, compute_type: str, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if instructions not in all_cpu_instructions():
        pytest.skip(f"this CPU has no {instructions}")
    monkeypatch.setattr("max_whisper.models.whisper.compiled.cpu_instructions", lambda: instructions)
    model = max_whisper.load_model("nano", device="cpu", compute_type=compute_type)
    for path in RECORDINGS:
        expected, heard = reference.transcribe(path), model.transcribe(path)
        assert heard.text == expected.text
        if compute_type == "float32":
            assert [s.tokens for s in heard.segments] == [s.tokens for s in expected.segments]
