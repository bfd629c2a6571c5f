"""Causal attention over histories, with or without a bias, as softmax or pointwise.

On CPUs, training uses kernels written for histories: all of a batch's scores in a few large products. torch's own CPU
kernel multiplies tile by tile, too small for the bf16 units: 3 to 20 × slower there at 20 … 200 events.

B batch, H heads, L history length, C width of a head, T time buckets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention, silu

# Longer histories go to torch's kernel, whose memory grows with L, not with its square.
_LONGEST = 512
_FAR = -1e9


@dataclass(frozen=True, slots=True)
class Bias:
    """What is added to the scores: `position` [H, L, L], and `times` [T, H] looked up at `buckets` int32 [B, L, L].

    Either part may be None. For one query a history, the last position's, the shapes are [H, B, L] and [B, L].
    """

    position: Tensor | None = None
    times: Tensor | None = None
    buckets: Tensor | None = None


NO_BIAS = Bias()


def causal_attention(q: Tensor, k: Tensor, v: Tensor, bias: Bias = NO_BIAS, *, pointwise: bool = False) -> Tensor:
    """Each position's mixture of v over itself and the ones before it; all [B, H, L, C].

    softmax(q kᵀ / √C + bias) v, or pointwise silu(q kᵀ / √C + bias) v / n with n the positions seen (Zhai et al. 2024,
    eq. 3, whose n is the longest history's: the norm after it makes them equal).
    """
    plain = bias.position is None and bias.times is None and not pointwise
    if q.device.type == "cpu" and q.requires_grad and q.shape[2] <= _LONGEST:
        mixed: Tensor = _CausalAttention.apply(q, k, v, bias.position, bias.times, bias.buckets, pointwise)  # type: ignore[no-untyped-call]
        return mixed
    if plain:
        return scaled_dot_product_attention(q, k, v, is_causal=True)
    L, C = q.shape[-2:]
    later = torch.full((L, L), _FAR, dtype=q.dtype, device=q.device).triu_(1)
    scores: Tensor = (q * C**-0.5) @ k.transpose(-1, -2) + later
    if bias.position is not None:
        scores = scores + bias.position
    if bias.times is not None and bias.buckets is not None:
        scores = scores + torch.nn.functional.embedding(bias.buckets, bias.times).permute(0, 3, 1, 2)
    shares = silu(scores) / _seen(q)[:, None] if pointwise else scores.softmax(-1)
    return shares @ v


def last_attention(
    q: Tensor, k: Tensor, v: Tensor, lengths: Tensor, bias: Bias = NO_BIAS, *, pointwise: bool
) -> Tensor:
    """The same for one query a history: q [B, H, 1, C] at the last of `lengths` [B] real positions -> [B, H, 1, C]."""
    scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # [B, H, 1, L]
    if bias.position is not None:
        scores = scores + bias.position.transpose(0, 1)[:, :, None]
    if bias.times is not None and bias.buckets is not None:
        scores = scores + torch.nn.functional.embedding(bias.buckets, bias.times).transpose(1, 2)[:, :, None]
    padding = torch.arange(k.shape[2], device=q.device) >= lengths[:, None]
    scores = scores.masked_fill(padding[:, None, None], _FAR)
    shares = silu(scores) / lengths[:, None, None, None].to(v.dtype) if pointwise else scores.softmax(-1)
    return shares @ v


def _seen(like: Tensor) -> Tensor:
    return torch.arange(1, like.shape[2] + 1, dtype=like.dtype, device=like.device)


class _CausalAttention(torch.autograd.Function):
    """Keeps the shares (softmax) or the scores (pointwise), and works the gradient out in large products."""

    @staticmethod
    def forward(  # noqa: PLR0917  # as apply passes them
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        position: Tensor | None,
        times: Tensor | None,
        buckets: Tensor | None,
        pointwise: bool,
    ) -> Tensor:
        B, H, L, C = q.shape
        q, k, v = (part.reshape(B * H, L, C) for part in (q, k, v))
        base = torch.full((L, L), _FAR, dtype=q.dtype).triu_(1)
        if position is not None:
            base = (base + position).repeat(B, 1, 1)  # [B H, L, L]
        scores = torch.baddbmm(base, q, k.transpose(1, 2), alpha=C**-0.5)
        if times is not None and buckets is not None:
            _add_times(scores.view(B, H, L, L), times, buckets)
        shares = silu(scores) if pointwise else torch.softmax(scores, -1)
        ctx.save_for_backward(q, k, v, shares if not pointwise else scores, times, buckets)
        ctx.pointwise, ctx.has_position = pointwise, position is not None
        mixed = torch.bmm(shares, v).view(B, H, L, C)
        return mixed.div_(_seen(mixed)[:, None]) if pointwise else mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, kept, times, buckets = ctx.saved_tensors
        (B, H, L, C) = shape = gradients[0].shape
        out = gradients[0] / _seen(gradients[0])[:, None] if ctx.pointwise else gradients[0]
        out = out.reshape(q.shape)
        of_shares = torch.bmm(out, v.transpose(1, 2))
        if ctx.pointwise:
            shares = silu(kept)
            of_scores = torch.ops.aten.silu_backward(of_shares, kept)
        else:
            shares = kept
            of_scores = torch._softmax_backward_data(of_shares, shares, -1, shares.dtype)  # noqa: SLF001
        of_v = torch.bmm(shares.transpose(1, 2), out)
        of_position = of_scores.view(B, H, L, L).sum(0) if ctx.has_position else None
        of_times = None if times is None else _times_gradient(of_scores.view(B, H, L, L), buckets, times)
        of_q = torch.bmm(of_scores, k).mul_(C**-0.5)
        of_k = torch.bmm(of_scores.transpose(1, 2), q).mul_(C**-0.5)
        return of_q.view(shape), of_k.view(shape), of_v.view(shape), of_position, of_times, None, None


def _add_times(scores: Tensor, times: Tensor, buckets: Tensor) -> None:
    """Add times [T, H] at buckets [B, L, L] to scores [B, H, L, L], in place."""
    flat = buckets.reshape(-1)
    for head in range(scores.shape[1]):
        scores[:, head] += times[:, head].contiguous().index_select(0, flat).view(buckets.shape)


def _times_gradient(of_scores: Tensor, buckets: Tensor, times: Tensor) -> Tensor:
    flat = buckets.reshape(-1).long()
    sums = [
        times.new_zeros(times.shape[0]).scatter_add_(0, flat, of_scores[:, head].reshape(-1))
        for head in range(of_scores.shape[1])
    ]
    return torch.stack(sums, 1)
