"""Causal attention. On CPUs, training uses one written for histories: all of a batch's scores in a few large products.

torch's own CPU kernel multiplies tile by tile, too small for the bf16 units: 3 to 20 × slower there at 20 … 200 events.

B batch, H heads, L history length, C width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

# Longer histories go to torch's kernel, whose memory grows with L, not with its square.
_LONGEST = 512
_FAR = -1e9


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / √C, each position over itself and those before it) v. All [B, H, L, C]."""
    if q.device.type != "cpu" or not q.requires_grad or q.shape[2] > _LONGEST:
        return scaled_dot_product_attention(q, k, v, is_causal=True)
    mixed: Tensor = _CausalAttention.apply(q, k, v)  # type: ignore[no-untyped-call]
    return mixed


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        B, H, L, C = q.shape
        q, k, v = (part.reshape(B * H, L, C) for part in (q, k, v))
        mask = torch.full((L, L), _FAR, dtype=q.dtype).triu_(1)
        shares = torch.softmax(torch.baddbmm(mask, q, k.transpose(1, 2), alpha=C**-0.5), -1)
        ctx.save_for_backward(q, k, v, shares)
        return torch.bmm(shares, v).view(B, H, L, C)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, shares = ctx.saved_tensors
        shape, C = gradients[0].shape, q.shape[-1]
        out = gradients[0].reshape(q.shape)
        of_v = torch.bmm(shares.transpose(1, 2), out)
        of_shares = torch.bmm(out, v.transpose(1, 2))
        of_scores = torch._softmax_backward_data(of_shares, shares, -1, shares.dtype).mul_(C**-0.5)  # noqa: SLF001
        of_q, of_k = torch.bmm(of_scores, k), torch.bmm(of_scores.transpose(1, 2), q)
        return of_q.view(shape), of_k.view(shape), of_v.view(shape)
