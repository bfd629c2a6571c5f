"""A causal transformer: pre-norm blocks, rotary positions (Su et al. 2021), so that any length works.

Plain, or gated as LiGR's blocks are (Hertel et al. 2024; eSASRec, Tikhonovich et al. 2025): each branch is added
through a sigmoid gate of the block's input, and the feed-forward part is a SwiGLU (Shazeer 2020).

B batch, L history length, D width, H heads, C = D / H.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, silu

from retrieval.towers.attention import causal_attention, last_attention
from retrieval.towers.config import TowerConfig
from retrieval.towers.dropout import Dropout
from retrieval.towers.encoders.bias import RelativeBias, all_distances, last_distances

_ROTARY_BASE = 10_000.0
Rotary = tuple[Tensor, Tensor]


def transformer(config: TowerConfig, *, time_bias: bool) -> TransformerEncoder:
    """A causal transformer: pre-norm blocks, rotary positions."""
    return TransformerEncoder(config, time_bias=time_bias, gated=False)


def ligr(config: TowerConfig, *, time_bias: bool) -> TransformerEncoder:
    """A causal transformer of LiGR blocks: every branch gated, SwiGLU between them."""
    return TransformerEncoder(config, time_bias=time_bias, gated=True)


class TransformerEncoder(nn.Module):
    """Stack of causal self-attention blocks with a final layer norm."""

    def __init__(self, config: TowerConfig, *, time_bias: bool, gated: bool) -> None:
        super().__init__()
        self.head_dim = config.dim // config.heads
        self.time_bias = time_bias
        self.drop = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, time_bias=time_bias, gated=gated) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, tokens: Tensor, times: Tensor, query_times: Tensor) -> Tensor:
        """tokens [B, L, D], times and query_times int64 [B, L] -> states [B, L, D]."""
        x = self.drop(tokens)
        states: Tensor = self.norm(self._through(self.blocks, x, self._rotary(tokens), times, query_times))
        return states

    def last(self, tokens: Tensor, lengths: Tensor, times: Tensor, query_times: Tensor) -> Tensor:
        """tokens [B, L, D], lengths int64 [B] -> states [B, D]; the last block runs for one query only."""
        rotary = self._rotary(tokens)
        x = self._through(self.blocks[:-1], tokens, rotary, times, query_times)
        clock = (times, query_times)
        distances = last_distances(lengths, tokens.shape[1], clock, positions=False) if self.time_bias else None
        state: Tensor = self.norm(self.blocks[-1].last(x, lengths, rotary, distances))  # type: ignore[operator]
        return state

    def _rotary(self, tokens: Tensor) -> Rotary:
        return rotary_table(tokens.shape[1], self.head_dim, tokens)

    def _through(self, blocks: nn.ModuleList, x: Tensor, rotary: Rotary, times: Tensor, query_times: Tensor) -> Tensor:
        distances = None
        if self.time_bias and len(blocks):
            distances = all_distances(x.shape[1], (times, query_times), positions=False, device=x.device)
        for block in blocks:
            x = block(x, rotary, distances)
        return x


class Block(nn.Module):
    """x + attention(norm(x)), then + feed-forward(norm(·)); each through a gate, if the block has them."""

    def __init__(self, config: TowerConfig, *, time_bias: bool, gated: bool) -> None:
        super().__init__()
        dim, wide = config.dim, config.expansion * config.dim
        self.heads, self.gated = config.heads, gated
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 2 * wide if gated else wide)
        self.down = nn.Linear(wide, dim)
        self.drop = Dropout(config.dropout)
        if time_bias:
            self.bias = RelativeBias(config.heads, positions=False, times=True)
        if gated:
            self.attention_gate, self.feed_gate = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, rotary: Rotary, distances: Tensor | None) -> Tensor:
        """x [B, L, D] -> [B, L, D]."""
        B, L, D = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(B, L, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        bias = None if distances is None else self.bias(distances)
        mixed = causal_attention(rotate(q, rotary), rotate(k, rotary), v, bias)
        return self._feed(self._attended(x, mixed.transpose(1, 2).reshape(B, L, D)))

    def last(self, x: Tensor, lengths: Tensor, rotary: Rotary, distances: Tensor | None) -> Tensor:
        """x [B, L, D], lengths [B] -> [B, D]: the block's output at the last real position."""
        B, L, D = x.shape
        H, C = self.heads, D // self.heads
        at = lengths - 1
        here = x[torch.arange(B, device=x.device), at]  # [B, D]
        normed = self.attention_norm(x)
        weight, shift = self.qkv.weight, self.qkv.bias
        k, v = linear(normed, weight[D:], shift[D:]).view(B, L, 2, H, C).permute(2, 0, 3, 1, 4)  # [B, H, L, C]
        q = linear(self.attention_norm(here), weight[:D], shift[:D]).view(B, H, 1, C)
        q = rotate(q, (rotary[0][at][:, None, None], rotary[1][at][:, None, None]))
        bias = None if distances is None else self.bias(distances)
        mixed = last_attention(q, rotate(k, rotary), v, lengths, bias, pointwise=False)
        return self._feed(self._attended(here, mixed.view(B, D)))

    def _attended(self, x: Tensor, mixed: Tensor) -> Tensor:
        added: Tensor = self.drop(self.out(mixed))
        if self.gated:
            added = added * torch.sigmoid(self.attention_gate(x))
        return x + added

    def _feed(self, x: Tensor) -> Tensor:
        raised = self.up(self.norm(x))
        if not self.gated:
            fed: Tensor = x + self.drop(self.down(self.drop(gelu(raised))))
            return fed
        left, right = raised.chunk(2, -1)
        added = self.drop(self.down(self.drop(silu(left) * right)))
        gated: Tensor = x + added * torch.sigmoid(self.feed_gate(x))
        return gated


def rotary_table(length: int, head_dim: int, like: Tensor) -> Rotary:
    """cos and sin [length, head_dim], the second half repeating the first (Su et al. 2021, eq. 34)."""
    steps = torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32)
    angles = torch.arange(length, device=like.device, dtype=torch.float32)[:, None] * _ROTARY_BASE ** (
        -steps / head_dim
    )
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """x [..., L, C] turned by its position's angles."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * rotary[0] + turned * rotary[1]
