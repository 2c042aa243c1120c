"""The table of published models is openai-whisper's."""

import re
from pathlib import Path

import numpy as np
import pytest
import whisper
from whisper.model import ModelDimensions, Whisper

from max_whisper.models.whisper.checkpoint import available_models, expected_shapes
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS

DOCUMENT = Path(__file__).parents[4] / "docs" / "models.md"


def test_names_addresses_and_hashes() -> None:
    assert {name: model.url for name, model in OFFICIAL_MODELS.items()} == whisper._MODELS
    assert all(f"/{model.sha256}/" in model.url for model in OFFICIAL_MODELS.values())
    assert all(re.fullmatch("[0-9a-f]{64}", model.sha256) for model in OFFICIAL_MODELS.values())


@pytest.mark.parametrize("name", OFFICIAL_MODELS)
def test_alignment_heads(name: str) -> None:
    model = OFFICIAL_MODELS[name]
    narrow = {"n_audio_layer": 1, "n_audio_state": 4, "n_text_state": 4, "n_vocab": 1}
    reference = Whisper(ModelDimensions(**{**model.dims.to_dict(), **narrow}))
    reference.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
    assert np.array_equal(model.alignment_heads, reference.alignment_heads.indices().T.numpy())


def test_names_that_load_checkpoint_knows() -> None:
    assert available_models()[0] == "nano"
    assert set(available_models()) == {"nano", *whisper.available_models()}


def test_sizes_in_the_documentation() -> None:
    row = r"^\| `([\w.-]+)`(?: \(`[\w.-]+`\))? \|((?: [\d,]+ \|){6} [\d,]+) \|$"
    rows = re.findall(row, DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    files = {model.name: model.dims for model in OFFICIAL_MODELS.values()}
    documented = {name: [int(cell.replace(",", "")) for cell in cells.split("|")] for name, cells in rows}
    assert documented == {
        name: [
            dims.n_audio_layer,
            dims.n_text_layer,
            dims.n_audio_state,
            dims.n_audio_head,
            dims.n_mels,
            dims.n_vocab,
            round(sum(int(np.prod(shape)) for shape in expected_shapes(dims).values()) / 1e6),
        ]
        for name, dims in files.items()
    }
