"""A causal transformer: pre-norm blocks, rotary positions (Su et al. 2021), so that any length works.

B batch, L history length, D width, H heads, C = D / H.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from retrieval.towers.attention import causal_attention
from retrieval.towers.dropout import Dropout

_ROTARY_BASE = 10_000.0


class TransformerEncoder(nn.Module):
    """Stack of causal self-attention blocks with a final layer norm."""

    def __init__(self, dim: int, blocks: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.head_dim = dim // heads
        self.drop = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, expansion, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, L, D] -> states [B, L, D]."""
        rotary = rotary_table(tokens.shape[1], self.head_dim, tokens)
        x = self.drop(tokens)
        for block in self.blocks:
            x = block(x, rotary)
        states: Tensor = self.norm(x)
        return states

    def last(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """tokens [B, L, D], lengths int64 [B] -> states [B, D]; the last block runs for one query only."""
        rotary = rotary_table(tokens.shape[1], self.head_dim, tokens)
        x = tokens
        for block in self.blocks[:-1]:
            x = block(x, rotary)
        state: Tensor = self.norm(self.blocks[-1].last(x, lengths, rotary))  # type: ignore[operator]
        return state


class Block(nn.Module):
    """x + attention(norm(x)), then + feed-forward(norm(·))."""

    def __init__(self, dim: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, expansion * dim)
        self.down = nn.Linear(expansion * dim, dim)
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """x [B, L, D] -> [B, L, D]."""
        B, L, D = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(B, L, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        mixed = causal_attention(rotate(q, rotary), rotate(k, rotary), v)
        x = x + self.drop(self.out(mixed.transpose(1, 2).reshape(B, L, D)))
        fed: Tensor = x + self.drop(self._feed(x))
        return fed

    def last(self, x: Tensor, lengths: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """x [B, L, D], lengths [B] -> [B, D]: the block's output at the last real position."""
        B, L, D = x.shape
        H, C = self.heads, D // self.heads
        at = lengths - 1
        here = x[torch.arange(B, device=x.device), at]  # [B, D]
        normed = self.attention_norm(x)
        weight, bias = self.qkv.weight, self.qkv.bias
        k, v = linear(normed, weight[D:], bias[D:]).view(B, L, 2, H, C).permute(2, 0, 3, 1, 4)  # [B, H, L, C]
        q = linear(self.attention_norm(here), weight[:D], bias[:D]).view(B, H, 1, C)
        q = rotate(q, (rotary[0][at][:, None, None], rotary[1][at][:, None, None]))
        scores = (q * C**-0.5) @ rotate(k, rotary).transpose(-1, -2)  # [B, H, 1, L]
        padding = torch.arange(L, device=x.device) >= lengths[:, None]
        scores = scores.masked_fill(padding[:, None, None], -1e9)
        here = here + self.out((scores.softmax(-1) @ v).view(B, D))
        fed: Tensor = here + self._feed(here)
        return fed

    def _feed(self, x: Tensor) -> Tensor:
        fed: Tensor = self.down(self.drop(gelu(self.up(self.norm(x)))))
        return fed


def rotary_table(length: int, head_dim: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin [length, head_dim], the second half repeating the first (Su et al. 2021, eq. 34)."""
    steps = torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32)
    angles = torch.arange(length, device=like.device, dtype=torch.float32)[:, None] * _ROTARY_BASE ** (
        -steps / head_dim
    )
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """x [..., L, C] turned by its position's angles."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * rotary[0] + turned * rotary[1]
