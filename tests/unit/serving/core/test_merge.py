from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.index import Hits
from retrieval.serving.core.merge import by_nearest, by_rank, by_score

shards = st.lists(st.lists(st.floats(-1, 1, width=32), max_size=12), min_size=1, max_size=4)


def answers(scores: list[list[float]]) -> list[Hits]:
    """Ids `shard-rank`, scores descending as a shard gives them."""
    ordered = [np.array(sorted(part, reverse=True), np.float32) for part in scores]
    return [Hits([f"{s}-{r}" for r in range(len(part))], part) for s, part in enumerate(ordered)]


@given(shards, st.integers(1, 30))
def test_by_score_is_the_sorted_union(scores: list[list[float]], k: int) -> None:
    given = answers(scores)
    found, best = by_score(given, k)
    everything = sorted((s for hits in given for s in hits.scores.tolist()), reverse=True)
    assert best == everything[:k]
    lookup = {n: s for hits in given for n, s in zip(hits.item_ids, hits.scores.tolist(), strict=True)}
    assert [lookup[name] for name in found] == best
    assert len(set(found)) == len(found)


@given(st.integers(1, 5), st.integers(0, 40), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_by_nearest_is_the_best_k_by_the_largest_score(interests: int, items: int, k: int, seed: int) -> None:
    """Each list is its vector's first k: whatever they leave out is not among the best k by the largest score."""
    scores = np.random.default_rng(seed).normal(size=(interests, items)).astype(np.float32)
    lists = [np.argsort(-of_one)[:k] for of_one in scores]
    found, best, _ = by_nearest(
        [Hits([str(item) for item in rows], of_one[rows]) for of_one, rows in zip(scores, lists, strict=True)], k
    )
    largest = scores.max(0) if items else np.zeros(0, np.float32)
    expected = np.argsort(-largest)[:k]
    assert list(found) == [str(item) for item in expected]
    assert best.tolist() == largest[expected].tolist()


@given(shards, st.integers(1, 30))
def test_by_rank_takes_turns_and_never_compares(scores: list[list[float]], k: int) -> None:
    given = answers(scores)
    found, best, of = by_rank(given, k)
    ranks = [int(name.split("-")[1]) for name in found]
    assert ranks == sorted(ranks)
    assert len(found) == min(k, sum(len(hits.item_ids) for hits in given))
    assert [int(name.split("-")[0]) for name in found] == of
    assert best == [given[s].scores[r] for s, r in zip(of, ranks, strict=True)]
    shifted = [hits._replace(scores=hits.scores + shard) for shard, hits in enumerate(given)]
    assert by_rank(shifted, k)[0] == found
