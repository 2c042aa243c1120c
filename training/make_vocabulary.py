"""Write the package's two vocabularies from those that openai-whisper publishes.

    python -m training.make_vocabulary

openai-whisper's files, `whisper/assets/{gpt2,multilingual}.tiktoken`, are text: a line for each token, with the token's
bytes in base64 and its rank. Ours hold the same tokens in the order of their ranks, so that no rank is written and a
load takes 12 ms (`max_whisper.models.whisper.tokenizer` reads them):

    uint32  n, little-endian
    uint8   [n] lengths of the tokens in bytes
    uint8   [sum of the lengths] the tokens' bytes, one token after the other

They are not compressed: a wheel and Git compress them, and compressed bytes would depend on the version of zlib.
"""

from __future__ import annotations

import argparse
import base64
from collections.abc import Sequence
from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "max-whisper/max_whisper/assets"
NAMES = ("gpt2", "multilingual")


def read_tiktoken(content: bytes) -> list[bytes]:
    """The tokens of a `.tiktoken` file in the order of their ranks. Raises ValueError where a rank is missing."""
    ranks = {int(rank): base64.b64decode(token) for token, rank in (line.split() for line in content.splitlines())}
    if sorted(ranks) != list(range(len(ranks))):
        raise ValueError("the ranks are not 0, 1, 2 and so on")
    return [ranks[rank] for rank in range(len(ranks))]


def vocabulary_bytes(tokens: Sequence[bytes]) -> bytes:
    """The content of a vocabulary file. Raises ValueError where a token is longer than 255 bytes."""
    return len(tokens).to_bytes(4, "little") + bytes(map(len, tokens)) + b"".join(tokens)


def published_folder() -> Path:
    """Where the installed openai-whisper keeps its vocabularies."""
    import whisper

    return Path(whisper.__file__).parent / "assets"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, help="folder of the .tiktoken files; default: openai-whisper's")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder of the files to write")
    arguments = parser.parse_args()
    published = arguments.published or published_folder()
    for name in NAMES:
        tokens = read_tiktoken((published / f"{name}.tiktoken").read_bytes())
        path = arguments.out / f"{name}.vocabulary"
        path.write_bytes(vocabulary_bytes(tokens))
        print(f"{path}: {len(tokens)} tokens, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
