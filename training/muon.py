"""Muon: momentum whose matrices are made orthogonal before they are applied.

After Keller Jordan, https://kellerjordan.github.io/posts/muon/ (the Newton-Schulz coefficients are from there); the
step is scaled by 0.2 sqrt(max(rows, columns)) as in Liu et al., 'Muon is scalable for LLM training' (arXiv:2502.16982),
so that it moves a matrix about as far as Adam would at the same learning rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Replace the singular values of [batch, rows, columns] `matrices` by values near 1, in bfloat16."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return (x.transpose(1, 2) if tall else x).float()


class Muon(Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for 2-D parameters; equal shapes are stepped together."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.02,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Apply one update from the gradients; parameters without one stay."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                self._step_together(parameters, shape, group)

    def _step_together(self, parameters: list[Tensor], shape: torch.Size, group: dict[str, float]) -> None:
        momentum, lr = group["momentum"], group["lr"]
        updates = []
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            buffer = state["momentum"].lerp_(parameter.grad, 1 - momentum)
            updates.append(parameter.grad.lerp(buffer, momentum))
        scale = 0.2 * max(shape) ** 0.5 * lr
        for parameter, update in zip(parameters, orthogonalize(torch.stack(updates)), strict=True):
            parameter.mul_(1 - lr * group["weight_decay"]).add_(update, alpha=-scale)
