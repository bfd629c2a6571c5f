"""HSTU: pointwise gated attention with position and time bias (Zhai et al. 2024, "Actions speak louder than words").

    u, v, q, k = silu(linear(norm(x)));   x + linear(u ⊙ norm(attention(q, k, v)))

No softmax: how much of something a history holds stays visible. No feed-forward layers: the gate u takes their place.
B batch, L history length, D width, H heads, C = D / H.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from retrieval.towers.attention import causal_attention, last_attention
from retrieval.towers.config import TowerConfig
from retrieval.towers.dropout import Dropout
from retrieval.towers.encoders.bias import Clock, RelativeBias, all_distances, last_distances
from retrieval.towers.encoders.repeats import Repeats


def hstu_repeats(config: TowerConfig, *, time_bias: bool) -> HstuEncoder:
    """HSTU, and beside it an attention that passes on what of the history comes again (see `repeats`)."""
    return HstuEncoder(config, time_bias=time_bias, repeats=True)


class HstuEncoder(nn.Module):
    """Stack of HSTU blocks with a final layer norm."""

    def __init__(self, config: TowerConfig, *, time_bias: bool, repeats: bool = False) -> None:
        super().__init__()
        self.time_bias = time_bias
        self.drop = Dropout(config.dropout)
        self.repeats = Repeats(config.dim, time_bias=time_bias) if repeats else None
        self.blocks = nn.ModuleList(
            HstuBlock(config.dim, config.heads, config.dropout, time_bias=time_bias) for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, tokens: Tensor, times: Tensor, query_times: Tensor) -> Tensor:
        """tokens [B, L, D], times and query_times int64 [B, L] -> states [B, L, D]."""
        distances = all_distances(
            tokens.shape[1], self._clock(times, query_times), positions=True, device=tokens.device
        )
        x = self.drop(tokens)
        for block in self.blocks:
            x = block(x, distances)
        states: Tensor = self.norm(x)
        return states if self.repeats is None else states + self.repeats(tokens, distances)

    def last(self, tokens: Tensor, lengths: Tensor, times: Tensor, query_times: Tensor) -> Tensor:
        """tokens [B, L, D], lengths int64 [B] -> states [B, D]; the last block runs for one query only."""
        clock = self._clock(times, query_times)
        x = tokens
        if len(self.blocks) > 1:
            every = all_distances(tokens.shape[1], clock, positions=True, device=tokens.device)
            for block in self.blocks[:-1]:
                x = block(x, every)
        distances = last_distances(lengths, tokens.shape[1], clock, positions=True)
        state: Tensor = self.norm(self.blocks[-1].last(x, lengths, distances))  # type: ignore[operator]
        return state if self.repeats is None else state + self.repeats.last(tokens, lengths, distances)

    def _clock(self, times: Tensor, query_times: Tensor) -> Clock | None:
        return (times, query_times) if self.time_bias else None


class HstuBlock(nn.Module):
    """One block; see the formula above."""

    def __init__(self, dim: int, heads: int, dropout: float, *, time_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.uvqk = nn.Linear(dim, 4 * dim)
        self.bias = RelativeBias(heads, positions=True, times=time_bias)
        self.mixed_norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim)
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, distances: Tensor) -> Tensor:
        """x [B, L, D] -> [B, L, D]."""
        B, L, D = x.shape
        u, v, q, k = silu(self.uvqk(self.norm(x))).chunk(4, -1)
        v, q, k = (part.view(B, L, self.heads, -1).transpose(1, 2) for part in (v, q, k))
        mixed = causal_attention(q, k, v, self.bias(distances), pointwise=True).transpose(1, 2).reshape(B, L, D)
        return self._gated(x, u, mixed)

    def last(self, x: Tensor, lengths: Tensor, distances: Tensor) -> Tensor:
        """x [B, L, D], lengths [B] -> [B, D]: the block's output at the last real position."""
        B, L, D = x.shape
        here = x[torch.arange(B, device=x.device), lengths - 1]  # [B, D]
        weight, bias = self.uvqk.weight, self.uvqk.bias
        normed, at = self.norm(x), self.norm(here)
        u, _, q, _ = silu(self.uvqk(at)).chunk(4, -1)
        v = silu(linear(normed, weight[D : 2 * D], bias[D : 2 * D]))
        k = silu(linear(normed, weight[3 * D :], bias[3 * D :]))
        v, k = (part.view(B, L, self.heads, -1).transpose(1, 2) for part in (v, k))
        q = q.view(B, self.heads, 1, -1)
        mixed = last_attention(q, k, v, lengths, self.bias(distances), pointwise=True).reshape(B, D)
        return self._gated(here, u, mixed)

    def _gated(self, x: Tensor, u: Tensor, mixed: Tensor) -> Tensor:
        gated: Tensor = x + self.out(self.drop(u * self.mixed_norm(mixed)))
        return gated
