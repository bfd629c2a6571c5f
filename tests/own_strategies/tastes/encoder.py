"""A history encoder: the mean of the tokens so far, newer ones weighing more. B batch, L history length, D width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from retrieval.towers.config import TowerConfig


class Fading(nn.Module):
    """Each token weighs `keep` times as much as the one after it."""

    def __init__(self, config: TowerConfig, *, time_bias: bool, keep: float = 0.9) -> None:
        super().__init__()
        self.keep = keep
        self.norm = nn.LayerNorm(config.dim)
        self.mix = nn.Linear(config.dim, config.dim)

    def forward(self, tokens: Tensor, times: Tensor, query_times: Tensor) -> Tensor:
        """tokens [B, L, D] -> states [B, L, D]."""
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        return self._mixed(self._weights(steps[:, None] - steps[None, :], tokens) @ tokens)

    def last(self, tokens: Tensor, lengths: Tensor, times: Tensor, query_times: Tensor) -> Tensor:
        """tokens [B, L, D], lengths int64 [B] -> the state at the last real position [B, D]."""
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        weights = self._weights(lengths[:, None] - 1 - steps[None, :], tokens)
        return self._mixed((weights[:, None, :] @ tokens)[:, 0])

    def _weights(self, back: Tensor, tokens: Tensor) -> Tensor:
        """Weights of the tokens so many steps back, none of those ahead; each row adds up to 1."""
        weights = torch.where(back >= 0, self.keep ** back.clamp(min=0).to(tokens.dtype), 0.0)
        return weights / weights.sum(-1, keepdim=True)

    def _mixed(self, mean: Tensor) -> Tensor:
        mixed: Tensor = mean + self.mix(self.norm(mean))
        return mixed
