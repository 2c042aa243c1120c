"""Scaled dot-product attention whose backward pass is fast in bfloat16 on a CPU.

PyTorch's flash attention for CPUs takes five times its forward pass to go backward. Here the same gradients come from
plain matrix products, which use the processor's bfloat16 units: for short windows with all scores at once, for long
ones head by head, so that the scores stay in the cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LONGEST_AT_ONCE = 700


def _with_subtrahend(matrix: Tensor, subtrahend: Tensor) -> Tensor:
    """[..., rows, d + 2] such that its product with `_with_ones(keys)` is `matrix @ keys - subtrahend`.

    The float32 `subtrahend` [..., rows, 1] becomes two bfloat16 columns, which together keep 16 bits of it.
    """
    high = subtrahend.to(matrix.dtype)
    low = (subtrahend - high.float()).to(matrix.dtype)
    return torch.cat([matrix, -high, -low], dim=-1)


def _with_ones(keys: Tensor) -> Tensor:
    return torch.cat([keys, keys.new_ones(*keys.shape[:-1], 2)], dim=-1)


class _HeadByHead(torch.autograd.Function):
    """Flash attention forward; backward from recomputed probabilities, one head at a time."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)[:2]
        ctx.save_for_backward(q, k, v, out, log_sum)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, out, log_sum = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        row_sum = (grad.float() * out.float()).sum(-1, keepdim=True)
        q_less = _with_subtrahend(q * scale, log_sum[..., None]).flatten(0, 1)
        grad_less = _with_subtrahend(grad, row_sum).flatten(0, 1)
        k_one, v_one = _with_ones(k).flatten(0, 1), _with_ones(v).flatten(0, 1)
        queries, keys, grads = q.flatten(0, 1), k.flatten(0, 1), grad.flatten(0, 1)
        dq, dk, dv = torch.empty_like(queries), torch.empty_like(keys), torch.empty_like(keys)
        for head in range(len(queries)):
            probs = torch.mm(q_less[head], k_one[head].t()).exp_()
            torch.mm(probs.t(), grads[head], out=dv[head])
            scores = torch.mm(grad_less[head], v_one[head].t()).mul_(probs)
            torch.mm(scores, keys[head], out=dq[head])
            torch.mm(scores.t(), queries[head], out=dk[head])
        return dq.mul_(scale).view_as(q), dk.mul_(scale).view_as(k), dv.view_as(v)


def attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for [batch, heads, length, d] tensors."""
    if not causal and k.shape[2] > LONGEST_AT_ONCE:
        return _HeadByHead.apply(q, k, v)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if causal:
        future = torch.full((q.shape[2], k.shape[2]), -torch.inf, dtype=q.dtype).triu(1)
        scores = scores + future
    return scores.softmax(-1) @ v
