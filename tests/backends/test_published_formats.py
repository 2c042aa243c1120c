"""Checkpoints in the published formats, transcribed: the same weights and the same text as the reference.

All have the shapes of `nano` and are stored in float16, so that they share its compiled graphs.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import max_whisper
from max_whisper.models.whisper.checkpoint import load_checkpoint

SAMPLE = Path(__file__).resolve().parents[2] / "audio_samples" / "weather.flac"


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache for what is converted; the compiled graphs stay in the shared one."""
    from max_whisper.runtime import compiling

    compiled = compiling.compiled_dir()
    monkeypatch.setattr(compiling, "compiled_dir", lambda: compiled)
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("own_cache")
def test_a_pt_file_is_the_model_that_was_saved(tmp_path: Path) -> None:
    nano = load_checkpoint("nano")
    path = tmp_path / "mine.pt"
    state = {name: torch.from_numpy(np.array(nano.weights.stored(name))) for name in nano.weights}
    torch.save({"dims": nano.dims.to_dict(), "model_state_dict": state}, path)
    expected = max_whisper.load_model("nano", device="cpu").transcribe(SAMPLE)
    assert expected.text.strip()
    for backend in ("max", "torch"):
        assert max_whisper.load_model(path, backend=backend, device="cpu").transcribe(SAMPLE).text == expected.text


@pytest.mark.usefixtures("own_cache")
def test_a_hugging_face_folder_gives_the_references_tokens(tmp_path: Path) -> None:
    dims = load_checkpoint("nano").dims
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=dims.n_vocab,
        num_mel_bins=dims.n_mels,
        d_model=dims.n_audio_state,
        encoder_layers=dims.n_audio_layer,
        encoder_attention_heads=dims.n_audio_head,
        encoder_ffn_dim=4 * dims.n_audio_state,
        decoder_layers=dims.n_text_layer,
        decoder_attention_heads=dims.n_text_head,
        decoder_ffn_dim=4 * dims.n_text_state,
        max_source_positions=dims.n_audio_ctx,
        max_target_positions=dims.n_text_ctx,
        init_std=0.2,
    )
    transformers.WhisperForConditionalGeneration(config).half().save_pretrained(tmp_path / "folder")
    texts = {}
    for backend in ("torch", "hybrid", "max"):
        model = max_whisper.load_model(tmp_path / "folder", backend=backend, device="cpu")
        result = model.transcribe(SAMPLE, language="en", temperature=0.0, no_speech_threshold=None, sample_len=48)
        texts[backend] = (result.text, [segment.tokens for segment in result.segments])
    assert sum(map(len, texts["torch"][1])) >= 24
    assert texts["hybrid"] == texts["torch"]
    assert texts["max"] == texts["torch"]
