"""A model of two layers in the shapes of `tiny`, compiled once, and its reference."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from max_whisper.backends.fused import FusedModel
from max_whisper.backends.max_graph import MaxGraphModel
from max_whisper.backends.reference import TorchModel, reference_model
from max_whisper.diagnostics.random_models import random_checkpoint
from max_whisper.models.whisper.checkpoint import Checkpoint, load_checkpoint
from max_whisper.runtime.devices import select_device


@pytest.fixture(scope="session")
def tiny() -> Checkpoint:
    """Two layers in the shapes of `tiny`."""
    return load_checkpoint(random_checkpoint("tiny", layers=2))


@pytest.fixture(scope="session")
def compiled_tiny(tiny: Checkpoint) -> MaxGraphModel:
    return MaxGraphModel(tiny, select_device("cpu"))


@pytest.fixture(scope="session", params=["int8", "float32"])
def fused_tiny(request: pytest.FixtureRequest, tiny: Checkpoint) -> FusedModel:
    return FusedModel(tiny, select_device("cpu"), request.param)


@pytest.fixture(scope="session")
def reference_tiny(tiny: Checkpoint) -> TorchModel:
    return TorchModel(reference_model(tiny, torch.device("cpu")))


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """Makes log-mel windows of noise."""

    def make(batch: int, n_mels: int = 80) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((batch, n_mels, 3000), dtype=np.float32)

    return make
