"""One checkpoint in the file format of each program, made once and kept in the cache folder."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from max_whisper.diagnostics.random_models import RECIPE as WEIGHTS_RECIPE
from max_whisper.diagnostics.random_models import random_dimensions, random_weights
from max_whisper.errors import OptionError
from max_whisper.models.whisper.checkpoint import Checkpoint, load_checkpoint, write_native
from max_whisper.models.whisper.checkpoint.huggingface import huggingface_name
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.tokenizer import Tokenizer, get_tokenizer
from max_whisper.runtime.cache_folder import cache_dir
from max_whisper.runtime.files import replacing

from .ggml import write_ggml
from .vocabulary import hugging_face_tokenizer

RECIPE = 2  # one more whenever the files are written differently: those of an earlier recipe are then made again

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class PeerCheckpoint:
    """A model of which each program gets the same weights, rounded to what its format holds."""

    name: str
    dims: ModelDimensions
    folder: Path
    is_random: bool
    weights: Callable[[], Weights]  # under openai-whisper's names, float16 where the checkpoint is

    @property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary, set to transcribe English."""
        dims = self.dims
        return get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages, language="en", task="transcribe")

    def file(self, kind: str) -> Path:
        """The model in one of `FORMATS`; made first where it is not yet there."""
        name, write = FORMATS[kind]
        path = self.folder / name
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write(self, path)
        return path


def peer_checkpoint(model: str) -> PeerCheckpoint:
    """The checkpoint of `random:NAME` or `random:NAME:LAYERS`, or any that `load_model` takes.

    In a random one all special tokens have the embedding zero, and so the logit zero, far below the greatest: no
    text ends before its time, in any program, and none needs rules to prevent it.
    """
    folder = cache_dir() / "peers"
    if not model.startswith("random:"):
        checkpoint = load_checkpoint(model)
        weights = checkpoint.weights
        stored = {name: weights.stored(name) for name in weights}  # views of the file
        name = f"{Path(model).stem}-{_digest(checkpoint)}-recipe-{RECIPE}"
        return PeerCheckpoint(checkpoint.name, checkpoint.dims, folder / name, False, lambda: stored)
    _, size, *layers = model.split(":")
    try:
        dims = random_dimensions(size, int(layers[0]) if layers else None)
    except ValueError as error:
        raise OptionError(f"{model!r} is not random:NAME or random:NAME:LAYERS: {error}") from error
    name = f"{model.replace(':', '-')}-recipe-{WEIGHTS_RECIPE}.{RECIPE}"
    return PeerCheckpoint(model, dims, folder / name, True, cache(partial(endless_weights, dims)))


def endless_weights(dims: ModelDimensions) -> Weights:
    """The random weights of `random_weights`, made endless."""
    return endless({name: tensor.numpy() for name, tensor in random_weights(dims).items()}, dims)


def endless(weights: Weights, dims: ModelDimensions) -> Weights:
    """The same weights with the embedding zero for every special token: the logits of all of these are zero."""
    end = get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages).eot
    embedding = np.array(weights["decoder.token_embedding.weight"])
    embedding[end:] = 0
    return {**weights, "decoder.token_embedding.weight": embedding}


def _digest(checkpoint: Checkpoint) -> str:
    digest = hashlib.sha256()
    for name in checkpoint.weights:
        digest.update(name.encode() + checkpoint.weights.stored(name).tobytes())
    return digest.hexdigest()[:16]


def _write_openai(checkpoint: PeerCheckpoint, path: Path) -> None:
    import torch

    weights = {name: torch.from_numpy(np.array(array)) for name, array in checkpoint.weights().items()}
    with replacing(path) as unfinished:
        torch.save({"dims": checkpoint.dims.to_dict(), "model_state_dict": weights}, unfinished)


def _write_max_whisper(checkpoint: PeerCheckpoint, path: Path) -> None:
    write_native(path, checkpoint.weights(), checkpoint.dims, name=checkpoint.name)


def _write_ggml(checkpoint: PeerCheckpoint, path: Path) -> None:
    from whisper.audio import mel_filters

    ranks = checkpoint.tokenizer.encoding._mergeable_ranks
    tokens = sorted(ranks, key=ranks.__getitem__)
    filters = mel_filters("cpu", checkpoint.dims.n_mels).numpy()
    precision = path.stem.partition("-")[2]
    weights = checkpoint.weights()
    if not checkpoint.is_random:
        twin = path.with_suffix(".endless.bin")
        write_ggml(twin, precision, checkpoint.dims, endless(weights, checkpoint.dims), tokens, filters)
    write_ggml(path, precision, checkpoint.dims, weights, tokens, filters)


def _write_hugging_face(checkpoint: PeerCheckpoint, folder: Path) -> None:
    """What `WhisperForConditionalGeneration.save_pretrained` writes, in float32, with the tokenizer beside it."""
    import torch
    from transformers import GenerationConfig, PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration
    from transformers.utils import logging

    dims, tokenizer = checkpoint.dims, checkpoint.tokenizer
    ends = {"bos_token_id": tokenizer.eot, "eos_token_id": tokenizer.eot, "pad_token_id": tokenizer.eot}
    config = WhisperConfig(
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
        decoder_start_token_id=tokenizer.sot,
        **ends,
    )
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    weights = {f"model.{huggingface_name(name)}": array for name, array in checkpoint.weights().items()}
    tensors = {name: torch.from_numpy(array.astype(np.float32)) for name, array in weights.items()}
    tensors["proj_out.weight"] = tensors["model.decoder.embed_tokens.weight"]
    model.load_state_dict(tensors, assign=True)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        **ends, decoder_start_token_id=tokenizer.sot, max_length=dims.n_text_ctx, **_generation(checkpoint)
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=hugging_face_tokenizer(tokenizer),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    logging.disable_progress_bar()
    with _replacing_folder(folder) as unfinished:
        model.save_pretrained(unfinished)
        fast.save_pretrained(unfinished)
        # faster-whisper reads the number of mel bins here.
        (unfinished / "preprocessor_config.json").write_text(json.dumps({"feature_size": dims.n_mels}))


def _generation(checkpoint: PeerCheckpoint) -> dict[str, Any]:
    """What transformers' `generate` and CTranslate2 know of Whisper's tokens."""
    tokenizer = checkpoint.tokenizer
    known: dict[str, Any] = {
        "no_timestamps_token_id": tokenizer.no_timestamps,
        "prev_sot_token_id": tokenizer.sot_prev,
        "is_multilingual": checkpoint.dims.is_multilingual,
        "return_timestamps": False,
        "suppress_tokens": [],
        "begin_suppress_tokens": [],
    }
    if checkpoint.dims.is_multilingual:
        known["lang_to_id"] = {
            f"<|{code}|>": tokenizer.to_language_token(code) for code in tokenizer.all_language_codes
        }
        known["task_to_id"] = {"transcribe": tokenizer.transcribe, "translate": tokenizer.translate}
    return known


def _write_ctranslate2(checkpoint: PeerCheckpoint, folder: Path) -> None:
    from ctranslate2.converters import TransformersConverter

    source = checkpoint.file("hugging-face")
    copied = ["tokenizer.json", "preprocessor_config.json"]
    with _replacing_folder(folder) as unfinished:
        converter = TransformersConverter(str(source), copy_files=copied)
        converter.convert(str(unfinished), quantization=folder.name.partition("-")[2], force=True)


@contextmanager
def _replacing_folder(folder: Path) -> Iterator[Path]:
    """As `replacing`, for a folder."""
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    unfinished.mkdir()
    try:
        yield unfinished
        if not folder.exists():
            unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


FORMATS: dict[str, tuple[str, Callable[[PeerCheckpoint, Path], None]]] = {
    "openai": ("openai.pt", _write_openai),
    "max-whisper": ("max-whisper.safetensors", _write_max_whisper),
    "hugging-face": ("hugging-face", _write_hugging_face),
    "ctranslate2-float32": ("ctranslate2-float32", _write_ctranslate2),
    "ctranslate2-int8": ("ctranslate2-int8", _write_ctranslate2),
    "ggml-f16": ("ggml-f16.bin", _write_ggml),
    "ggml-q8_0": ("ggml-q8_0.bin", _write_ggml),
}
