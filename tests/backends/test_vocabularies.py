"""`nano` with rows added to its embedding, as fine-tuned models have them: what openai-whisper gives without them.

The rows that are added are those of tokens that the model writes, made greater: each would win wherever it may be
chosen, and would change every softmax that it takes part in.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper.tokenizer
from safetensors.numpy import save_file

import max_whisper
from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.models.whisper.checkpoint.huggingface import huggingface_name
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.runtime import compiling
from tests.models.whisper.checkpoint.sizes import huggingface_sizes

SAMPLE = Path(__file__).resolve().parents[2] / "audio_samples" / "dialogue.flac"
EMBEDDING = "decoder.token_embedding.weight"
OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {"language": "en"},
    "beams": {"language": "en", "beam_size": 5},
    "token by token": {"language": "en", "repetition_penalty": 1.0001},
    "words": {"language": "en", "word_timestamps": True},
    "language": {},
}


@pytest.fixture
def padded_nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """A Hugging Face folder of nano with so many more rows; compiled graphs are those of nano."""
    compiled = compiling.compiled_dir()
    monkeypatch.setattr(compiling, "compiled_dir", lambda: compiled)
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path / "cache"))

    def pad(more: int) -> Path:
        nano = load_checkpoint("nano")
        arrays = {name: np.array(nano.weights.stored(name)) for name in nano.weights}
        tokenizer = whisper.tokenizer.get_tokenizer(True)
        written = [
            *tokenizer.encode(" the weather is cold"),
            tokenizer.eot,
            tokenizer.timestamp_begin,
            tokenizer.sot + 1,
        ]
        added = np.resize(np.float16(1.5) * arrays[EMBEDDING][written], (more, nano.dims.n_text_state))
        arrays[EMBEDDING] = np.concatenate([arrays[EMBEDDING], added])
        folder = tmp_path / f"nano-{more}"
        folder.mkdir()
        save_file(
            {f"model.{huggingface_name(name)}": array for name, array in arrays.items()}, folder / "model.safetensors"
        )
        dims = ModelDimensions(**{**nano.dims.to_dict(), "n_vocab": nano.dims.n_vocab + more})
        (folder / "config.json").write_text(json.dumps({"model_type": "whisper", **huggingface_sizes(dims)}))
        settings = {"no_timestamps_token_id": tokenizer.no_timestamps}
        (folder / "generation_config.json").write_text(json.dumps(settings))
        return folder

    return pad


@pytest.mark.parametrize("more", [1, 2, 7, 135])
def test_texts_and_times_are_the_references(padded_nano: Callable[[int], Path], more: int) -> None:
    model = max_whisper.load_model(padded_nano(more), device="cpu")
    reference = max_whisper.load_model("nano", backend="torch", device="cpu")
    for name, options in OPTIONS.items():
        ours = model.transcribe(SAMPLE, temperature=0.0, **options)
        asked = {key: value for key, value in options.items() if key != "repetition_penalty"}
        expected = reference.transcribe(SAMPLE, temperature=0.0, **asked)
        assert expected.text.strip()
        assert ours.text == expected.text, name
        assert ours.language == expected.language
        for segment, other in zip(ours.segments, expected.segments, strict=True):
            assert (segment.tokens, segment.start, segment.end) == (other.tokens, other.start, other.end), name
            assert segment.avg_logprob == pytest.approx(other.avg_logprob, abs=1e-3)
            assert segment.no_speech_prob == pytest.approx(other.no_speech_prob, abs=1e-3)
            words, others = ([word.word for word in each.words or ()] for each in (segment, other))
            assert words == others


@pytest.mark.parametrize(
    "loading",
    [{"compute_type": "int8"}, {"compute_type": "bfloat16"}, {"backend": "torch"}, {"backend": "hybrid"}],
    ids=str,
)
def test_every_backend_and_compute_type(padded_nano: Callable[[int], Path], loading: dict[str, Any]) -> None:
    model = max_whisper.load_model(padded_nano(135), device="cpu", **loading)
    plain = max_whisper.load_model("nano", device="cpu", **loading)
    for beam_size in (None, 3):
        ours, expected = (each.transcribe(SAMPLE, temperature=0.0, beam_size=beam_size) for each in (model, plain))
        assert [segment.tokens for segment in ours.segments] == [segment.tokens for segment in expected.segments]
    assert model.detect_language(SAMPLE) == plain.detect_language(SAMPLE)
