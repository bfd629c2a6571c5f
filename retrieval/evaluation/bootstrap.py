"""Bootstrap: how far a figure would move had other users come. Users are drawn anew, each with all of its targets.

T targets, G users, M figures, R resamples. Percentile intervals (Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Figures, Ints

RESAMPLES = 2_000
LEVEL = 0.95
_BLOCK_BYTES = 1 << 25


class Interval(NamedTuple):
    """Bounds that hold the true figure in 95 of 100 evaluations."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One figure of two models: `value` is the first minus the second."""

    value: float
    interval: Interval
    p: float
    """Two-sided: how often chance alone would set two equal models this far apart."""


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of the users that targets belong to: the same ones at every call, so that differences are paired."""

    users: Ints
    """int64 [T]: the user of each target, any numbers."""
    resamples: int = RESAMPLES
    seed: int = 0

    def sums(self, values: Figures) -> Figures:
        """Sums of float64 [T, M] over each resample's targets: float64 [R, M]."""
        codes = np.unique(self.users, return_inverse=True)[1]
        groups = int(codes.max()) + 1
        by_user = np.stack([np.bincount(codes, column, groups) for column in values.T], axis=1)
        out = np.empty((self.resamples, values.shape[1]))
        rng = np.random.default_rng(self.seed)
        at_once = max(1, _BLOCK_BYTES // (8 * groups))
        for first in range(0, self.resamples, at_once):
            lines = min(at_once, self.resamples - first)
            # one line at a time, so that the draws don't depend on the size of a block
            drawn = [np.bincount(rng.integers(0, groups, groups), minlength=groups) for _ in range(lines)]
            out[first : first + lines] = np.stack(drawn).astype(np.float64) @ by_user
        return out

    def means(self, values: Figures) -> Figures:
        """Means of float64 [T, M] over each resample's targets: float64 [R, M]."""
        sums = self.sums(np.column_stack([values, np.ones(len(values))]))
        return sums[:, :-1] / sums[:, -1:]

    def intervals(self, gains: Mapping[str, Figures]) -> dict[str, Interval]:
        """Intervals of the means of figures in [0, 1], each float64 [T]."""
        means = self.means(np.column_stack(list(gains.values())))
        users = len(np.unique(self.users))
        return {name: interval(means[:, place], values, users) for place, (name, values) in enumerate(gains.items())}

    def differences(self, ours: Mapping[str, Figures], others: Mapping[str, Figures]) -> dict[str, Difference]:
        """Paired differences of means, ours minus others', by the names that both have: float64 [T] each."""
        names = [name for name in ours if name in others]
        gaps = np.column_stack([ours[name] - others[name] for name in names])
        means = self.means(gaps)
        return {
            name: Difference(float(gaps[:, place].mean()), _percentiles(means[:, place]), p_value(means[:, place]))
            for place, name in enumerate(names)
        }


def interval(means: Figures, values: Figures, users: int) -> Interval:
    """The interval of a mean of values in [0, 1] from its resampled means [R].

    Where all values are 0, or all 1, no resample differs, and the exact binomial bound stands in: 1 − .025^(1/users).
    """
    if not values.any():
        return Interval(0.0, _bound_without_hits(users))
    if (values == 1.0).all():
        return Interval(1.0 - _bound_without_hits(users), 1.0)
    return _percentiles(means)


def p_value(differences: npt.NDArray[np.float64]) -> float:
    """Two-sided p of resampled differences [R]: twice the share on the rarer side of 0, which itself counts for both.

    (c + 1) / (R + 1) in place of c / R, so that it is never 0 (Davison and Hinkley 1997, section 4.2).
    """
    least = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2.0 * (least + 1) / (len(differences) + 1))


def _percentiles(means: Figures) -> Interval:
    known = means[~np.isnan(means)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _bound_without_hits(users: int) -> float:
    return float(1.0 - ((1 - LEVEL) / 2) ** (1.0 / max(users, 1)))
