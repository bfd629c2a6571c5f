"""Mean pooling: the simple baseline. The state at a position is an MLP of the mean of all tokens up to it.

B batch, L history length, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from retrieval.towers.config import TowerConfig
from retrieval.towers.dropout import Dropout


class MeanEncoder(nn.Module):
    """Order-blind history encoder."""

    def __init__(self, config: TowerConfig, *, time_bias: bool) -> None:  # noqa: ARG002  # blind to time
        super().__init__()
        dim, wide = config.dim, config.expansion * config.dim
        self.norm = nn.LayerNorm(dim)
        self.drop = Dropout(config.dropout)
        self.mlp = nn.Sequential(nn.Linear(dim, wide), nn.GELU(), nn.Linear(wide, dim))

    def forward(self, tokens: Tensor, times: Tensor, query_times: Tensor) -> Tensor:  # noqa: ARG002  # blind to time
        """tokens [B, L, D] -> states [B, L, D]: the running mean, through the MLP."""
        counts = torch.arange(1, tokens.shape[1] + 1, device=tokens.device, dtype=tokens.dtype)
        return self._out(self.drop(tokens).cumsum(1) / counts[:, None])

    def last(self, tokens: Tensor, lengths: Tensor, times: Tensor, query_times: Tensor) -> Tensor:  # noqa: ARG002
        """tokens [B, L, D], lengths int64 [B] -> states [B, D]: the mean over the real positions, through the MLP."""
        real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        weights = real.to(tokens.dtype) / lengths[:, None].to(tokens.dtype)
        return self._out((weights[:, None, :] @ tokens)[:, 0])

    def _out(self, mean: Tensor) -> Tensor:
        state: Tensor = mean + self.mlp(self.norm(mean))
        return state
