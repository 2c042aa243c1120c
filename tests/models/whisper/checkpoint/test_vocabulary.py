"""Embeddings with more or fewer rows than Whisper has tokens: which ids the special tokens have."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisper.tokenizer
from safetensors.numpy import load_file, save_file

from max_whisper.errors import CheckpointError, CheckpointWarning
from max_whisper.models.whisper.checkpoint import load_checkpoint, write_native
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.tokenizer import get_tokenizer

EMBEDDING = "model.decoder.embed_tokens.weight"
KINDS = {  # tokens, multilingual, languages, mel bins
    "english": (51864, False, 99, 80),
    "multilingual": (51865, True, 99, 80),
    "large-v3": (51866, True, 100, 128),
}
MORE_ROWS = [
    *(("multilingual", more) for more in (1, 2, 7, 39, 103, 135)),  # 7, 39, 103: multiples of 8, 64, 128
    *(("english", more) for more in (1, 2, 8, 104, 136)),
    *(("large-v3", more) for more in (1, 6, 102, 134)),
]

Resize = Callable[[str, int], Path]


def special_tokens(kind: str) -> dict[str, int]:
    """openai-whisper's special tokens of a vocabulary."""
    _, multilingual, num_languages, _ = KINDS[kind]
    encoding = whisper.tokenizer.get_tokenizer(multilingual, num_languages=num_languages).encoding
    return {token: encoding.encode_single_token(token) for token in encoding.special_tokens_set}


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, tuple[str, ...]], Path]:
    """A folder in which transformers has saved the tokenizer of a vocabulary, with tokens of its own at the end."""
    import transformers

    folders: dict[tuple[str, tuple[str, ...]], Path] = {}

    def save(kind: str, own: tuple[str, ...] = ()) -> Path:
        if (kind, own) not in folders:
            folder = folders[kind, own] = tmp_path_factory.mktemp("tokenizer")
            n_text = min(special_tokens(kind).values())
            tokenizer = transformers.WhisperTokenizer(vocab={f"text {id}": id for id in range(n_text)}, merges=[])
            special = special_tokens(kind)
            tokenizer.add_tokens(sorted(special, key=special.__getitem__), special_tokens=True)
            tokenizer.add_tokens(list(own))
            assert tokenizer.convert_tokens_to_ids("<|30.00|>") == KINDS[kind][0] - 1
            tokenizer.save_pretrained(folder)
        return folders[kind, own]

    return save


@pytest.fixture
def resized(huggingface_folder: Path, dims: ModelDimensions) -> Resize:
    """A Hugging Face folder whose embedding has so many rows, and none of the tokenizer's files."""

    def resize(kind: str, rows: int) -> Path:
        config = json.loads((huggingface_folder / "config.json").read_text())
        mels = KINDS[kind][3]
        tensors = load_file(huggingface_folder / "model.safetensors")
        random = np.random.default_rng(rows)
        tensors[EMBEDDING] = random.normal(size=(rows, dims.n_text_state)).astype(np.float16)
        convolution = tensors["model.encoder.conv1.weight"]
        tensors["model.encoder.conv1.weight"] = np.resize(convolution, (len(convolution), mels, 3))
        save_file(tensors, huggingface_folder / "model.safetensors")
        config |= {"vocab_size": rows, "num_mel_bins": mels}
        (huggingface_folder / "config.json").write_text(json.dumps(config))
        return huggingface_folder

    return resize


def state(folder: Path, kind: str) -> None:
    """Write the generation_config.json of a vocabulary."""
    settings = {"no_timestamps_token_id": special_tokens(kind)["<|notimestamps|>"], "alignment_heads": [[0, 1]]}
    (folder / "generation_config.json").write_text(json.dumps(settings))


def assert_vocabulary(folder: Path, kind: str) -> None:
    """The model in the folder has the special tokens of openai-whisper's vocabulary, and the rows of its tokens."""
    dims = load_checkpoint(folder).dims
    ours = get_tokenizer(dims.is_multilingual, num_languages=dims.num_languages)
    assert ours.special_tokens == special_tokens(kind)
    assert dims.n_vocab == KINDS[kind][0]
    rows = load_file(folder / "model.safetensors")[EMBEDDING][: dims.n_vocab]
    assert np.array_equal(load_checkpoint(folder).weights["decoder.token_embedding.weight"], rows.astype(np.float32))


@pytest.mark.parametrize(("kind", "more"), [*((kind, 0) for kind in KINDS), *MORE_ROWS])
def test_generation_config_tells_the_tokens(resized: Resize, kind: str, more: int) -> None:
    folder = resized(kind, KINDS[kind][0] + more)
    state(folder, kind)
    assert_vocabulary(folder, kind)


@pytest.mark.parametrize(
    ("kind", "more"), [("multilingual", 1), ("multilingual", 135), ("english", 8), ("large-v3", 6)]
)
def test_the_tokenizer_tells_the_tokens(
    resized: Resize, tokenizer_folder: Callable[..., Path], kind: str, more: int
) -> None:
    """As transformers saves it today."""
    folder = resized(kind, KINDS[kind][0] + more)
    for file in tokenizer_folder(kind).glob("*token*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    assert_vocabulary(folder, kind)


@pytest.mark.parametrize("name", ["added_tokens.json", "tokenizer_config.json", "tokenizer.json", "vocab.json"])
@pytest.mark.parametrize(("kind", "more"), [("multilingual", 1), ("english", 1), ("large-v3", 102)])
def test_each_file_of_a_tokenizer_tells_the_tokens(resized: Resize, kind: str, more: int, name: str) -> None:
    """As older versions saved them, one at a time."""
    ids = special_tokens(kind)
    contents: dict[str, dict[str, Any]] = {
        "tokenizer_config.json": {"added_tokens_decoder": {str(id): {"content": token} for token, id in ids.items()}},
        "tokenizer.json": {"added_tokens": [{"id": id, "content": token} for token, id in ids.items()]},
    }
    folder = resized(kind, KINDS[kind][0] + more)
    (folder / name).write_text(json.dumps(contents.get(name, ids)))
    assert_vocabulary(folder, kind)


def test_tokens_of_its_own_are_told_of(resized: Resize, tokenizer_folder: Callable[..., Path]) -> None:
    folder = resized("multilingual", 51865 + 7)
    for own, told in (
        (("concord",), "its own token 'concord' is never written"),
        (("<|uz-cyrl|>", "concord"), "its 2 own tokens, such as '<|uz-cyrl|>', are never written"),
    ):
        for file in tokenizer_folder("multilingual", own).glob("*token*.json"):
            (folder / file.name).write_bytes(file.read_bytes())
        with pytest.warns(CheckpointWarning) as caught:
            assert load_checkpoint(folder).dims.n_vocab == 51865
        assert [str(warning.message) for warning in caught] == [f"{folder}: {told}"]
        assert caught[0].filename == __file__


def test_where_the_files_differ_the_rows_decide(resized: Resize) -> None:
    """A generation_config.json is often that of the model that training began with."""
    folder = resized("multilingual", 51866)
    state(folder, "multilingual")
    (folder / "added_tokens.json").write_text(json.dumps(special_tokens("large-v3")))
    assert load_checkpoint(folder).dims.num_languages == 100
    folder = resized("multilingual", 51865)
    assert load_checkpoint(folder).dims.num_languages == 99
    folder = resized("multilingual", 51968)
    with pytest.raises(
        CheckpointError, match=r"is 50363 in generation_config.json and 50364 in added_tokens.json; keep"
    ):
        load_checkpoint(folder)


@pytest.mark.parametrize("rows", [50257, 50364, 50400, 51863])
@pytest.mark.parametrize("stated", [True, False])
def test_too_few_rows(resized: Resize, rows: int, stated: bool) -> None:
    """50364: cut to a tokenizer without timestamps. 50400: that, filled up."""
    folder = resized("multilingual", rows)
    if stated:
        state(folder, "multilingual")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert f"{folder}: its embedding has {rows} rows, too few for the " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "rows"), [("multilingual", 51864), ("large-v3", 51865), ("large-v3", 51864)])
def test_a_row_too_few_for_what_is_stated(resized: Resize, kind: str, rows: int) -> None:
    folder = resized(kind, rows)
    state(folder, kind)
    with pytest.raises(CheckpointError, match=rf"has {rows} rows, too few for the {KINDS[kind][0]} tokens"):
        load_checkpoint(folder)


@pytest.mark.parametrize(("kind", "rows"), [("multilingual", 51866), ("multilingual", 51872), ("large-v3", 51968)])
def test_what_is_missing_is_named(resized: Resize, kind: str, rows: int) -> None:
    folder = resized(kind, rows)
    with pytest.raises(CheckpointError, match=r"generation_config.json with no_timestamps_token_id is missing, or one"):
        load_checkpoint(folder)


@pytest.mark.parametrize("token", [50400, -1, "50363", [50363], 50363.0, True])
def test_another_tokenizer(resized: Resize, token: object) -> None:
    folder = resized("multilingual", 52000)
    (folder / "generation_config.json").write_text(json.dumps({"no_timestamps_token_id": token}))
    with pytest.raises(
        CheckpointError, match=r"generation_config.json: <\|notimestamps\|> is token .*; Whisper has it"
    ):
        load_checkpoint(folder)


@pytest.mark.parametrize("body", ["{", "[]"])
def test_a_tokenizer_that_cannot_be_read(resized: Resize, body: str) -> None:
    folder = resized("multilingual", 51866)
    (folder / "added_tokens.json").write_text(body)
    with pytest.raises(CheckpointError, match=r"added_tokens.json: (cannot be read as JSON|holds no JSON object)"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (51867, "n_vocab is 51867, and Whisper's vocabularies have 51864, 51865 or 51866 tokens; "),
        (52000, "n_vocab is 52000, "),
        (50400, "its embedding has 50400 rows, too few for the 51864 tokens "),
    ],
)
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_files_without_a_tokenizer(
    tmp_path: Path, dims: ModelDimensions, weights: dict[str, np.ndarray], rows: int, fault: str, kind: str
) -> None:
    dims = replace(dims, n_vocab=rows)
    weights = {**weights, "decoder.token_embedding.weight": np.zeros((rows, dims.n_text_state), np.float16)}
    path = tmp_path / f"resized.{kind}"
    if kind == "pt":
        state_dict = {name: torch.from_numpy(array) for name, array in weights.items()}
        torch.save({"dims": dims.to_dict(), "model_state_dict": state_dict}, path)
    else:
        write_native(path, weights, dims, name="resized")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: {fault}")
