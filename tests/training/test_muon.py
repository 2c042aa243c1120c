"""Muon: orthogonal steps that go downhill."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from training.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(3, 16, 48), (3, 48, 16), (1, 24, 24)])
def test_singular_values_come_near_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_step_has_the_size_that_it_should() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(32, 64))
    weight.grad = torch.randn(32, 64) * 1e-4
    Muon([weight], lr=0.01).step()
    rms = float(weight.detach().pow(2).mean().sqrt())
    assert rms == pytest.approx(0.01 * 0.2, rel=0.25)


def test_fits_a_linear_map() -> None:
    torch.manual_seed(0)
    target, inputs = torch.randn(8, 8), torch.randn(200, 8)
    weight = torch.nn.Parameter(torch.zeros(8, 8))
    optimizer = Muon([weight], lr=0.05, weight_decay=0.0)
    first = None
    for _ in range(200):
        loss = (inputs @ (weight - target)).pow(2).mean()
        first = loss.item() if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert first is not None
    assert loss.item() < 0.02 * first


def test_state_survives_saving() -> None:
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.ones(4, 4)) for _ in range(2)]
    optimizers = [Muon([weight], lr=0.1) for weight in weights]
    gradients = [torch.randn(4, 4) for _ in range(3)]
    weights[0].grad = gradients[0]
    optimizers[0].step()
    weights[1].data.copy_(weights[0].data)
    optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
    for gradient in gradients[1:]:
        for weight, optimizer in zip(weights, optimizers, strict=True):
            weight.grad = gradient
            optimizer.step()
    torch.testing.assert_close(weights[0], weights[1])
