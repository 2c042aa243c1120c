"""Checkpoints with random weights: every official size in its true shape, and small ones that speak.

Speed and parity depend on a model's shapes, not on what it has learnt, so a seeded random checkpoint stands in for a
published one wherever the text does not matter. Where decoding is to be compared, the text needs timestamps, ends and
pauses: the weights of `speaking_whisper` are drawn so that it has them.
"""

import zlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from max_whisper.errors import OptionError
from max_whisper.models.whisper.checkpoint.official import OFFICIAL_MODELS
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.tokenizer import get_tokenizer
from max_whisper.runtime.cache_folder import cache_dir
from max_whisper.runtime.files import replacing_in_cache

if TYPE_CHECKING:
    import torch
    from whisper.model import Whisper

# Tokens of the vocabulary, and a seed with which text, times, languages and silence differ between recordings.
SPEAKING = {"speaking-multilingual": (51865, 5), "speaking-english": (51864, 46)}
SPOKEN = 300  # text tokens that a speaking model says
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
        write_random_checkpoint(path, dims, seed)
    return path


def write_random_checkpoint(path: Path, dims: ModelDimensions, seed: int = 0) -> None:
    """Write a random checkpoint of any `dims` to `path`, which appears only when it is whole."""
    _save(path, dims, random_weights(dims, seed))


def speaking_checkpoint(name: str) -> Path:
    """A `.pt` file in openai-whisper's layout with the float16 weights of `speaking_whisper`, made once and kept.

    Returns the file's path in the cache; raises OptionError for a name that is not one of `SPEAKING`.
    """
    if name not in SPEAKING:
        raise OptionError(f"no speaking model is named {name!r}: choose one of {', '.join(SPEAKING)}")
    n_vocab, seed = SPEAKING[name]
    path = cache_dir() / "random" / f"{name}-seed-{seed}-recipe-{RECIPE}.pt"
    if not path.exists():
        model = speaking_whisper(n_vocab, seed)
        weights = {tensor: weight.half() for tensor, weight in model.state_dict().items()}
        _save(path, ModelDimensions(**asdict(model.dims)), weights)
    return path


def _save(path: Path, dims: ModelDimensions, weights: "dict[str, torch.Tensor]") -> None:
    import torch

    checkpoint = {"dims": dims.to_dict(), "model_state_dict": weights}
    with replacing_in_cache(path) as unfinished:
        torch.save(checkpoint, unfinished)


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


def speaking_whisper(n_vocab: int, seed: int, n_mels: int = 80) -> "Whisper":
    """A small Whisper with random float32 weights, drawn so that its text has timestamps, ends and pauses.

    Plain random weights would choose a timestamp or the end of the text once in ten thousand tokens. Here few text
    tokens have embeddings of any size, and the positions lean towards timestamps every few tokens and towards the end
    of the text after a while; audio and previous tokens decide the rest.
    """
    import torch
    import whisper.model

    dims = whisper.model.ModelDimensions(n_mels, 1500, 64, 2, 1, n_vocab, 448, 64, 2, 2)
    model = whisper.model.Whisper(dims).eval()
    tokenizer = get_tokenizer(model.is_multilingual, num_languages=model.num_languages)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * scale

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                scale = 3.0 if name.endswith("cross_attn.out.weight") else 1.5  # more of the audio than of the past
                parameter.copy_(normal(*parameter.shape, scale=scale / parameter[0].numel() ** 0.5))
            elif not name.endswith("weight"):
                parameter.copy_(normal(*parameter.shape, scale=0.1))

        # Of random signs: with the embedding tied to the output, a token would only ever repeat itself otherwise.
        signs = normal(64).sign()
        model.decoder.ln.weight.copy_(signs)

        embedding = normal(n_vocab, 64, scale=0.1)
        spoken = torch.randint(0, tokenizer.eot, (SPOKEN,), generator=generator)
        embedding[spoken] = normal(SPOKEN, 64, scale=0.5)
        end, timestamp, silence = normal(3, 64)
        embedding[tokenizer.eot] = end
        embedding[tokenizer.no_speech] = silence * 1.5
        # Of a size at which languages are told apart, and none of their tokens comes into the text.
        n_languages = tokenizer.translate - tokenizer.sot - 1
        embedding[tokenizer.sot + 1 : tokenizer.translate] = normal(n_languages, 64, scale=0.3)
        embedding[tokenizer.timestamp_begin :] = timestamp + normal(1501, 64, scale=0.2)
        model.decoder.token_embedding.weight.copy_(embedding)

        position = torch.arange(448)[:, None]
        model.decoder.positional_embedding.copy_(
            normal(448, 64, scale=0.3)
            + signs * timestamp * torch.sin(position * (2 * torch.pi / 7))
            + signs * end * ((position % 31) / 31)
        )
    return model
