from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.evaluation.metrics import (
    UNREACHABLE,
    exposure_metrics,
    gini,
    percentiles,
    rank_metrics,
    standard_errors,
    stratified_hit_rates,
)

AMOUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=12)


@given(st.lists(st.one_of(st.integers(0, 30), st.just(UNREACHABLE)), min_size=1, max_size=40))
def test_rank_metrics_are_the_slow_ones(ranks: list[int]) -> None:
    found = rank_metrics(np.array(ranks), [1, 10])
    for k in (1, 10):
        assert found[f"hr@{k}"] == pytest.approx(sum(rank < k for rank in ranks) / len(ranks))
        gains = [1 / math.log2(rank + 2) for rank in ranks if rank < k]
        assert found[f"ndcg@{k}"] == pytest.approx(math.fsum(gains) / len(ranks))
    reached = [1 / (rank + 1) for rank in ranks if rank != UNREACHABLE]
    assert found["mrr"] == pytest.approx(math.fsum(reached) / len(ranks))


@given(AMOUNTS)
def test_gini_is_the_mean_difference(amounts: list[int]) -> None:
    total = sum(amounts)
    differences = sum(abs(one - two) for one in amounts for two in amounts)
    expected = differences / (2 * len(amounts) * total) if total else 0.0
    assert gini(np.array(amounts)) == pytest.approx(expected, abs=1e-12)


@given(AMOUNTS)
def test_percentiles_count_those_below_and_half_of_the_ties(amounts: list[int]) -> None:
    expected = [
        (sum(other < own for other in amounts) + sum(other == own for other in amounts) / 2) / len(amounts)
        for own in amounts
    ]
    np.testing.assert_allclose(percentiles(np.array(amounts)), expected)


def test_exposure_of_the_same_few_and_of_everything() -> None:
    popularity = np.array([100, 10, 1, 0])
    few = exposure_metrics(np.array([8, 0, 0, 0]), popularity)
    assert few == {"coverage": 0.25, "gini": 0.75, "popularity_bias": 0.875}
    even = exposure_metrics(np.array([2, 2, 2, 2]), popularity)
    assert even == {"coverage": 1.0, "gini": 0.0, "popularity_bias": 0.5}
    assert exposure_metrics(np.zeros(4, np.int64), popularity)["coverage"] == 0.0


def test_a_hit_on_a_popular_item_counts_less() -> None:
    ranks, popularity = np.array([0, 4, 12, 2]), np.array([100, 4, 1, 0])
    found = stratified_hit_rates(ranks, popularity, [1, 10])
    whole = 0.1 + 0.5 + 1.0 + 1.0
    assert found == pytest.approx({"stratified_hr@1": 0.1 / whole, "stratified_hr@10": (0.1 + 0.5 + 1.0) / whole})
    alike = stratified_hit_rates(ranks, np.full(4, 7), [1, 10])
    assert list(alike.values()) == pytest.approx([rank_metrics(ranks, [1, 10])[name] for name in ("hr@1", "hr@10")])
    assert stratified_hit_rates(np.array([UNREACHABLE]), np.array([3]), [5]) == {"stratified_hr@5": 0.0}


def test_standard_errors_are_binomial() -> None:
    assert standard_errors({"hr@10": 0.3, "mrr": 0.1}, 6040) == {"hr@10": pytest.approx(0.0059, abs=1e-4)}
