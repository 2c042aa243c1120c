"""Checkpoints of every official size with random weights: true shapes and costs, with nothing to download.

Speed and parity depend on a model's shapes, not on what it has learnt, so a seeded random checkpoint stands in for a
published one wherever the text does not matter.
"""

import os
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from max_whisper.cache import cache_dir
from max_whisper.checkpoint.official import OFFICIAL_MODELS
from max_whisper.dimensions import ModelDimensions
from max_whisper.errors import OptionError

if TYPE_CHECKING:
    import torch


RECIPE = 1  # one more whenever `random_weights` gives other weights: files of an earlier recipe are then made again


def random_dimensions(name: str, layers: int | None = None) -> ModelDimensions:
    """The dimensions of the official model `name`, with at most `layers` layers on either side.

    Raises OptionError for a name that is not official and for fewer than one layer.
    """
    if name not in OFFICIAL_MODELS:
        raise OptionError(f"no official model is named {name!r}: choose one of {', '.join(OFFICIAL_MODELS)}")
    dims = OFFICIAL_MODELS[name].dims
    if layers is None:
        return dims
    if layers < 1:
        raise OptionError(f"layers is {layers}: a model has at least one")
    sizes = dims.to_dict()
    sizes["n_audio_layer"] = min(layers, dims.n_audio_layer)
    sizes["n_text_layer"] = min(layers, dims.n_text_layer)
    return ModelDimensions(**sizes)


def random_checkpoint(name: str, layers: int | None = None, seed: int = 0) -> Path:
    """A `.pt` file in openai-whisper's layout with the shapes of `name` and random weights, made once and kept.

    `layers` cuts the encoder and the decoder down to that many layers. The weights are float16, as in the published
    files, and depend on `seed` and on the tensor's name alone: a cut-down model holds the same first layers as the
    whole one. Returns the file's path in the cache; raises OptionError as `random_dimensions` does.
    """
    dims = random_dimensions(name, layers)
    cut = "" if layers is None else f"-{layers}-layers"
    path = cache_dir() / "random" / f"{name}{cut}-seed-{seed}-recipe-{RECIPE}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_random_checkpoint(path, dims, seed)
    return path


def write_random_checkpoint(path: Path, dims: ModelDimensions, seed: int = 0) -> None:
    """Write a random checkpoint of any `dims` to `path`, which appears only when it is whole."""
    import torch

    checkpoint = {"dims": dims.to_dict(), "model_state_dict": random_weights(dims, seed)}
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        torch.save(checkpoint, unfinished)
        Path(unfinished).replace(path)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def random_weights(dims: ModelDimensions, seed: int = 0) -> "dict[str, torch.Tensor]":
    """Random float16 weights under the names and in the shapes of openai-whisper's own modules.

    Matrices and filters keep the variance of what goes through them (standard deviation 1 / sqrt(fan-in), more for
    queries and keys, which sharpens attention); every bias and norm is away from its neutral value, so that a weight
    left out or swapped shows. The decoder's last norm has a gain near 3, which spreads the logits as a trained
    model's are, and positions outweigh tokens in its input, so that greedy decoding does not end in a loop.
    """
    import torch
    from whisper.model import AudioEncoder, TextDecoder, sinusoids

    with torch.device("meta"):
        encoder = AudioEncoder(dims.n_mels, dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_head, dims.n_audio_layer)
        decoder = TextDecoder(dims.n_vocab, dims.n_text_ctx, dims.n_text_state, dims.n_text_head, dims.n_text_layer)
    shapes = {f"encoder.{name}": tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    shapes |= {f"decoder.{name}": tuple(tensor.shape) for name, tensor in decoder.state_dict().items()}
    weights = {}
    for name, shape in shapes.items():
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
        if name == "encoder.positional_embedding":
            weight = sinusoids(*shape)
        else:
            mean, deviation = _distribution(name, shape)
            weight = torch.empty(shape).normal_(mean, deviation, generator=generator)
        weights[name] = weight.half()
    return weights


def _distribution(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """The mean and standard deviation of the tensor `name`."""
    if name == "decoder.ln.weight":
        return 3.0, 0.3
    if name.endswith("bias"):
        return 0.0, 0.05
    if len(shape) == 1:
        return 1.0, 0.1
    if name == "decoder.token_embedding.weight":
        return 0.0, shape[1] ** -0.5
    if name == "decoder.positional_embedding":
        return 0.0, 1.0
    fan_in = 1
    for size in shape[1:]:
        fan_in *= size
    gain = 1.4 if name.endswith(("query.weight", "key.weight")) else 1.0
    return 0.0, gain * fan_in**-0.5
