"""A Whisper whose weights repeat a phrase: a table of what follows what, written into its decoder by hand."""

import torch
import whisper.model
from whisper.model import Whisper

from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.tokenizer import get_tokenizer

PHRASE = [" the", " same", " thing", " again"]
WAY_OUT = [" until", " we", " went", " home"]

# Logits. From the phrase's end its beginning is likelier than the way out, 0.69 to 0.31; from its middle the way out is
# unlikely, and still likelier than everything else.
LIKELY, LESS_LIKELY, UNLIKELY, REST = 20.0, 19.2, 14.0, 0.0


def repeating_whisper(dims: ModelDimensions) -> Whisper:
    """The model: "the same thing again the same thing again ..." for any audio, until the way out is taken.

    Attention adds nothing. The first block's MLP has a unit for each token of the table, which recognizes the token and
    replaces it by a vector whose products with the embeddings are the logits of the next one.
    """
    generator = torch.Generator().manual_seed(0)
    model = Whisper(whisper.model.ModelDimensions(**dims.to_dict())).eval()
    tokenizer = get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages)
    words = [tokenizer.encode(word) for word in (*PHRASE, *WAY_OUT)]
    assert all(len(tokens) == 1 for tokens in words)
    ids = torch.tensor([tokenizer.timestamp_begin, *(tokens[0] for tokens in words), tokenizer.eot])

    n = len(ids)
    end = len(PHRASE)
    logits = torch.full((n - 1, n), REST)  # row i: of what follows token i; nothing follows the end of the text
    logits[1:end, end + 1] = UNLIKELY
    logits[range(n - 1), range(1, n)] = LIKELY
    logits[end, 1], logits[end, end + 1] = LIKELY, LESS_LIKELY

    width = dims.n_text_state
    with torch.no_grad():
        for block in model.decoder.blocks:
            for layer in (block.attn.out, block.cross_attn.out, block.mlp[0], block.mlp[2]):
                layer.weight.zero_()
                layer.bias.zero_()
        model.decoder.positional_embedding.zero_()
        embedding = torch.randn(dims.n_vocab, width, generator=generator) * 0.01
        known = torch.randn(n, width, generator=generator)
        known *= 3 / known.norm(dim=-1, keepdim=True)
        embedding[ids] = known
        embedding[tokenizer.timestamp_begin :] = known[0]
        model.decoder.token_embedding.weight.copy_(embedding)

        following = vectors_of(logits, known, generator)
        seen = torch.nn.functional.layer_norm(known, [width])[:-1]
        detect, _, answer = model.decoder.blocks[0].mlp
        detect.weight[: n - 1] = 40 * seen / width
        detect.bias[: n - 1] = -28
        recognized = torch.nn.functional.gelu(torch.tensor(12.0))
        answer.weight[:, : n - 1] = ((following - known[:-1]) / recognized).T
    return model


def vectors_of(logits: torch.Tensor, embeddings: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Vectors [m, width] of mean 0 and variance 1, which a layer norm leaves as they are, with these logits [m, n]."""
    width = embeddings.shape[1]
    constraints = torch.cat([embeddings, torch.ones(1, width)])
    targets = torch.cat([logits, torch.zeros(len(logits), 1)], dim=1)
    inverse = torch.linalg.pinv(constraints)
    least = targets @ inverse.T
    free = torch.randn(len(logits), width, generator=generator)
    free -= free @ constraints.T @ inverse.T
    missing = (width - least.square().sum(dim=-1, keepdim=True)).sqrt()
    return least + missing * free / free.norm(dim=-1, keepdim=True)
