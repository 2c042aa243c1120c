"""Repository ids: the Hugging Face Hub's own library against a small hub on this machine."""

import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from max_whisper.errors import CheckpointError
from max_whisper.models.whisper.checkpoint import load_checkpoint

COMMIT = "a" * 40
FETCHING = "fetching {} from the Hugging Face Hub"

LOAD = """
import sys
from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.errors import CheckpointError

for model in {models}:
    try:
        checkpoint = load_checkpoint(model, lambda step: print(step.message))
        print(checkpoint.name, len(checkpoint.weights), "torch" in sys.modules)
    except CheckpointError as error:
        print(error)
"""


class Hub(ThreadingHTTPServer):
    """Answers, for one repository, me/small, what the Hub answers: its commit, its files, their contents."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.folder = folder
        self.served: set[str] = set()


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        files = list(self.server.folder.iterdir())
        if "/me/small" not in self.path:
            self.answer(b"", 404, {"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in self.path:
            tree = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "b" * 40} for f in files]
            self.answer(json.dumps(tree).encode())
        elif "/api/" in self.path:
            about = {"id": "me/small", "sha": COMMIT, "siblings": [{"rfilename": f.name} for f in files]}
            self.answer(json.dumps(about).encode())
        else:
            file = self.server.folder / self.path.split("/")[-1]
            self.server.served.add(file.name)
            body = file.read_bytes()
            self.answer(body, 200, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET  # noqa: N815

    def answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(huggingface_folder: Path) -> Iterator[Hub]:
    (huggingface_folder / "pytorch_model.bin").write_bytes(b"the same weights once more")
    (huggingface_folder / "model.fp32-00001-of-00001.safetensors").write_bytes(b"and again")
    with Hub(huggingface_folder) as hub:
        threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield hub
        hub.shutdown()


def hub_environment(hub: Hub, folder: Path) -> dict[str, str]:
    """What leads the hub's library to our hub, with a cache in `folder`."""
    return {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
    }


def test_repositories_of_the_hub(
    hub: Hub, weights: dict[str, np.ndarray], run_python: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Fetched, refused, and with the hub gone: kept, out of reach."""
    pytest.importorskip("huggingface_hub")
    environment = hub_environment(hub, tmp_path)
    loaded = f"me/small {len(weights)} False"
    assert run_python(LOAD.format(models=["me/small", "you/none"]), **environment) == [
        FETCHING.format("me/small"),
        loaded,
        FETCHING.format("you/none"),
        "you/none: the Hugging Face Hub has no such model, or shows it only after a login; check the name,"
        " or run hf auth login",
    ]
    assert hub.served == {"config.json", "model.safetensors"}

    hub.shutdown()
    hub.server_close()
    *kept, failed = run_python(LOAD.format(models=["me/small", "me/other"]), **environment)
    assert kept == [FETCHING.format("me/small"), loaded, FETCHING.format("me/other")]
    assert failed.startswith("me/other: cannot be fetched from the Hugging Face Hub (")
    assert failed.endswith("); check the network, or give the path of a downloaded folder")


def test_a_repository_without_safetensors(
    hub: Hub, huggingface_folder: Path, run_python: Callable[..., list[str]], tmp_path: Path
) -> None:
    """`pytorch_model.bin` is fetched there, and only there; with the hub gone it is found where it was kept."""
    pytest.importorskip("huggingface_hub")
    tensors = load_file(huggingface_folder / "model.safetensors")
    torch.save({name: torch.from_numpy(array) for name, array in tensors.items()}, hub.folder / "pytorch_model.bin")
    (huggingface_folder / "model.safetensors").unlink()
    environment = hub_environment(hub, tmp_path)
    expected = [FETCHING.format("me/small"), f"me/small {len(tensors)} False"]
    assert run_python(LOAD.format(models=["me/small"]), **environment) == expected
    assert hub.served == {"config.json", "pytorch_model.bin"}

    hub.shutdown()
    hub.server_close()
    assert run_python(LOAD.format(models=["me/small"]), **environment) == expected


def test_the_tokenizer_is_fetched_where_it_is_needed(
    hub: Hub, huggingface_folder: Path, run_python: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Where the rows are more than the settings tell of; and nothing is fetched twice."""
    pytest.importorskip("huggingface_hub")
    tensors = load_file(huggingface_folder / "model.safetensors")
    name = "model.decoder.embed_tokens.weight"
    tensors[name] = np.concatenate([tensors[name], np.ones((103, tensors[name].shape[1]), np.float16)])
    save_file(tensors, huggingface_folder / "model.safetensors")
    config = json.loads((huggingface_folder / "config.json").read_text())
    (huggingface_folder / "config.json").write_text(json.dumps({**config, "vocab_size": 51865 + 103}))
    (huggingface_folder / "added_tokens.json").write_text(json.dumps({"<|notimestamps|>": 50363}))
    (huggingface_folder / "tokenizer.model").write_text("not asked for")
    expected = [FETCHING.format("me/small"), f"me/small {len(tensors)} False"]
    assert run_python(LOAD.format(models=["me/small"]), **hub_environment(hub, tmp_path)) == expected
    assert hub.served == {"config.json", "model.safetensors", "added_tokens.json"}
    hub.served.clear()
    assert run_python(LOAD.format(models=["me/small"]), **hub_environment(hub, tmp_path)) == expected
    assert hub.served == set()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"vocab_size": 50400}, "its embedding has 50400 rows, too few for "),
        ({"vocab_size": 51872}, "generation_config.json with no_timestamps_token_id is missing"),
        ({"model_type": "wav2vec2"}, "its model_type is 'wav2vec2', not 'whisper'"),
    ],
)
def test_weights_are_fetched_last(
    hub: Hub,
    huggingface_folder: Path,
    run_python: Callable[..., list[str]],
    tmp_path: Path,
    change: dict[str, Any],
    told: str,
) -> None:
    pytest.importorskip("huggingface_hub")
    config = json.loads((huggingface_folder / "config.json").read_text())
    (huggingface_folder / "config.json").write_text(json.dumps({**config, **change}))
    _, error = run_python(LOAD.format(models=["me/small"]), **hub_environment(hub, tmp_path))
    assert told in error
    assert hub.served == {"config.json"}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"config.json": {"lang_ids": []}, "model.bin": {}, "vocabulary.json": {}}, "CTranslate2 (faster-whisper);"),
        ({"ggml-tiny.bin": {}}, "whisper.cpp (ggml); give the original: tiny"),
        ({"config.json": {"model_type": "whisper"}, "encoder.onnx": {}}, "ONNX; give the original"),
        ({"config.json": {"n_mels": 80}, "model.safetensors": {}}, "MLX; give the original"),
        (
            {"adapter_config.json": {"base_model_name_or_path": "openai/whisper-small"}, "adapter_model.bin": {}},
            "an adapter (PEFT, LoRA) for openai/whisper-small, not a whole model",
        ),
    ],
)
def test_models_of_other_programs(
    hub: Hub, run_python: Callable[..., list[str]], tmp_path: Path, files: dict[str, object], told: str
) -> None:
    """Told by the list of their files, and none of the large ones is fetched."""
    pytest.importorskip("huggingface_hub")
    for file in hub.folder.iterdir():
        file.unlink()
    for name, content in {".gitattributes": {}, **files}.items():
        (hub.folder / name).write_text(json.dumps(content))
    _, error = run_python(LOAD.format(models=["me/small"]), **hub_environment(hub, tmp_path))
    assert error.startswith("me/small: a")
    assert told in error
    assert hub.served <= {".gitattributes", "config.json", "adapter_config.json"}


def test_without_the_hubs_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"^me/small: .*; pip install huggingface_hub, or give the path"):
        load_checkpoint("me/small")
