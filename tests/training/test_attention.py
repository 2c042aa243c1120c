"""The fast attention against PyTorch's own, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training import attention as module
from training.attention import attention


def _gradients(out: Tensor, grad: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return [g.float() for g in torch.autograd.grad(out, inputs, grad.to(out.dtype))]


def _relative_error(actual: Tensor, expected: Tensor) -> float:
    difference = (actual.float() - expected.float()).norm() / expected.float().norm()
    return float(difference.detach())


@pytest.mark.parametrize("queries", [50, 90])
@pytest.mark.parametrize("head_by_head", [False, True])
def test_equals_pytorch(monkeypatch: pytest.MonkeyPatch, queries: int, head_by_head: bool) -> None:
    monkeypatch.setattr(module, "LONGEST_AT_ONCE", 0 if head_by_head else 1000)
    torch.manual_seed(0)
    shapes = [(2, 3, length, 64) for length in (queries, 90, 90)]
    exact = [torch.randn(shape, requires_grad=True) for shape in shapes]
    rounded = [x.detach().bfloat16().requires_grad_() for x in exact]
    grad = torch.randn(shapes[0])
    expected = functional.scaled_dot_product_attention(exact[0], exact[1], exact[2])
    actual = attention(rounded[0], rounded[1], rounded[2])
    assert _relative_error(actual, expected) < 0.02
    for ours, theirs in zip(_gradients(actual, grad, rounded), _gradients(expected, grad, exact), strict=True):
        assert _relative_error(ours, theirs) < 0.03


def test_causal_attention_does_not_see_the_future() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 7, 64) for _ in range(3))
    expected = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(attention(q, k, v, causal=True), expected)
