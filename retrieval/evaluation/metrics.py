"""Metrics of ranked lists with one relevant item each. T targets, C candidates, K list length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from retrieval.arrays import Figures, Ints

UNREACHABLE = np.iinfo(np.int64).max // 2
"""Rank of a target that is no candidate, or that the history filter took out: a miss at every K."""


def rank_metrics(ranks: Ints, ks: Sequence[int]) -> dict[str, float]:
    """Means over targets, from 0-based ranks int64 [T].

    hr@K    share of targets among the first K; with one relevant item each it is Recall@K too
    ndcg@K  1 / log2(rank + 2) where rank < K (Järvelin and Kekäläinen 2002; the ideal gain is 1)
    mrr     1 / (rank + 1), not cut off
    """
    return {name: float(values.mean()) for name, values in rank_gains(ranks, ks)}


def stratified_hit_rates(ranks: Ints, popularity: Ints, ks: Sequence[int]) -> dict[str, float]:
    """Hit rates in which a hit on a popular item counts less, from 0-based ranks int64 [T].

    stratified_hr@K    Σ w hit@K / Σ w, w = N^−½, N the target's training events (at least 1): `popularity`, int64 [T]

    Popularity-stratified recall (Steck, "Item popularity and recommendation accuracy", RecSys 2011) with β = ½; equally
    the self-normalised inverse-propensity estimate (Yang et al., RecSys 2018) where an item's chance to be observed
    grows with √N. What only repeats popularity falls far below its hit rate.
    """
    weights = 1.0 / np.sqrt(np.maximum(popularity, 1).astype(np.float64))
    weights /= weights.sum()
    return {f"stratified_hr@{k}": float(weights @ (ranks < k)) for k in ks}


def rank_gains(ranks: Ints, ks: Sequence[int]) -> Iterator[tuple[str, Figures]]:
    """What each target adds to each metric of `rank_metrics`: name and float64 [T], one metric after the other."""
    reachable = ranks < UNREACHABLE
    places = np.where(reachable, ranks, 0).astype(np.float64)
    gains = np.where(reachable, 1.0 / np.log2(places + 2.0), 0.0)
    for k in ks:
        hits = ranks < k
        yield f"hr@{k}", hits.astype(np.float64)
        yield f"ndcg@{k}", np.where(hits, gains, 0.0)
    yield "mrr", np.where(reachable, 1.0 / (places + 1.0), 0.0)


def standard_errors(metrics: Mapping[str, float], targets: int) -> dict[str, float]:
    """Standard error of each hit rate: √(p (1 − p) / T), that of a binomial proportion."""
    return {
        name: float(np.sqrt(value * (1.0 - value) / targets))
        for name, value in metrics.items()
        if name.startswith("hr@")
    }


def exposure_metrics(shown: Ints, popularity: Ints) -> dict[str, float]:
    """How the recommendations spread over candidates.

    `shown` int64 [C]: in how many lists each candidate stands; `popularity` int64 [C]: its training events.

    coverage         share of candidates that stand in any list
    gini             Gini coefficient of `shown`: 0 = all shown alike, near 1 = the same few for everybody
    popularity_bias  mean popularity percentile of what is shown: .5 = blind to popularity, 1 = only the most popular
    """
    total = int(shown.sum())
    if not total:
        return {"coverage": 0.0, "gini": 0.0, "popularity_bias": 0.0}
    return {
        "coverage": float((shown > 0).mean()),
        "gini": gini(shown),
        "popularity_bias": float(percentiles(popularity) @ shown / total),
    }


def gini(amounts: Ints) -> float:
    """Gini coefficient Σ (2 i − n − 1) x₍ᵢ₎ / (n Σ x), with x sorted and i from 1."""
    ordered = np.sort(amounts).astype(np.float64)
    count, total = len(ordered), float(ordered.sum())
    if not total:
        return 0.0
    weights = 2.0 * np.arange(1, count + 1) - count - 1.0
    return float(weights @ ordered / (count * total))


def percentiles(values: Ints) -> Figures:
    """Mid-rank percentile of each value among all of them, in (0, 1): the share below, and half of the ties."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    upto = np.searchsorted(ordered, values, side="right")
    return (below + upto) / (2.0 * len(values))
