"""Whisper's vocabulary as the `tokenizer.json` that Hugging Face's libraries and faster-whisper read."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from max_whisper.models.whisper.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers


def hugging_face_tokenizer(tokenizer: Tokenizer) -> "tokenizers.Tokenizer":
    """The same vocabulary, token for token, as a byte-level BPE of the package `tokenizers`."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    ranks = tokenizer.encoding._mergeable_ranks
    vocabulary = {byte_text(token): rank for token, rank in ranks.items()}
    merges = [
        (byte_text(left), byte_text(right))
        for token in sorted(ranks, key=ranks.__getitem__)
        if len(token) > 1
        for left, right in [merged_pair(ranks, token)]
    ]
    # As tiktoken does, a word that is a token is taken whole, without merging it together.
    converted = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    converted.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    converted.decoder = decoders.ByteLevel()
    specials = sorted(tokenizer.special_tokens, key=tokenizer.special_tokens.__getitem__)
    converted.add_special_tokens([tokenizers.AddedToken(name, special=True, normalized=False) for name in specials])
    return converted


def merged_pair(ranks: Mapping[bytes, int], token: bytes) -> tuple[bytes, bytes]:
    """The two tokens that the merge of a token's own rank joins; those of lower ranks come before it."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, len(ranks)) for left, right in pairwise(parts)]
        place = min(range(len(pairs)), key=pairs.__getitem__)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    left, right = parts
    return left, right


def byte_text(token: bytes) -> str:
    """Bytes as GPT-2's vocabulary files write them: a printable character for each (openai/gpt-2, src/encoder.py)."""
    return "".join(map(_BYTE_CHARACTERS.__getitem__, token))


def _byte_characters() -> list[str]:
    """Latin-1's visible characters stand for themselves; the other bytes are those from U+0100 on, in their order."""
    characters, unseen = [], 0x100
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE:
            characters.append(chr(byte))
        else:
            characters.append(chr(unseen))
            unseen += 1
    return characters


_BYTE_CHARACTERS = _byte_characters()
