from __future__ import annotations

import numpy as np
import pytest

from retrieval.evaluation.exposure import decile_shares, lorenz_curve, popularity_deciles
from retrieval.evaluation.metrics import gini


@pytest.mark.parametrize("items", [7, 5_000])
def test_the_area_over_the_curve_is_the_gini(items: int) -> None:
    amounts = np.random.default_rng(0).integers(0, 50, items) ** 2
    x, y = lorenz_curve(amounts)
    assert (x[0], y[0], x[-1], y[-1]) == pytest.approx((0, 0, 1, 1))
    assert len(x) <= 201
    assert (np.diff(y) >= 0).all()
    area = ((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()
    assert 1 - 2 * area == pytest.approx(gini(amounts), abs=1e-3)


def test_deciles_hold_a_tenth_each_and_keep_ties_together() -> None:
    assert np.bincount(popularity_deciles(np.arange(1_000))).tolist() == [100] * 10
    tied = popularity_deciles(np.array([0] * 500 + list(range(1, 501))))
    assert len(set(tied[:500].tolist())) == 1
    assert tied[-1] == 9


def test_shares_by_decile() -> None:
    shares = decile_shares(np.array([1, 0, 3]), np.array([0, 5, 9]))
    assert shares[[0, 5, 9]] == pytest.approx([0.25, 0, 0.75])
    assert decile_shares(np.zeros(3, np.int64), np.array([0, 5, 9])).sum() == 0
