"""Small models of openai-whisper with random weights."""

import copy
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from whisper.model import Whisper

from max_whisper.backends.reference import TorchModel
from max_whisper.diagnostics.random_models import speaking_whisper


@pytest.fixture(scope="module", autouse=True)
def one_thread_of_torch() -> Iterator[None]:
    """For tensors as small as these, threads that wait for each other cost more than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def speech_model(model: Whisper) -> TorchModel:
    """A copy of openai-whisper's model for our decoding: its hooks stay off the one that openai-whisper decodes."""
    return TorchModel(copy.deepcopy(model))


@cache
def random_whisper(n_vocab: int, seed: int, n_mels: int = 80) -> Whisper:
    """A small Whisper whose text has timestamps, ends and pauses; see `speaking_whisper`."""
    return speaking_whisper(n_vocab, seed, n_mels)
