"""PyTorch computes with one thread in this folder."""

from tests.decoding.torch_model import one_thread_of_torch

__all__ = ["one_thread_of_torch"]
