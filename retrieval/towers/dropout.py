"""Dropout that is cheap on CPUs, and the same however many processes share a batch.

One random byte decides about an element; torch's own draws a Bernoulli variate, 15 × slower. What is drawn is the mask
of the whole batch, of which a process that computes some of its rows takes theirs. So a mask depends on the seed and on
where an element stands in the batch, on nothing else. The draw is an eighth of a 64-bit number an element; what is
done with the mask, which takes longer, is done for the process's own rows only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_LEVELS = 256


@dataclass(frozen=True, slots=True)
class _Part:
    rows: slice
    of: int


_PART: ContextVar[_Part | None] = ContextVar("part", default=None)


@contextmanager
def rows_of_batch(rows: slice, of: int) -> Iterator[None]:
    """While the block runs, tensors that are dropped from hold these rows of a batch that has `of` rows."""
    before = _PART.set(_Part(rows, of))
    try:
        yield
    finally:
        _PART.reset(before)


class Dropout(nn.Module):
    """Zeroes a share `p` of the elements in training (to the nearest 1/256 on CPUs) and scales up the others."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """x [B, ...]; itself when not training. Inside `rows_of_batch` B must be the number of those rows."""
        if not self.training or self.p == 0.0:
            return x
        part = _PART.get() or _Part(slice(None), x.shape[0])
        if x.device.type != "cpu":
            return self._on_device(x, part)
        dropped: Tensor = _ByteDropout.apply(x, round(self.p * _LEVELS), part)  # type: ignore[no-untyped-call]
        return dropped

    def _on_device(self, x: Tensor, part: _Part) -> Tensor:
        if part.of == x.shape[0]:
            return torch.nn.functional.dropout(x, self.p)
        # contiguous, as x is: the numbers that torch's kernel draws for an element depend on the layout
        _, kept = torch.native_dropout(x.new_ones(part.of, *x.shape[1:]), self.p, train=True)
        return x * kept[part.rows] * (1.0 / (1.0 - self.p))


class _ByteDropout(torch.autograd.Function):
    """Draws from torch's own generator, so that a seed decides it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, level: int, part: _Part) -> Tensor:
        row = x.shape[1:]
        drawn = part.of * row.numel()
        words = torch.empty((drawn + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[:drawn].view(part.of, *row)[part.rows] >= level
        ctx.save_for_backward(kept)
        ctx.scale = _LEVELS / (_LEVELS - level)
        return (x * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return (gradients[0] * kept).mul_(ctx.scale), None, None
