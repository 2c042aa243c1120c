"""Small models in every published form. Each is of Whisper's true architecture and vocabulary, with random weights."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from whisper.model import ModelDimensions as ReferenceDimensions
from whisper.model import Whisper

from max_whisper.models.whisper.checkpoint import expected_shapes, write_native
from max_whisper.models.whisper.checkpoint.huggingface import huggingface_name
from max_whisper.models.whisper.dimensions import ModelDimensions
from tests.models.whisper.checkpoint.sizes import huggingface_sizes

SOURCE = Path(__file__).parents[4] / "max-whisper"

Arrays = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def cache(cache_folder: Path) -> Path:
    return cache_folder


@pytest.fixture(scope="session")
def dims() -> ModelDimensions:
    return ModelDimensions(
        n_mels=80,
        n_audio_ctx=20,
        n_audio_state=16,
        n_audio_head=2,
        n_audio_layer=2,
        n_vocab=51865,
        n_text_ctx=12,
        n_text_state=16,
        n_text_head=2,
        n_text_layer=1,
    )


@pytest.fixture(scope="session")
def build_reference() -> Callable[[ModelDimensions], Whisper]:
    """Makes openai-whisper's own model of given dimensions, with random weights."""

    def build(dims: ModelDimensions) -> Whisper:
        torch.manual_seed(7)
        model = Whisper(ReferenceDimensions(**dims.to_dict()))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.3)
        return model.eval()

    return build


@pytest.fixture(scope="session")
def weights(dims: ModelDimensions) -> Arrays:
    """float16 arrays of these dimensions."""
    random = np.random.default_rng(5)
    return {name: random.normal(size=shape).astype(np.float16) for name, shape in expected_shapes(dims).items()}


@pytest.fixture
def save_pt(tmp_path: Path) -> Callable[..., Path]:
    """Saves anything as PyTorch does, under `name`."""

    def save(content: Any, name: str = "model.pt") -> Path:
        path = tmp_path / name
        torch.save(content, path)
        return path

    return save


@pytest.fixture
def native_file(tmp_path: Path, dims: ModelDimensions, weights: Arrays) -> Path:
    """A checkpoint in max-whisper's own format, as the bundled model is."""
    path = tmp_path / "own.safetensors"
    write_native(path, weights, dims, name="own", alignment_heads=[(0, 1), (0, 0)])
    return path


@pytest.fixture
def huggingface_folder(tmp_path: Path, dims: ModelDimensions, weights: Arrays) -> Path:
    """A Hugging Face folder in float16, written without transformers."""

    folder = tmp_path / "folder"
    folder.mkdir()
    save_file(
        {f"model.{huggingface_name(name)}": array for name, array in weights.items()}, folder / "model.safetensors"
    )
    config = {
        "model_type": "whisper",
        **huggingface_sizes(dims),
        "activation_function": "gelu",
        "scale_embedding": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def run_python() -> Callable[..., list[str]]:
    """Runs code in a fresh interpreter and gives the lines that it prints; nothing may come on stderr."""

    def run(code: str, **environment: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, "PYTHONPATH": str(SOURCE), "no_proxy": "127.0.0.1", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return run
