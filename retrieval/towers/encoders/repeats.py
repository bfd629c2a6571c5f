"""What of the history comes again: attention whose values are the tokens themselves.

    r = norm(softmax(q kᵀ / √D + bias) tokens),   q, k = linear(norm(tokens))

An encoder's blocks transform what they read, and have to learn for every item how to give it back. Here a token that is
attended to is passed on as it is, and with it the item's own vector, which is the nearest to itself: an item that was
bought before scores high once the attention finds it. Repeat and explore are parted so in Ren et al. 2019 (RepeatNet),
where a copy mechanism gives the items of the history a distribution of their own; one dot product has to hold both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from retrieval.towers.attention import causal_attention, last_attention
from retrieval.towers.encoders.bias import RelativeBias

_SHARE = 0.5
"""Of the states' own length, at first."""


class Repeats(nn.Module):
    """One head over the raw tokens, with position and time bias; its result is added to the encoder's states."""

    def __init__(self, dim: int, *, time_bias: bool) -> None:
        super().__init__()
        self.read = nn.LayerNorm(dim)
        self.qk = nn.Linear(dim, 2 * dim)
        self.bias = RelativeBias(1, positions=True, times=time_bias)
        self.norm = nn.LayerNorm(dim)
        nn.init.constant_(self.norm.weight, _SHARE)

    def forward(self, tokens: Tensor, distances: Tensor) -> Tensor:
        """tokens [B, L, D], distances as `all_distances` gives them -> [B, L, D]."""
        q, k = self.qk(self.read(tokens)).chunk(2, -1)
        mixed = causal_attention(q[:, None], k[:, None], tokens[:, None].to(q.dtype), self.bias(distances))[:, 0]
        found: Tensor = self.norm(mixed)
        return found

    def last(self, tokens: Tensor, lengths: Tensor, distances: Tensor) -> Tensor:
        """tokens [B, L, D], lengths [B], distances as `last_distances` gives them -> [B, D]."""
        q, k = self.qk(self.read(tokens)).chunk(2, -1)
        here = q[
            torch.arange(q.shape[0], device=q.device), lengths - 1
        ]  # not len: an export would make a constant of it
        mixed = last_attention(
            here[:, None, None], k[:, None], tokens[:, None].to(q.dtype), lengths, self.bias(distances), pointwise=False
        )
        found: Tensor = self.norm(mixed[:, 0, 0])
        return found
