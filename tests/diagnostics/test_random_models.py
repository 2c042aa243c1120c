from pathlib import Path

import numpy as np
import pytest
import torch
import whisper

from max_whisper.diagnostics import random_models
from max_whisper.diagnostics.random_models import (
    random_checkpoint,
    random_dimensions,
    random_weights,
    speaking_checkpoint,
)
from max_whisper.errors import CheckpointError, OptionError


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path))
    return tmp_path


def test_every_official_name_has_its_dimensions() -> None:
    for name in whisper.available_models():
        assert random_dimensions(name).n_audio_ctx == 1500
    assert random_dimensions("turbo").n_text_layer == 4
    assert random_dimensions("large-v3", layers=2).n_audio_layer == 2


def test_openai_whisper_loads_the_checkpoint_and_it_is_made_once(cache: Path) -> None:
    path = random_checkpoint("tiny", layers=1)
    assert path.is_relative_to(cache)
    made = path.stat().st_mtime_ns
    assert random_checkpoint("tiny", layers=1) == path
    assert path.stat().st_mtime_ns == made

    model = whisper.load_model(str(path), device="cpu")
    with torch.no_grad():
        features = model.encoder(torch.randn(1, 80, 3000))
        logits = model.decoder(torch.tensor([[50258, 50259]]), features)
    assert torch.isfinite(logits).all()
    assert features.std() == pytest.approx(1, abs=0.2)
    assert logits.std() == pytest.approx(3, abs=0.5)


def test_another_recipe_makes_another_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = random_checkpoint("tiny", layers=1)
    monkeypatch.setattr(random_models, "RECIPE", random_models.RECIPE + 1)
    assert random_checkpoint("tiny", layers=1) != old


def test_a_cut_down_model_has_the_first_layers_of_the_whole_one() -> None:
    cut = random_weights(random_dimensions("tiny", 1))
    whole = random_weights(random_dimensions("tiny", 2))
    assert set(cut) < set(whole)
    assert all(torch.equal(cut[name], whole[name]) for name in cut)


def test_the_seed_changes_the_weights() -> None:
    name = "encoder.blocks.0.attn.query.weight"
    dims = random_dimensions("tiny", 1)
    assert not torch.equal(random_weights(dims, 0)[name], random_weights(dims, 1)[name])


def test_the_files_of_an_interrupted_write_are_gone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(checkpoint: object, file: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(CheckpointError, match="no space"):
        random_checkpoint("tiny", layers=1)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("name", "layers"), [("huge", None), ("tiny", 0)])
def test_unknown_names_and_sizes_are_refused(cache: Path, name: str, layers: int | None) -> None:
    with pytest.raises(OptionError):
        random_checkpoint(name, layers)


@pytest.mark.parametrize(("name", "n_vocab"), [("speaking-multilingual", 51865), ("speaking-english", 51864)])
def test_a_speaking_model_has_text_and_times_that_depend_on_the_audio(cache: Path, name: str, n_vocab: int) -> None:
    path = speaking_checkpoint(name)
    assert path.is_relative_to(cache)
    model = whisper.load_model(str(path), device="cpu")
    assert model.dims.n_vocab == n_vocab
    generator = np.random.default_rng(0)
    results = []
    for loudness in (0.01, 0.3):
        noise = (generator.standard_normal(16000 * 20) * loudness).astype(np.float32)
        results.append(model.transcribe(noise, temperature=0.0, no_speech_threshold=None, fp16=False))
    for result in results:
        assert len({segment["start"] for segment in result["segments"]}) > 1
        assert result["text"].strip()
    assert results[0]["text"] != results[1]["text"]


def test_an_unknown_speaking_model_is_refused() -> None:
    with pytest.raises(OptionError, match="speaking-multilingual"):
        speaking_checkpoint("speaking-latin")
