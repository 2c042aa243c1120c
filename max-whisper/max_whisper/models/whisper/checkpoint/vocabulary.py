"""Which of Whisper's vocabularies a model has, where its embedding has rows for more tokens than that.

Whisper has three vocabularies. In each, <|notimestamps|> is followed by the 1501 timestamps, which are the last tokens:
its id tells the three apart. Fine-tuned models often have more rows: tokens were added, or the rows were filled up to a
multiple of 8, 64 or 128. openai-whisper reckons the number of languages from the number of rows, which gives every
special token another id then; transformers takes the ids from files beside the weights, as is done here.

Rows behind the last timestamp are left out as the model is loaded. So they are never chosen, in no search and on no
device, and take no part in a softmax: all probabilities are those of the model before its rows were added.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError, CheckpointWarning, warn
from max_whisper.models.files.json_file import read_json_object
from max_whisper.models.whisper.dimensions import ENGLISH, LARGE_V3, MULTILINGUAL, ModelDimensions

SETTINGS = "generation_config.json"
TOKENIZER_FILES = ("added_tokens.json", "tokenizer_config.json", "tokenizer.json", "vocab.json")

_SIZES = {50362: ENGLISH, 50363: MULTILINGUAL, 50364: LARGE_V3}  # by the id of <|notimestamps|>
_KNOWN = "50362 in English-only vocabularies, 50363 in multilingual ones, 50364 from large-v3 on"


def check_vocabulary(source: str, dims: ModelDimensions) -> None:
    """Raise CheckpointError, naming `source`, for a file without a tokenizer whose size is none of Whisper's."""
    if dims.n_vocab in (ENGLISH, MULTILINGUAL, LARGE_V3):
        return
    if dims.n_vocab < ENGLISH:
        raise CheckpointError(f"{source}: {_too_few(dims.n_vocab, ENGLISH)}")
    raise CheckpointError(
        f"{source}: n_vocab is {dims.n_vocab}, and Whisper's vocabularies have {ENGLISH}, {MULTILINGUAL} or {LARGE_V3}"
        " tokens; which of its rows are tokens is not in the file: give the Hugging Face folder with its tokenizer, or"
        " save the embedding without the rows that were added"
    )


def needs_tokenizer(folder: Path, dims: ModelDimensions) -> bool:
    """Whether the ids of a Hugging Face folder's tokens cannot be told without the files of its tokenizer."""
    return _size_of(_read(folder / SETTINGS).get("no_timestamps_token_id")) != dims.n_vocab


def folder_vocabulary(folder: Path, dims: ModelDimensions) -> int:
    """How many of a Hugging Face folder's dims.n_vocab rows are tokens of Whisper.

    The id of <|notimestamps|> decides: that of `generation_config.json`, or of the tokenizer's files. Where they
    differ, the one that needs just the rows that there are is right. Without any, a size that is Whisper's own decides.

    Raises CheckpointError where the rows are too few, where the ids are not Whisper's, and where files that would tell
    them are missing.
    """
    if not needs_tokenizer(folder, dims):
        return dims.n_vocab
    stated = dict(_stated(folder))  # the id of <|notimestamps|>, by the file that says so
    if not stated:
        return _usual_size(folder, dims)
    for name, token in stated.items():
        if _size_of(token) is None:
            raise CheckpointError(
                f"{folder / name}: <|notimestamps|> is token {one_line(repr(token))}; Whisper has it at {_KNOWN}:"
                " models with another tokenizer do not load"
            )
    sizes = {size for token in stated.values() if (size := _size_of(token)) is not None}
    fitting = {size for size in sizes if size <= dims.n_vocab}
    if not fitting:
        raise CheckpointError(f"{folder}: {_too_few(dims.n_vocab, min(sizes))}")
    if len(fitting) > 1 and dims.n_vocab not in fitting:
        ids = " and ".join(f"{token} in {name}" for name, token in stated.items())
        raise CheckpointError(
            f"{folder}: <|notimestamps|> is {ids}; keep the one with which the model was trained, and delete the other"
        )
    return dims.n_vocab if dims.n_vocab in fitting else fitting.pop()


def warn_of_own_tokens(folder: Path, size: int, rows: int) -> None:
    """Warn CheckpointWarning where the tokenizer of a folder has tokens of its own, from `size` on."""
    if size == rows:
        return
    own: dict[int, str] = {}
    for name in TOKENIZER_FILES:
        ids = _token_ids(folder, name)
        own.update((token, text) for text, token in ids.items() if isinstance(token, int) and size <= token < rows)
    if own:
        first = repr(one_line(own[min(own)]))
        tokens = f"its {len(own)} own tokens, such as {first}, are" if len(own) > 1 else f"its own token {first} is"
        warn(f"{folder}: {tokens} never written", CheckpointWarning)


def _usual_size(folder: Path, dims: ModelDimensions) -> int:
    """The number of rows, where it is Whisper's own. One more than usual is large-v3's only with 128 mel bins."""
    if dims.n_vocab < ENGLISH:
        raise CheckpointError(f"{folder}: {_too_few(dims.n_vocab, ENGLISH)}")
    if dims.n_vocab in (ENGLISH, MULTILINGUAL) or (dims.n_vocab == LARGE_V3 and dims.n_mels == 128):
        return dims.n_vocab
    raise CheckpointError(
        f"{folder}: vocab_size is {dims.n_vocab}, and which of them are Whisper's tokens is not known: {SETTINGS} with"
        f" no_timestamps_token_id is missing, or one of the tokenizer's {', '.join(TOKENIZER_FILES)}; put it beside the"
        " weights"
    )


def _too_few(rows: int, size: int) -> str:
    return (
        f"its embedding has {rows} rows, too few for the {size} tokens of its vocabulary: it was cut to a tokenizer"
        " without timestamps; train or save it again without resize_token_embeddings"
    )


def _size_of(token: object) -> int | None:
    """The size of the vocabulary in which <|notimestamps|> has that id."""
    return _SIZES.get(token) if isinstance(token, int) else None


def _stated(folder: Path) -> Iterator[tuple[str, object]]:
    """The id of <|notimestamps|> in `generation_config.json` and in the first of the tokenizer's files that has it."""
    token: object = _read(folder / SETTINGS).get("no_timestamps_token_id")
    if token is not None:
        yield SETTINGS, token
    for name in TOKENIZER_FILES:
        if "<|notimestamps|>" in (ids := _token_ids(folder, name)):
            yield name, ids["<|notimestamps|>"]
            return


def _token_ids(folder: Path, name: str) -> dict[str, Any]:
    """The ids of tokens by name in one of TOKENIZER_FILES; of the large ones of those that were added alone."""
    content = _read(folder / name)
    if name == "tokenizer_config.json":
        entries = content.get("added_tokens_decoder")
        pairs = entries.items() if isinstance(entries, dict) else ()
        return {
            str(entry.get("content")): int(token)
            for token, entry in pairs
            if isinstance(entry, dict) and str(token).isdecimal()
        }
    if name == "tokenizer.json":
        added = content.get("added_tokens")
        listed = added if isinstance(added, list) else ()
        return {str(entry.get("content")): entry.get("id") for entry in listed if isinstance(entry, dict)}
    return content


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is no such file."""
    return read_json_object(path) or {}
