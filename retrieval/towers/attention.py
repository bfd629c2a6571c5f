"""Causal attention over histories, with or without a bias, as softmax or pointwise.

On CPUs, training uses a kernel written for histories: a block of queries at a time against the keys before its end, in
large products over the whole batch. So half of the square is never made, and what is made stays in the caches. torch's
own CPU kernel multiplies tile by tile, too small for the bf16 units: 3 to 20 × slower there at 20 … 200 events.

On GPUs, training writes the scores out. torch's fused kernels add up the gradient of the queries in no fixed order, so
that the same seed would not give the same weights; only histories that are too long for all their scores go there.

B batch, H heads, L history length, C width of a head, J entries of a bias table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, scaled_dot_product_attention, silu

# Longer histories go to torch's kernel, whose memory grows with L, not with its square.
_LONGEST = 512
_FAR = -1e9
_BLOCK_SCORES = 1 << 19
_SMALLEST_BLOCK = 16


@dataclass(frozen=True, slots=True)
class Bias:
    """What is added to the scores: `table` [H, J], looked up at `index` int32 [B or 1, L, L] (queries, then keys).

    Keys that a query must not see point at an entry that is far below all others. For one query a history, the last
    position's, the index is [B, L].
    """

    table: Tensor
    index: Tensor


def causal_attention(q: Tensor, k: Tensor, v: Tensor, bias: Bias | None = None, *, pointwise: bool = False) -> Tensor:
    """Each position's mixture of v over itself and the ones before it; all [B, H, L, C].

    softmax(q kᵀ / √C + bias) v, or pointwise silu(q kᵀ / √C + bias) v / n with n the positions seen (Zhai et al. 2024,
    eq. 3, whose n is the longest history's: the norm after it makes them equal).
    """
    trained = q.requires_grad and q.shape[2] <= _LONGEST
    if trained and _on_cpu(q):
        table, index = (None, None) if bias is None else (bias.table, bias.index)
        mixed: Tensor = _CausalAttention.apply(q, k, v, table, index, pointwise)  # type: ignore[no-untyped-call]
        return mixed
    if bias is None and not pointwise and not trained:
        return scaled_dot_product_attention(q, k, v, is_causal=True)
    added = (
        _later(q.shape[2], q.shape[2], q) if bias is None else embedding(bias.index, bias.table.t()).permute(0, 3, 1, 2)
    )
    scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + added
    shares = silu(scores) / _seen(scores)[:, None] if pointwise else scores.softmax(-1)
    return shares @ v


def last_attention(
    q: Tensor, k: Tensor, v: Tensor, lengths: Tensor, bias: Bias | None = None, *, pointwise: bool
) -> Tensor:
    """The same for one query a history: q [B, H, 1, C] at the last of `lengths` [B] real positions -> [B, H, 1, C]."""
    scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # [B, H, 1, L]
    if bias is not None:
        scores = scores + embedding(bias.index, bias.table.t()).transpose(1, 2)[:, :, None]
    padding = torch.arange(k.shape[2], device=q.device) >= lengths[:, None]
    scores = scores.masked_fill(padding[:, None, None], _FAR)
    shares = silu(scores) / lengths[:, None, None, None].to(scores.dtype) if pointwise else scores.softmax(-1)
    return shares @ v


def _on_cpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"


def _seen(like: Tensor) -> Tensor:
    return torch.arange(1, like.shape[2] + 1, dtype=like.dtype, device=like.device)


def _later(queries: int, keys: int, like: Tensor) -> Tensor:
    """[queries, keys]: far below for the keys after each query, which are the last ones; 0 elsewhere."""
    return torch.full((queries, keys), _FAR, dtype=like.dtype, device=like.device).triu_(keys - queries + 1)


class _CausalAttention(torch.autograd.Function):
    """Keeps each block's shares (softmax) or scores (pointwise), and works the gradient out block by block."""

    @staticmethod
    def forward(  # noqa: PLR0917  # as apply passes them
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, table: Tensor | None, index: Tensor | None, pointwise: bool
    ) -> Tensor:
        B, H, L, C = q.shape
        q, k, v = (part.transpose(0, 1).reshape(H * B, L, C) for part in (q, k, v))
        mixed = torch.empty_like(v)
        ctx.blocks = _blocks(B, H, L)
        kept = []
        for block in ctx.blocks:
            seen = slice(0, block.stop)
            scores = _scores(q[:, block], k[:, seen], table, _at(index, block), H)
            shares = silu(scores) if pointwise else torch.softmax(scores, -1)
            mixed[:, block] = torch.bmm(shares, v[:, seen])
            kept.append(scores if pointwise else shares)
        ctx.save_for_backward(q, k, v, table, index, *kept)
        ctx.pointwise = pointwise
        mixed = mixed.view(H, B, L, C).transpose(0, 1)
        return mixed / _seen(mixed)[:, None] if pointwise else mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, table, index, *kept = ctx.saved_tensors
        (B, H, L, C) = gradients[0].shape
        out = gradients[0] / _seen(gradients[0])[:, None] if ctx.pointwise else gradients[0]
        out = out.transpose(0, 1).reshape(q.shape)
        of_q, of_k, of_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        of_table = None if table is None else torch.zeros_like(table, memory_format=torch.contiguous_format)
        for block, held in zip(ctx.blocks, kept, strict=True):
            seen = slice(0, block.stop)
            of_shares = torch.bmm(out[:, block], v[:, seen].transpose(1, 2))
            if ctx.pointwise:
                shares, of_scores = silu(held), torch.ops.aten.silu_backward(of_shares, held)
            else:
                shares, of_scores = held, torch._softmax_backward_data(of_shares, held, -1, held.dtype)  # noqa: SLF001
            of_v[:, seen] += torch.bmm(shares.transpose(1, 2), out[:, block])
            of_q[:, block] = torch.bmm(of_scores, k[:, seen])
            of_k[:, seen] += torch.bmm(of_scores.transpose(1, 2), q[:, block])
            if of_table is not None:
                _add_table_gradient(of_table, of_scores.view(H, B, *of_scores.shape[1:]), _at(index, block))
        of_q, of_k = of_q.mul_(C**-0.5), of_k.mul_(C**-0.5)
        heads_second = (part.view(H, B, L, C).transpose(0, 1) for part in (of_q, of_k, of_v))
        return *heads_second, of_table, None, None


def _blocks(B: int, H: int, L: int) -> list[slice]:
    """Blocks of queries whose scores, against all keys, are about so many that the caches hold them."""
    size = max(_SMALLEST_BLOCK, _BLOCK_SCORES // (B * H * L))
    return [slice(start, min(start + size, L)) for start in range(0, L, size)]


def _at(index: Tensor | None, block: slice) -> Tensor | None:
    return None if index is None else index[:, block, : block.stop]


def _scores(q: Tensor, k: Tensor, table: Tensor | None, index: Tensor | None, H: int) -> Tensor:
    """q [H B, n, C], k [H B, m, C], table [H, J], index [B or 1, n, m] -> [H B, n, m]."""
    scale = q.shape[-1] ** -0.5
    if table is None or index is None:
        return torch.baddbmm(_later(q.shape[1], k.shape[1], q), q, k.transpose(1, 2), alpha=scale)
    flat = index.reshape(-1)
    added = torch.empty(H, flat.numel(), dtype=q.dtype)
    for head in range(H):
        torch.index_select(table[head], 0, flat, out=added[head])
    if index.shape[0] == 1:
        scores = torch.bmm(q, k.transpose(1, 2)).mul_(scale)
        scores.view(H, -1, *index.shape[1:]).add_(added.view(H, *index.shape))
        return scores
    return added.view(-1, *index.shape[1:]).baddbmm_(q, k.transpose(1, 2), alpha=scale)


def _add_table_gradient(of_table: Tensor, of_scores: Tensor, index: Tensor | None) -> None:
    """Add of_scores [H, B, n, m] to of_table [H, J] where index [B or 1, n, m] looked."""
    assert index is not None
    summed = of_scores.sum(1, keepdim=True) if index.shape[0] == 1 else of_scores
    flat = index.reshape(-1).long()
    for head in range(of_table.shape[0]):
        of_table[head].scatter_add_(0, flat, summed[head].reshape(-1))
