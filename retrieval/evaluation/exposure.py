"""Which items recommendations fall on: their concentration, and their popularity beside that of what users chose.

C candidates, P points of a curve.
"""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Figures, Ints
from retrieval.evaluation.metrics import percentiles

DECILES = 10
_POINTS = 201


def lorenz_curve(amounts: Ints) -> tuple[Figures, Figures]:
    """Share of items, least shown first, and the share of all that they get: float64 [P] each, from (0, 0) to (1, 1).

    `amounts` int64 [C]. Where there are more than 200 items, the curve has a point every half percent of them.
    """
    total = float(amounts.sum())
    shares = np.concatenate([[0.0], np.cumsum(np.sort(amounts)) / total if total else np.zeros(len(amounts))])
    chosen = np.unique(np.linspace(0, len(amounts), min(_POINTS, len(shares))).round().astype(np.int64))
    return chosen / len(amounts), shares[chosen]


def popularity_deciles(counts: Ints) -> Ints:
    """Each item's decile by training events, 0 the least popular tenth … 9 the most: int64 [C] from int64 [C].

    Items of one count fall into one decile, that of their middle, so that a decile may hold more or less than a tenth.
    """
    return np.minimum((percentiles(counts) * DECILES).astype(np.int64), DECILES - 1)


def decile_shares(amounts: Ints, deciles: Ints) -> Figures:
    """Share of `amounts` int64 [C] on items of each decile, float64 [10]; zeros where there is nothing to share."""
    sums = np.bincount(deciles, amounts, DECILES)
    return sums / max(float(sums.sum()), 1.0)
