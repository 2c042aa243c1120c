"""Names, shapes and dimensions: what a Whisper checkpoint holds."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from whisper.model import AudioEncoder, TextDecoder, Whisper

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError
from max_whisper.models.whisper.checkpoint import expected_shapes
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS
from max_whisper.models.whisper.checkpoint.shapes import check_tensors, read_dims
from max_whisper.models.whisper.dimensions import ModelDimensions


@pytest.mark.parametrize("name", ["tiny.en", "small", "large-v3", "turbo"])
def test_names_shapes_and_order_are_the_reference_models(name: str) -> None:
    dims = OFFICIAL_MODELS[name].dims
    audio = (dims.n_mels, dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_head, dims.n_audio_layer)
    text = (dims.n_vocab, dims.n_text_ctx, dims.n_text_state, dims.n_text_head, dims.n_text_layer)
    with torch.device("meta"):
        reference = torch.nn.ModuleDict({"encoder": AudioEncoder(*audio), "decoder": TextDecoder(*text)}).state_dict()
    assert list(expected_shapes(dims).items()) == [(key, tuple(value.shape)) for key, value in reference.items()]


def test_dims_of_a_reference_model_are_read(dims: ModelDimensions, build_reference: Callable[..., Whisper]) -> None:
    assert read_dims("model.pt", build_reference(dims).dims.__dict__) == dims


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"n_mels": 64}, "n_mels is 64"),
        ({"n_vocab": -1}, "n_vocab is -1"),
        ({"n_audio_layer": 0}, "n_audio_layer is 0"),
        ({"n_text_layer": 1.0}, "n_text_layer is 1.0"),
        ({"n_text_layer": True}, "n_text_layer is True"),
        ({"n_text_layer": "4"}, "n_text_layer is '4'"),
        ({"n_audio_head": 3}, "n_audio_state 16 does not divide into n_audio_head 3"),
        ({"n_text_head": 5}, "n_text_state 16 does not divide into n_text_head 5"),
        ({"n_text_state": 32}, "n_audio_state 16 and n_text_state 32 differ"),
        ({"n_audio_state": 15, "n_text_state": 15, "n_audio_head": 1, "n_text_head": 1}, "n_audio_state 15 is odd"),
        ({"n_experts": 4}, "unknown entry 'n_experts'"),
    ],
)
def test_dims_that_cannot_be(dims: ModelDimensions, change: dict[str, Any], fault: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_dims("model.pt", {**dims.to_dict(), **change})
    assert str(caught.value).startswith("model.pt: ")
    assert fault in str(caught.value)


def test_dims_that_are_not_all_there(dims: ModelDimensions) -> None:
    values = dims.to_dict()
    del values["n_mels"], values["n_text_ctx"]
    with pytest.raises(CheckpointError, match=r"^model\.pt: its dims lack n_mels, n_text_ctx;"):
        read_dims("model.pt", values)
    with pytest.raises(CheckpointError, match=r"^model\.pt: its dims are not a dictionary;"):
        read_dims("model.pt", [80, 1500])


def test_tensors_are_checked_against_the_dimensions(dims: ModelDimensions) -> None:
    expected = expected_shapes(dims)
    check_tensors("file", expected, expected)
    with pytest.raises(CheckpointError, match=r"^file: tensor decoder\.ln\.bias is missing;"):
        check_tensors("file", {key: value for key, value in expected.items() if key != "decoder.ln.bias"}, expected)
    with pytest.raises(CheckpointError, match=r"^file: tensor encoder\.conv1\.weight is missing \(and \d+ more\);"):
        check_tensors("file", {"encoder.positional_embedding": (20, 16)}, expected)
    with pytest.raises(CheckpointError, match=r"^file: tensor a b is no part of a Whisper model"):
        check_tensors("file", {**expected, "a\nb": (1,)}, expected)
    with pytest.raises(
        CheckpointError, match=r"^file: tensor encoder\.conv1\.weight has the shape \[16, 80, 3\],.* \[16, 128, 3\];"
    ):
        check_tensors("file", expected, expected_shapes(replace(dims, n_mels=128)))


def test_foreign_words_become_one_short_line() -> None:
    assert one_line("a\n  b\tc ") == "a b c"
    assert one_line("x" * 300) == "x" * 197 + "..."
