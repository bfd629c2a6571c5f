"""Two models slice by slice, on the same targets, with bounds that hold for all slices together.

T targets, S slices. Of many slices some look worse by luck alone; each bound is therefore drawn at the S-th part of the
level (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Figures, Ints
from retrieval.evaluation.bootstrap import LEVEL, RESAMPLES, Bootstrap
from retrieval.evaluation.slices import Slice

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class SliceDifference:
    """A metric's mean within one slice, of two models."""

    column: str
    value: str
    targets: int
    ours: float
    theirs: float
    high: float
    """Upper bound of ours minus theirs."""


def slice_differences(
    users: Ints, slices: Sequence[Slice], ours: Figures, theirs: Figures, *, fewest: int
) -> list[SliceDifference]:
    """Means of float64 [T] and [T] within each slice of at least `fewest` targets; `users` int64 [T] are resampled."""
    chosen = [one for one in slices if int(one.members.sum()) >= fewest]
    found: list[SliceDifference] = []
    for first in range(0, len(chosen), _AT_ONCE):
        part = chosen[first : first + _AT_ONCE]
        highs = _upper_bounds(users, part, ours - theirs, count=len(chosen))
        found += [
            SliceDifference(
                column=one.column,
                value=one.value,
                targets=int(one.members.sum()),
                ours=float(ours[one.members].mean()),
                theirs=float(theirs[one.members].mean()),
                high=high,
            )
            for one, high in zip(part, highs, strict=True)
        ]
    return found


def _upper_bounds(users: Ints, slices: Sequence[Slice], gaps: Figures, *, count: int) -> list[float]:
    masks = np.column_stack([one.members for one in slices]).astype(np.float64)
    sums = Bootstrap(users).sums(np.concatenate([masks, masks * gaps[:, None]], axis=1))
    counts, totals = np.split(sums, 2, axis=1)
    # a resample without any user of a slice says nothing of it
    means = totals / np.where(counts > 0, counts, np.nan)
    # no finer than the resamples: their largest is as far as they reach
    level = min(1 - (1 - LEVEL) / 2 / count, 1 - 1 / RESAMPLES)
    return [float(bound) for bound in np.nanquantile(means, level, axis=0)]
