"""Hugging Face models: a folder that `save_pretrained` wrote, or a repository that holds one."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError
from max_whisper.models.files.json_file import read_json_object
from max_whisper.models.files.tensors import StoredTensor, Weights, check_floating, open_safetensors
from max_whisper.models.files.torch_file import read_torch_file
from max_whisper.models.whisper.checkpoint.checkpoint import Checkpoint
from max_whisper.models.whisper.checkpoint.foreign import (
    ADAPTER_SETTINGS,
    refuse_foreign_file,
    refuse_foreign_folder,
    tell_foreign,
)
from max_whisper.models.whisper.checkpoint.native import alignment_array
from max_whisper.models.whisper.checkpoint.shapes import check_tensors, expected_shapes, read_dims
from max_whisper.models.whisper.checkpoint.vocabulary import (
    SETTINGS,
    TOKENIZER_FILES,
    folder_vocabulary,
    needs_tokenizer,
    warn_of_own_tokens,
)
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.progress import Progress, Step
from max_whisper.runtime.cache_folder import give_hub_a_folder
from max_whisper.runtime.file_digests import SeenFile

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_TORCH_WEIGHTS = "pytorch_model.bin"  # as transformers saved models before safetensors
_TORCH_INDEX = "pytorch_model.bin.index.json"

# What `from_pretrained` reads; repositories hold the same weights in other precisions and formats beside it.
_SETTINGS_PATTERNS = [SETTINGS, ADAPTER_SETTINGS]
_WEIGHTS_PATTERNS = [_WEIGHTS, _INDEX, "model-*-of-*.safetensors"]
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
_EMBEDDING = "decoder.token_embedding.weight"
_OUTPUT = "proj_out.weight"


def huggingface_name(name: str) -> str:
    """transformers' name, without the leading `model.`, of the tensor that openai-whisper calls `name`."""
    parts = name.replace("mlp.0", "fc1").replace("mlp.2", "fc2").split(".")
    return ".".join(_NAME_PARTS.get(part, part) for part in parts)


def load_repository(repository: str, progress: Progress) -> Checkpoint:
    """The checkpoint in a repository of the Hugging Face Hub, by way of that library's own cache.

    Its settings are fetched and checked first, with the tokenizer's files where they are needed, and then the weights.

    Raises CheckpointError where huggingface_hub is not installed or cannot get the repository.
    """
    give_hub_a_folder()
    try:
        from huggingface_hub import list_repo_files, snapshot_download
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

    def fetch(patterns: Sequence[str], revision: str | None = None) -> Path:
        # Where no file matches, the library complains; the second is in every repository.
        patterns = [*patterns, "config.json", ".gitattributes"]
        try:
            return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns, tqdm_class=Silent))
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

    progress(Step(f"fetching {repository} from the Hugging Face Hub"))
    folder = fetch(_SETTINGS_PATTERNS)
    commit = folder.name  # which names the folder, so that all files are of one state of the repository
    try:
        dims = _folder_dims(folder)
        if needs_tokenizer(folder, dims):
            fetch(TOKENIZER_FILES, commit)
        folder_vocabulary(folder, dims)
        if not _is_whole(folder):
            fetch(_WEIGHTS_PATTERNS, commit)
        if not _is_whole(folder) and not any((folder / name).is_file() for name in (_WEIGHTS, _INDEX)):
            fetch(_TORCH_PATTERNS, commit)
        return load_folder(folder, repository)
    except CheckpointError:
        files: list[str] = []
        if not _has_weights(folder):
            with contextlib.suppress(Exception):  # without a network nobody knows what else there is
                files = list_repo_files(repository, revision=commit)
        if told := tell_foreign(repository, files, lambda name: read_json_object(folder / name)):
            raise CheckpointError(told) from None
        raise


def load_folder(folder: Path, name: str | None = None) -> Checkpoint:
    """The checkpoint in a folder with `config.json` and its weights, in one file or in shards.

    The weights are those of `model.safetensors`, or of `pytorch_model.bin` where the folder has no safetensors, and are
    read from there in place. The encoder's positions are computed where the folder leaves them out. Alignment heads are
    those of `generation_config.json`, and None where they do not fit the decoder (distilled models have carried those
    of their teacher).
    """
    if not _has_weights(folder) or not (folder / "config.json").is_file():
        refuse_foreign_folder(folder)
    dims = _folder_dims(folder)
    files = _weight_files(folder)
    seen = tuple(SeenFile.see(file) for file in files)
    stored, prefix = _open_tensors(files)
    names = {name: prefix + huggingface_name(name) for name in expected_shapes(dims)}
    _drop_tied_output(folder, stored, names[_EMBEDDING])
    if names[_ENCODER_POSITIONS] not in stored:
        stored[names[_ENCODER_POSITIONS]] = StoredTensor(sinusoids(dims.n_audio_ctx, dims.n_audio_state))
    check_tensors(
        str(folder),
        {name: tensor.shape for name, tensor in stored.items()},
        {names[name]: shape for name, shape in expected_shapes(dims).items()},
    )
    tensors = {name: stored[names[name]] for name in names}
    n_tokens = folder_vocabulary(folder, dims)
    warn_of_own_tokens(folder, n_tokens, dims.n_vocab)
    tensors[_EMBEDDING] = tensors[_EMBEDDING].rows(n_tokens)
    dims = replace(dims, n_vocab=n_tokens)
    heads = _alignment_heads(folder, dims)
    return Checkpoint(name or folder.resolve().name, folder, seen, dims, Weights(tensors, names), heads)


def sinusoids(length: int, channels: int, max_timescale: float = 10000.0) -> np.ndarray:
    """The encoder's positions, float32 [length, channels]: `sinusoids` of openai-whisper's whisper/model.py.

    Angles are float32 as there, so sines agree to the last bit of the largest angle, 1.2e-4 for 1500 positions.
    """
    increment = np.log(max_timescale) / (channels // 2 - 1)
    inverse_timescales = np.exp(-increment * np.arange(channels // 2)).astype(np.float32)
    scaled_time = np.arange(length, dtype=np.float32)[:, np.newaxis] * inverse_timescales
    return np.concatenate([np.sin(scaled_time), np.cos(scaled_time)], axis=1)


def _folder_dims(folder: Path) -> ModelDimensions:
    """The dimensions in the folder's `config.json`, with as many tokens as the embedding has rows."""
    config = read_json_object(folder / "config.json")
    if config is None:
        raise CheckpointError(f"{folder}: a folder without config.json; give a Hugging Face model")
    return _read_config(folder / "config.json", config)


def _read_config(path: Path, config: dict[str, Any]) -> ModelDimensions:
    if "n_mels" in config:
        refuse_foreign_folder(path.parent)
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
        refuse_foreign_file(path)
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


def _is_whole(folder: Path) -> bool:
    """Whether all files of the weights are there."""
    try:
        return bool(_weight_files(folder))
    except CheckpointError:
        return False


def _has_weights(folder: Path) -> bool:
    """Whether a file of the weights is there."""
    return any((folder / name).is_file() for name in (_WEIGHTS, _INDEX, _TORCH_WEIGHTS, _TORCH_INDEX))


def _shards(folder: Path, index: str) -> list[Path]:
    weight_map = (read_json_object(folder / index) or {}).get("weight_map")
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
    pairs = (read_json_object(folder / SETTINGS) or {}).get("alignment_heads")
    return None if pairs is None else alignment_array(pairs, dims)
