"""Hugging Face models: a folder that `save_pretrained` wrote, or a repository that holds one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError
from max_whisper.models.files.tensors import StoredTensor, Weights, check_floating, open_safetensors
from max_whisper.models.files.torch_file import read_torch_file
from max_whisper.models.whisper.checkpoint.checkpoint import Checkpoint
from max_whisper.models.whisper.checkpoint.native import alignment_array
from max_whisper.models.whisper.checkpoint.shapes import check_tensors, expected_shapes, read_dims
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.progress import Progress, Step
from max_whisper.runtime.cache_folder import give_hub_a_folder
from max_whisper.runtime.file_digests import SeenFile

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_TORCH_WEIGHTS = "pytorch_model.bin"  # as transformers saved models before safetensors
_TORCH_INDEX = "pytorch_model.bin.index.json"

# What `from_pretrained` reads; repositories hold the same weights in other precisions and formats beside it.
_PATTERNS = ["config.json", "generation_config.json", _WEIGHTS, _INDEX, "model-*-of-*.safetensors"]
_TORCH_PATTERNS = [_TORCH_WEIGHTS, _TORCH_INDEX, "pytorch_model-*-of-*.bin"]

# openai-whisper's ten numbers under transformers' names (WhisperConfig).
_CONFIG_KEYS = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}

# Parts of openai-whisper's tensor names and what transformers calls them.
_NAME_PARTS = {
    "blocks": "layers",
    "attn": "self_attn",
    "attn_ln": "self_attn_layer_norm",
    "cross_attn": "encoder_attn",
    "cross_attn_ln": "encoder_attn_layer_norm",
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "out": "out_proj",
    "mlp_ln": "final_layer_norm",
    "ln_post": "layer_norm",
    "ln": "layer_norm",
    "token_embedding": "embed_tokens",
    "positional_embedding": "embed_positions.weight",
}
_ENCODER_POSITIONS = "encoder.positional_embedding"
_OUTPUT = "proj_out.weight"


def huggingface_name(name: str) -> str:
    """transformers' name, without the leading `model.`, of the tensor that openai-whisper calls `name`."""
    parts = name.replace("mlp.0", "fc1").replace("mlp.2", "fc2").split(".")
    return ".".join(_NAME_PARTS.get(part, part) for part in parts)


def load_repository(repository: str, progress: Progress) -> Checkpoint:
    """The checkpoint in a repository of the Hugging Face Hub, by way of that library's own cache.

    Raises CheckpointError where huggingface_hub is not installed or cannot get the repository.
    """
    give_hub_a_folder()
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import RepositoryNotFoundError
        from huggingface_hub.utils import tqdm
    except ImportError:
        raise CheckpointError(
            f"{repository}: models of the Hugging Face Hub need its library; pip install huggingface_hub,"
            " or give the path of a downloaded folder"
        ) from None

    class Silent(tqdm):
        """The hub's progress bar, kept off the terminal."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

    progress(Step(f"fetching {repository} from the Hugging Face Hub"))
    try:
        folder = Path(snapshot_download(repository, allow_patterns=_PATTERNS, tqdm_class=Silent))
        if not any((folder / name).is_file() for name in (_WEIGHTS, _INDEX)):
            snapshot_download(repository, allow_patterns=_TORCH_PATTERNS, tqdm_class=Silent)
    except RepositoryNotFoundError:
        raise CheckpointError(
            f"{repository}: the Hugging Face Hub has no such model, or shows it only after a login;"
            " check the name, or run hf auth login"
        ) from None
    except Exception as error:  # the hub's own errors, its HTTP library's and the system's share no narrower base
        raise CheckpointError(
            f"{repository}: cannot be fetched from the Hugging Face Hub ({one_line(error)});"
            " check the network, or give the path of a downloaded folder"
        ) from None
    return load_folder(folder, repository)


def load_folder(folder: Path, name: str | None = None) -> Checkpoint:
    """The checkpoint in a folder with `config.json` and its weights, in one file or in shards.

    The weights are those of `model.safetensors`, or of `pytorch_model.bin` where the folder has no safetensors, and are
    read from there in place. The encoder's positions are computed where the folder leaves them out. Alignment heads are
    those of `generation_config.json`, and None where they do not fit the decoder (distilled models have carried those
    of their teacher).
    """
    config = _read_json(folder / "config.json", f"{folder}: a folder without config.json; give a Hugging Face model")
    dims = _read_config(folder / "config.json", config)
    files = _weight_files(folder)
    seen = tuple(SeenFile.see(file) for file in files)
    stored, prefix = _open_tensors(files)
    names = {name: prefix + huggingface_name(name) for name in expected_shapes(dims)}
    _drop_tied_output(folder, stored, names["decoder.token_embedding.weight"])
    if names[_ENCODER_POSITIONS] not in stored:
        stored[names[_ENCODER_POSITIONS]] = StoredTensor(sinusoids(dims.n_audio_ctx, dims.n_audio_state))
    check_tensors(
        str(folder),
        {name: tensor.shape for name, tensor in stored.items()},
        {names[name]: shape for name, shape in expected_shapes(dims).items()},
    )
    weights = Weights({name: stored[names[name]] for name in names})
    return Checkpoint(name or folder.resolve().name, folder, seen, dims, weights, _alignment_heads(folder, dims))


def sinusoids(length: int, channels: int, max_timescale: float = 10000.0) -> np.ndarray:
    """The encoder's positions, float32 [length, channels]: `sinusoids` of openai-whisper's whisper/model.py.

    Angles are float32 as there, so sines agree to the last bit of the largest angle, 1.2e-4 for 1500 positions.
    """
    increment = np.log(max_timescale) / (channels // 2 - 1)
    inverse_timescales = np.exp(-increment * np.arange(channels // 2)).astype(np.float32)
    scaled_time = np.arange(length, dtype=np.float32)[:, np.newaxis] * inverse_timescales
    return np.concatenate([np.sin(scaled_time), np.cos(scaled_time)], axis=1)


def _read_json(path: Path, absent: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(absent) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({one_line(error)}); download it again") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds no JSON object; download it again")
    return content


def _read_config(path: Path, config: dict[str, Any]) -> ModelDimensions:
    if config.get("model_type") != "whisper":
        raise CheckpointError(
            f"{path}: its model_type is {config.get('model_type')!r}, not 'whisper'; give the folder of a Whisper model"
        )
    if absent := [key for key in _CONFIG_KEYS.values() if key not in config]:
        raise CheckpointError(f"{path}: {absent[0]} is missing; download it again")
    dims = read_dims(str(path), {name: config[key] for name, key in _CONFIG_KEYS.items()})
    fixed = {
        "encoder_ffn_dim": 4 * dims.n_audio_state,
        "decoder_ffn_dim": 4 * dims.n_text_state,
        "activation_function": "gelu",
        "scale_embedding": False,
    }
    for key, value in fixed.items():
        if config.get(key, value) != value:
            raise CheckpointError(f"{path}: {key} is {config[key]!r}; Whisper's architecture has {value!r}")
    return dims


def _open_tensors(files: Sequence[Path]) -> tuple[dict[str, StoredTensor], str]:
    """The tensors of the files under their stored names, and what stands before each name.

    A model with its language-model head is saved with `model.` before the names, one without it bare.
    """
    stored: dict[str, StoredTensor] = {}
    for path in files:
        stored.update(open_safetensors(path)[0] if path.suffix == ".safetensors" else _open_bin(path))
    return stored, "model." if any(name.startswith("model.") for name in stored) else ""


def _open_bin(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a `pytorch_model.bin`, or of one of its shards: a state dict."""
    state_dict = read_torch_file(path)
    if not isinstance(state_dict, dict):
        raise CheckpointError(f"{path}: no state dict; save the model with save_pretrained")
    for name, tensor in state_dict.items():
        if not isinstance(name, str) or not isinstance(tensor, StoredTensor):
            raise CheckpointError(
                f"{path}: entry {one_line(name)} is not a tensor; save the model with save_pretrained"
            )
        check_floating(path, name, tensor)
    return dict(state_dict)


def _weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: safetensors before PyTorch's, one file before shards, as `from_pretrained`."""
    for weights, index in ((_WEIGHTS, _INDEX), (_TORCH_WEIGHTS, _TORCH_INDEX)):
        if (folder / weights).is_file():
            return [folder / weights]
        if (folder / index).is_file():
            return _shards(folder, index)
    raise CheckpointError(
        f"{folder}: no {_WEIGHTS} and no {_INDEX}; nor is there a {_TORCH_WEIGHTS}, save the model with save_pretrained"
    )


def _shards(folder: Path, index: str) -> list[Path]:
    weight_map = _read_json(folder / index, f"{folder}: no {index}").get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{folder / index}: no weight_map in it; download it again")
    files = sorted({str(file) for file in weight_map.values()})
    for file in files:
        if Path(file).name != file or not (folder / file).is_file():
            raise CheckpointError(f"{folder}: the shard {one_line(file)} of {index} is missing; download it too")
    return [folder / file for file in files]


def _drop_tied_output(folder: Path, stored: dict[str, StoredTensor], embedding: str) -> None:
    """Leave out the output projection: Whisper's is the token embedding, and some files hold it a second time."""
    output = stored.pop(_OUTPUT, None)
    if output is None or embedding not in stored:
        return
    if not np.array_equal(output.data, stored[embedding].data):
        raise CheckpointError(
            f"{folder}: tensor {_OUTPUT} differs from {embedding}; Whisper ties the two, save it with tied embeddings"
        )


def _alignment_heads(folder: Path, dims: ModelDimensions) -> np.ndarray | None:
    path = folder / "generation_config.json"
    if not path.is_file():
        return None
    pairs = _read_json(path, f"{path}: missing").get("alignment_heads")
    return None if pairs is None else alignment_array(pairs, dims)
