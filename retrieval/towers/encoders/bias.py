"""Relative bias of attention: how far back an event is, in positions and in time (Zhai et al. 2024, section 3.2).

Time is measured from each event to the moment that is predicted for: the next event's in training, the request's when
served. So the request's own time is the query's time.

B batch, L history length, H heads, P distance buckets, T time buckets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from retrieval.towers.attention import Bias

_NEAR = 128
"""Distances below this have a bucket each; beyond, 8 an octave."""
_FAR_BUCKETS = 64  # up to 128 · 2⁸ = 32,768 events
_TIME_BUCKETS = 64
_TIMES_PER_OCTAVE = 2.0  # of seconds: 64 buckets reach 100 years


Clock = tuple[Tensor, Tensor]
"""Times of each token and of what it predicts: int64 µs [B, L] each."""


@dataclass(frozen=True, slots=True)
class Distances:
    """Buckets of every query and key: of positions int64 [L, L], of times int32 [B, L, L] (None without time).

    For the last position's query only: int64 [B, L] and int32 [B, L].
    """

    positions: Tensor
    times: Tensor | None


class RelativeBias(nn.Module):
    """Learned bias by distance and head, zero at first; made of one table each for positions and times."""

    def __init__(self, heads: int, *, positions: bool, times: bool) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(_NEAR + _FAR_BUCKETS, heads)) if positions else None
        self.times = nn.Parameter(torch.zeros(_TIME_BUCKETS, heads)) if times else None

    def forward(self, distances: Distances) -> Bias:
        """The bias for these distances; see `Bias` for its shapes."""
        position = None
        if self.positions is not None:
            position = nn.functional.embedding(distances.positions, self.positions).permute(2, 0, 1)
        return Bias(position, self.times, distances.times if self.times is not None else None)


def all_distances(clock: Clock | None, length: int, device: torch.device) -> Distances:
    """Of every position to those before it."""
    steps = torch.arange(length, device=device)
    back = position_buckets(steps)
    positions = back[(steps[:, None] - steps[None, :]).clamp(min=0)]
    if clock is None:
        return Distances(positions, None)
    times, asked = clock
    return Distances(positions, time_buckets(asked[:, :, None] - times[:, None, :]))


def last_distances(clock: Clock | None, lengths: Tensor, length: int) -> Distances:
    """Of the last real position, at lengths [B] - 1, to all `length` positions."""
    at = lengths - 1
    steps = torch.arange(length, device=lengths.device)
    positions = position_buckets((at[:, None] - steps[None, :]).clamp(min=0))
    if clock is None:
        return Distances(positions, None)
    times, asked = clock
    return Distances(positions, time_buckets(asked.gather(1, at[:, None]) - times))


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
