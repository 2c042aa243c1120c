"""Hugging Face folders, as transformers saves them, compared with the model that saved them."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from whisper.model import ModelDimensions as ReferenceDimensions
from whisper.model import Whisper
from whisper.model import sinusoids as reference_sinusoids

from max_whisper.errors import CheckpointError
from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.models.whisper.checkpoint.huggingface import huggingface_name, sinusoids
from max_whisper.models.whisper.dimensions import ModelDimensions
from tests.models.whisper.checkpoint.sizes import huggingface_sizes
from tests.models.whisper.checkpoint.writing import write_bin

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def transformers_model() -> Iterator[Callable[..., Any]]:
    """Makes transformers' Whisper of given dimensions, with random weights."""
    import transformers

    transformers.utils.logging.disable_progress_bar()

    def build(dims: ModelDimensions, head: bool = True, **config: Any) -> Any:
        torch.manual_seed(11)
        settings = {
            **huggingface_sizes(dims),
            "init_std": 0.3,
            **config,
        }
        architecture = transformers.WhisperForConditionalGeneration if head else transformers.WhisperModel
        return architecture(transformers.WhisperConfig(**settings)).eval()

    yield build
    transformers.utils.logging.enable_progress_bar()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="multilingual"),
        pytest.param({"n_vocab": 51864}, id="english-only"),
        pytest.param({"n_mels": 128, "n_vocab": 51866}, id="128-mels"),
        pytest.param({"n_audio_layer": 5, "n_text_layer": 2}, id="distilled"),
    ],
)
@pytest.mark.parametrize("shard", ["1GB", "1MB"])
def test_features_and_logits_are_those_of_transformers(
    dims: ModelDimensions, transformers_model: Callable[..., Any], tmp_path: Path, change: dict[str, int], shard: str
) -> None:
    """openai-whisper's model with our weights computes what transformers' model computes."""
    dims = replace(dims, **change)
    model = transformers_model(dims)
    model.save_pretrained(tmp_path / "saved", max_shard_size=shard)
    assert (tmp_path / "saved" / "model.safetensors.index.json").exists() == (shard == "1MB")
    checkpoint = load_checkpoint(tmp_path / "saved")
    assert checkpoint.dims == dims
    assert checkpoint.name == "saved"

    reference = Whisper(ReferenceDimensions(**dims.to_dict())).eval()
    reference.load_state_dict({name: torch.from_numpy(array) for name, array in checkpoint.weights.items()})
    random = torch.Generator().manual_seed(3)
    log_mel = torch.randn(2, dims.n_mels, 2 * dims.n_audio_ctx, generator=random)
    tokens = torch.randint(dims.n_vocab, (2, 7), generator=random)
    with torch.no_grad():
        features = reference.embed_audio(log_mel)
        logits = reference.logits(tokens, features)
        expected = model(input_features=log_mel, decoder_input_ids=tokens)
    assert features.std() > 0.1
    assert logits.std() > 0.1
    assert (features - expected.encoder_last_hidden_state).abs().max() < 1e-4
    assert (logits - expected.logits).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_to_the_last_bit(
    dims: ModelDimensions, transformers_model: Callable[..., Any], tmp_path: Path, dtype: torch.dtype
) -> None:
    model = transformers_model(dims).to(dtype)
    model.save_pretrained(tmp_path)
    weights = load_checkpoint(tmp_path).weights
    stored = model.state_dict()
    for name, array in weights.items():
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert np.array_equal(array, stored[f"model.{huggingface_name(name)}"].float().numpy()), name


def test_a_model_without_its_head_has_the_same_weights(
    dims: ModelDimensions, transformers_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = transformers_model(dims, head=False)
    model.save_pretrained(tmp_path)
    stored = model.state_dict()
    for name, array in load_checkpoint(tmp_path).weights.items():
        assert np.array_equal(array, stored[huggingface_name(name)].numpy()), name


def test_alignment_heads_of_the_generation_settings(
    dims: ModelDimensions, transformers_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = transformers_model(replace(dims, n_text_layer=2))
    model.generation_config.alignment_heads = [[0, 1], [1, 0]]
    model.save_pretrained(tmp_path)
    heads = load_checkpoint(tmp_path).alignment_heads
    assert heads is not None
    assert heads.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("heads", [None, [], [[31, 0]], [[0, 2]], [[-1, 0]], [[0]], "all"])
def test_alignment_heads_that_do_not_fit_are_left_out(huggingface_folder: Path, heads: object) -> None:
    settings = {} if heads is None else {"alignment_heads": heads}
    (huggingface_folder / "generation_config.json").write_text(json.dumps(settings))
    assert load_checkpoint(huggingface_folder).alignment_heads is None


def test_no_generation_settings(huggingface_folder: Path) -> None:
    assert load_checkpoint(huggingface_folder).alignment_heads is None


def test_positions_that_are_left_out_are_computed(huggingface_folder: Path, dims: ModelDimensions) -> None:
    change_tensors(huggingface_folder, lambda tensors: tensors.pop("model.encoder.embed_positions.weight"))
    positions = load_checkpoint(huggingface_folder).weights["encoder.positional_embedding"]
    assert np.abs(positions - reference_sinusoids(dims.n_audio_ctx, dims.n_audio_state).numpy()).max() < 1e-6


@pytest.mark.parametrize("channels", [384, 512, 1280])
def test_sinusoids_are_the_references(channels: int) -> None:
    ours = sinusoids(1500, channels)
    assert ours.dtype == np.float32
    last_bit_of_the_largest_angle = np.spacing(np.float32(1499))
    assert np.abs(ours - reference_sinusoids(1500, channels).numpy()).max() <= last_bit_of_the_largest_angle


def test_a_tied_output_projection_is_left_out(huggingface_folder: Path, weights: Arrays) -> None:
    embedding = weights["decoder.token_embedding.weight"]
    change_tensors(huggingface_folder, lambda tensors: tensors.update({"proj_out.weight": embedding}))
    assert set(load_checkpoint(huggingface_folder).weights) == set(weights)
    change_tensors(huggingface_folder, lambda tensors: tensors.update({"proj_out.weight": embedding + 1}))
    assert_one_line(huggingface_folder, "tensor proj_out.weight differs from model.decoder.embed_tokens.weight; ")


def test_tensors_that_do_not_fit(huggingface_folder: Path) -> None:
    path = huggingface_folder / "model.safetensors"
    kept = path.read_bytes()
    change_tensors(huggingface_folder, lambda tensors: tensors.pop("model.decoder.layers.0.fc1.bias"))
    assert_one_line(huggingface_folder, "tensor model.decoder.layers.0.fc1.bias is missing; ")
    path.write_bytes(kept)
    adapter = {"model.decoder.layers.0.fc1.lora_A.weight": np.zeros((2, 2), np.float32)}
    change_tensors(huggingface_folder, lambda tensors: tensors.update(adapter))
    assert_one_line(huggingface_folder, "tensor model.decoder.layers.0.fc1.lora_A.weight is no part of ")
    path.write_bytes(kept)
    wide = {"model.decoder.layers.0.fc1.bias": np.zeros(65, np.float32)}
    change_tensors(huggingface_folder, lambda tensors: tensors.update(wide))
    assert_one_line(huggingface_folder, "tensor model.decoder.layers.0.fc1.bias has the shape [65], ")
    path.write_bytes(kept)
    quantized = {"model.decoder.layers.0.fc1.weight": np.zeros((64, 16), np.int8)}
    change_tensors(huggingface_folder, lambda tensors: tensors.update(quantized))
    with pytest.raises(CheckpointError, match=r"tensor model\.decoder\.layers\.0\.fc1\.weight is stored as I8;"):
        load_checkpoint(huggingface_folder)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"model_type": "bert"}, "its model_type is 'bert', not 'whisper'; "),
        ({"model_type": None}, "its model_type is None, not 'whisper'; "),
        ({"d_model": None}, "d_model is missing; "),
        ({"num_mel_bins": 64}, "n_mels is 64; "),
        ({"encoder_attention_heads": 3}, "n_audio_state 16 does not divide into n_audio_head 3 heads; "),
        ({"encoder_ffn_dim": 65}, "encoder_ffn_dim is 65; "),
        ({"activation_function": "relu"}, "activation_function is 'relu'; "),
        ({"scale_embedding": True}, "scale_embedding is True; "),
    ],
)
def test_settings_that_do_not_fit(huggingface_folder: Path, change: dict[str, object], fault: str) -> None:
    path = huggingface_folder / "config.json"
    config = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(huggingface_folder)
    assert str(caught.value).startswith(f"{path}: {fault}")


def test_dimensions_of_another_model(huggingface_folder: Path) -> None:
    path = huggingface_folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "decoder_layers": 2}))
    assert_one_line(
        huggingface_folder, "tensor model.decoder.layers.1.self_attn.q_proj.weight is missing (and 23 more)"
    )


@pytest.mark.parametrize("body", ["", "{", "[1, 2]", "\x00\xff"])
def test_settings_that_are_no_json_object(huggingface_folder: Path, body: str) -> None:
    (huggingface_folder / "config.json").write_text(body)
    with pytest.raises(CheckpointError, match=r"config\.json: (cannot be read as JSON|holds no JSON object).*again$"):
        load_checkpoint(huggingface_folder)


def test_files_that_are_missing(huggingface_folder: Path, tmp_path: Path) -> None:
    (huggingface_folder / "model.safetensors").rename(tmp_path / "elsewhere")
    assert_one_line(huggingface_folder, "no model.safetensors and no model.safetensors.index.json; ")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (huggingface_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    shutil.copy(tmp_path / "elsewhere", huggingface_folder / "model-00001-of-00002.safetensors")
    assert_one_line(huggingface_folder, "the shard model-00002-of-00002.safetensors of model.safetensors.index.json ")
    index = {"weight_map": {"a": "../elsewhere"}}
    (huggingface_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_one_line(huggingface_folder, "the shard ../elsewhere of model.safetensors.index.json is missing; ")
    (huggingface_folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"index\.json: no weight_map in it;"):
        load_checkpoint(huggingface_folder)
    (huggingface_folder / "config.json").unlink()
    assert_one_line(huggingface_folder, "a folder without config.json; ")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_pytorch_weights(
    dims: ModelDimensions,
    transformers_model: Callable[..., Any],
    tmp_path: Path,
    dtype: torch.dtype,
    shards: int,
    archive: bool,
) -> None:
    """`pytorch_model.bin`, as older versions of transformers saved it: the same weights as in safetensors."""
    model = transformers_model(dims).to(dtype)
    model.save_pretrained(tmp_path / "new")
    (tmp_path / "old").mkdir()
    for name in ("config.json", "generation_config.json"):
        shutil.copy(tmp_path / "new" / name, tmp_path / "old")
    write_bin(tmp_path / "old", dict(model.state_dict()), shards, archive)
    expected = load_checkpoint(tmp_path / "new")
    checkpoint = load_checkpoint(tmp_path / "old")
    assert checkpoint.dims == dims
    assert checkpoint.is_float16 == (dtype == torch.float16)
    assert list(checkpoint.weights) == list(expected.weights)
    for name, array in checkpoint.weights.items():
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert np.array_equal(array, expected.weights[name]), name


def test_safetensors_go_before_pytorch_weights(huggingface_folder: Path, weights: Arrays) -> None:
    (huggingface_folder / "pytorch_model.bin").write_bytes(b"not even read")
    (huggingface_folder / "pytorch_model.bin.index.json").write_text("not even read")
    assert set(load_checkpoint(huggingface_folder).weights) == set(weights)


def test_pytorch_weights_that_do_not_fit(huggingface_folder: Path, tmp_path: Path) -> None:
    stored = load_file(huggingface_folder / "model.safetensors")
    (huggingface_folder / "model.safetensors").unlink()
    tensors: dict[Any, Any] = {name: torch.from_numpy(array) for name, array in stored.items()}
    path = huggingface_folder / "pytorch_model.bin"
    bias = "model.decoder.layers.0.fc1.bias"
    for changed, fault in (
        ({**tensors, bias: tensors[bias].to(torch.int8)}, f"{path}: tensor {bias} is stored as torch.int8; "),
        ({**tensors, bias: [0.0] * 64}, f"{path}: entry {bias} is not a tensor; "),
        ({**tensors, 5: tensors[bias]}, f"{path}: entry 5 is not a tensor; "),
        ([tensors], f"{path}: no state dict; "),
        ({**tensors, bias: tensors[bias][1:]}, f"{huggingface_folder}: tensor {bias} has the shape [63], "),
        ({**tensors, "proj_out.weight": torch.zeros(2)}, f"{huggingface_folder}: tensor proj_out.weight differs from "),
    ):
        torch.save(changed, path)
        assert_fault(huggingface_folder, fault)
    path.write_bytes(path.read_bytes()[:-1])
    assert_fault(huggingface_folder, f"{path}: truncated, or not a PyTorch checkpoint ")
    torch.save(torch.nn.Linear(2, 2), path)
    assert_fault(huggingface_folder, f"{path}: holds Python objects, ")
    path.unlink()
    write_bin(huggingface_folder, tensors, 3)
    next(huggingface_folder.glob("pytorch_model-00002-*")).unlink()
    shard = "the shard pytorch_model-00002-of-00003.bin of pytorch_model.bin.index.json is missing; "
    assert_fault(huggingface_folder, f"{huggingface_folder}: {shard}")


def test_a_truncated_weights_file(huggingface_folder: Path) -> None:
    path = huggingface_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"folder/model\.safetensors: truncated, or not a safetensors file"):
        load_checkpoint(huggingface_folder)


def test_the_weights_file_without_its_folder(huggingface_folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no max-whisper checkpoint .*give the folder that holds it"):
        load_checkpoint(huggingface_folder / "model.safetensors")


def change_tensors(folder: Path, change: Callable[[Arrays], Any]) -> None:
    """Rewrite the folder's tensors."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def assert_one_line(folder: Path, fault: str) -> None:
    """Loading `folder` fails with one line that begins with it and the fault."""
    assert_fault(folder, f"{folder}: {fault}")


def assert_fault(folder: Path, fault: str) -> None:
    """Loading `folder` fails with one line that begins with the fault and says what to do."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert str(caught.value).startswith(fault)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)
