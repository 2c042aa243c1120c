"""Small models of openai-whisper with random weights."""

import copy
from functools import cache

import torch
import whisper.model
from whisper.model import Whisper

from max_whisper.backends.torch import TorchModel
from max_whisper.tokenizer import get_tokenizer


def speech_model(model: Whisper) -> TorchModel:
    """A copy of openai-whisper's model for our decoding: its hooks stay off the one that openai-whisper decodes."""
    return TorchModel(copy.deepcopy(model))


@cache
def random_whisper(n_vocab: int, seed: int, n_mels: int = 80) -> Whisper:
    """A small Whisper with random weights, drawn so that its text has timestamps, ends and pauses.

    Plain random weights would choose a timestamp or the end of the text once in ten thousand tokens. Here few text
    tokens have embeddings of any size, and the positions lean towards timestamps every few tokens and towards the end
    of the text after a while; audio and previous tokens decide the rest.
    """
    dims = whisper.model.ModelDimensions(n_mels, 1500, 64, 2, 1, n_vocab, 448, 64, 2, 2)
    model = Whisper(dims).eval()
    tokenizer = get_tokenizer(model.is_multilingual, num_languages=model.num_languages)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * scale

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(normal(*parameter.shape, scale=1.5 / parameter[0].numel() ** 0.5))
            elif not name.endswith("weight"):
                parameter.copy_(normal(*parameter.shape, scale=0.1))

        # Of random signs: with the embedding tied to the output, a token would only ever repeat itself otherwise.
        signs = normal(64).sign()
        model.decoder.ln.weight.copy_(signs)

        embedding = normal(n_vocab, 64, scale=0.1)
        spoken = torch.randint(0, tokenizer.eot, (300,), generator=generator)
        embedding[spoken] = normal(300, 64, scale=0.5)
        end, timestamp, silence = normal(3, 64)
        embedding[tokenizer.eot] = end
        embedding[tokenizer.no_speech] = silence * 1.5
        embedding[tokenizer.sot + 1 : tokenizer.translate] = normal(tokenizer.translate - tokenizer.sot - 1, 64)
        embedding[tokenizer.timestamp_begin :] = timestamp + normal(1501, 64, scale=0.2)
        model.decoder.token_embedding.weight.copy_(embedding)

        position = torch.arange(448)[:, None]
        model.decoder.positional_embedding.copy_(
            normal(448, 64, scale=0.3)
            + signs * timestamp * torch.sin(position * (2 * torch.pi / 7))
            + signs * end * ((position % 31) / 31)
        )
    return model
