"""How certain an evaluation's figures are: intervals of models and slices, and paired comparisons of models.

T targets, S slices, P list lengths of a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Figures, Ints
from retrieval.evaluation.bootstrap import Bootstrap, Difference, Interval, interval
from retrieval.evaluation.metrics import UNREACHABLE, rank_gains
from retrieval.evaluation.report import Evidence
from retrieval.evaluation.slices import Slice

_SLICES_AT_ONCE = 16
_CURVE_POINTS = 24
LEAST_USERS = 10
"""Fewer users than this are too much alike in their resamples for an interval."""


@dataclass(frozen=True)
class Curve:
    """HR@k over k: list lengths, values and bounds, float64 [P] each."""

    ks: tuple[int, ...]
    values: Figures
    low: Figures
    high: Figures


@dataclass(frozen=True)
class Comparison:
    """Two models on the same targets; differences are `model` minus `other`."""

    model: str
    other: str
    differences: Mapping[str, Difference]
    won: float
    """Share of targets that `model` ranks higher."""
    lost: float
    tied: float


def model_intervals(evidence: Evidence, ks: Sequence[int]) -> dict[str, dict[str, Interval]]:
    """Intervals of hr@K, ndcg@K and mrr of every model and baseline, by its name."""
    resampling = Bootstrap(evidence.users)
    return {
        name: resampling.intervals(dict(rank_gains(ranking.ranks, ks))) for name, ranking in evidence.rankings.items()
    }


def hit_curves(evidence: Evidence, longest: int) -> dict[str, Curve]:
    """HR@k of every model and baseline for some 24 list lengths up to `longest`."""
    ks = np.unique(np.geomspace(1, longest, _CURVE_POINTS).round().astype(np.int64))
    return {name: _curve(evidence, ranking.ranks, ks) for name, ranking in evidence.rankings.items()}


def slice_intervals(
    evidence: Evidence, ranks: Ints, names: Sequence[str], ks: Sequence[int]
) -> list[dict[str, Interval]]:
    """Intervals of the named metrics within each slice, in the order of the slices; NaN under LEAST_USERS users."""
    gains = {name: values for name, values in rank_gains(ranks, ks) if name in names}
    found: list[dict[str, Interval]] = []
    for first in range(0, len(evidence.slices), _SLICES_AT_ONCE):
        found += _within(evidence, evidence.slices[first : first + _SLICES_AT_ONCE], gains)
    return found


def compare(users: Ints, named: tuple[str, Ints], other: tuple[str, Ints], ks: Sequence[int]) -> Comparison:
    """Compare two models by name and ranks, int64 [T] each of the same targets, whose users are int64 [T]."""
    (name, ours), (other_name, theirs) = named, other
    differences = Bootstrap(users).differences(dict(rank_gains(ours, ks)), dict(rank_gains(theirs, ks)))
    shares = [float(share.mean()) for share in (ours < theirs, ours > theirs, ours == theirs)]
    return Comparison(name, other_name, differences, *shares)


def unreachable(ranks: Ints) -> int:
    """Targets that can't be found at any list length."""
    return int((ranks >= UNREACHABLE).sum())


def _curve(evidence: Evidence, ranks: Ints, ks: Ints) -> Curve:
    hits = (ranks[:, None] < ks[None, :]).astype(np.float64)
    means = Bootstrap(evidence.users).means(hits)
    users = len(np.unique(evidence.users))
    bounds = np.array([interval(means[:, place], hits[:, place], users) for place in range(len(ks))])
    return Curve(tuple(ks.tolist()), hits.mean(axis=0), bounds[:, 0], bounds[:, 1])


def _within(evidence: Evidence, slices: Sequence[Slice], gains: Mapping[str, Figures]) -> list[dict[str, Interval]]:
    masks = np.column_stack([each.members for each in slices]).astype(np.float64)
    columns = [masks, *(masks * values[:, None] for values in gains.values())]
    sums = Bootstrap(evidence.users).sums(np.concatenate(columns, axis=1))
    counts, *totals = np.split(sums, len(columns), axis=1)
    # a resample may hold no user of a small slice, and says nothing about it then
    counts = np.where(counts > 0, counts, np.nan)
    users = [len(np.unique(evidence.users[each.members])) for each in slices]
    return [
        {
            name: _slice_interval(total[:, place] / counts[:, place], values[each.members], users[place])
            for (name, values), total in zip(gains.items(), totals, strict=True)
        }
        for place, each in enumerate(slices)
    ]


def _slice_interval(means: Figures, values: Figures, users: int) -> Interval:
    return interval(means, values, users) if users >= LEAST_USERS else Interval(float("nan"), float("nan"))
