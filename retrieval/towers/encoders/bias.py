"""Relative bias of attention: how far back an event is, in positions and in time (Zhai et al. 2024, section 3.2).

Time is measured from each event to the moment that is predicted for: the next event's in training, the request's when
served. So the request's own time is the query's time.

B batch, L history length, H heads, P distance buckets, T time buckets.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from retrieval.towers.attention import Bias

_NEAR = 128
"""Distances below this have a bucket each; beyond, 8 an octave."""
_FAR_BUCKETS = 64  # up to 128 · 2⁸ = 32,768 events
_TIME_BUCKETS = 64
_TIMES_PER_OCTAVE = 2.0  # of seconds: 64 buckets reach 100 years


_POSITIONS = _NEAR + _FAR_BUCKETS
_NEVER = -1e9

Clock = tuple[Tensor, Tensor]
"""Times of each token and of what it predicts: int64 µs [B, L] each."""


class RelativeBias(nn.Module):
    """Learned bias by head and distance, zero at first: the sum of what the positions and the times say."""

    def __init__(self, heads: int, *, positions: bool, times: bool) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(heads, _POSITIONS if positions else 1), requires_grad=positions)
        self.times = nn.Parameter(torch.zeros(heads, _TIME_BUCKETS if times else 1), requires_grad=times)

    def forward(self, index: Tensor) -> Bias:
        """The bias at these distances, as the functions below number them; the last entry is for what is not seen."""
        table = (self.positions[:, :, None] + self.times[:, None, :]).flatten(1)
        return Bias(torch.cat([table, table.new_full((table.shape[0], 1), _NEVER)], 1), index)


def all_distances(length: int, clock: Clock | None, *, positions: bool, device: torch.device) -> Tensor:
    """Entries of the bias table for every query and key: int32 [B, L, L] ([1, L, L] without a clock)."""
    steps = torch.arange(length, device=device)
    back = steps[:, None] - steps[None, :]
    by_position = position_buckets(torch.arange(length, device=device)).int()[back.clamp(min=0)][None]
    index = by_position if positions else torch.zeros_like(by_position)
    if clock is not None:
        times, query_times = clock
        index = index * _TIME_BUCKETS + time_buckets(query_times[:, :, None] - times[:, None, :])
    return index.masked_fill(back < 0, _entries(clock, positions=positions))


def last_distances(lengths: Tensor, length: int, clock: Clock | None, *, positions: bool) -> Tensor:
    """The same for one query a history, its last real position, at lengths [B] - 1: int32 [B, L]."""
    at = (lengths - 1)[:, None]
    back = at - torch.arange(length, device=lengths.device)[None, :]
    by_position = position_buckets(back.clamp(min=0)).int()
    index = by_position if positions else torch.zeros_like(by_position)
    if clock is not None:
        times, query_times = clock
        index = index * _TIME_BUCKETS + time_buckets(query_times.gather(1, at) - times)
    return index.masked_fill(back < 0, _entries(clock, positions=positions))


def _entries(clock: Clock | None, *, positions: bool) -> int:
    """How many distances there are; the entry after them is for what is not seen."""
    return (_POSITIONS if positions else 1) * (1 if clock is None else _TIME_BUCKETS)


def position_buckets(steps: Tensor) -> Tensor:
    """int64 numbers of positions back, of any shape -> buckets. Half a step keeps powers of two off the borders."""
    far = (torch.log((steps + 0.5) / _NEAR) * (8 / math.log(2))).clamp(min=0, max=_FAR_BUCKETS - 1).long() + _NEAR
    return torch.where(steps < _NEAR, steps, far)


def time_buckets(microseconds: Tensor) -> Tensor:
    """int64 µs of any shape -> int32 buckets, two an octave of seconds; negative ones count as 0.

    Of whole seconds, and rounded to the nearest bucket: so they stay off the borders, where ONNX Runtime's logarithm
    and torch's might differ.
    """
    # not clamped before it is float32: ONNX Runtime's Clip of int64 makes 0 of what lies between 2³¹ and 2³²
    seconds = torch.div(microseconds, 1_000_000, rounding_mode="trunc").float().clamp(min=0)
    buckets = (seconds + 1.0).log() * (_TIMES_PER_OCTAVE / math.log(2)) + 0.5
    return buckets.clamp(max=_TIME_BUCKETS - 1).int()
