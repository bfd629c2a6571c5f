"""Putting hits together: those of a user's vectors on one shard, then those of the shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrieval.index.query import Hits


def by_nearest(lists: Sequence[Hits], k: int) -> Hits:
    """The best k of one shard for a user with several vectors: one list a vector, an item's score that of the nearest.

    Exact where the lists are and each is the vector's first k (or all there is): an item that its nearest vector's list
    leaves out has k better ones there. Truncated where any of the lists is.
    """
    if len(lists) == 1:
        return lists[0]
    scores = np.concatenate([hits.scores for hits in lists])
    order = np.argsort(-scores, kind="stable")
    names = [name for hits in lists for name in hits.item_ids]
    first: dict[str, int] = {}
    for i in order.tolist():
        first.setdefault(names[i], i)
        if len(first) == k:
            break
    return Hits(list(first), scores[list(first.values())], any(hits.truncated for hits in lists))


def by_score(shards: Sequence[Hits], k: int) -> tuple[list[str], list[float]]:
    """The best k of all shards by descending score; all scores are of one space. Equal ones keep the shards' order."""
    if len(shards) == 1:
        return list(shards[0].item_ids[:k]), shards[0].scores[:k].tolist()
    scores = np.concatenate([hits.scores for hits in shards])
    order = np.argsort(-scores, kind="stable")[:k]
    names = [name for hits in shards for name in hits.item_ids]
    return [names[i] for i in order.tolist()], scores[order].tolist()


def by_rank(shards: Sequence[Hits], k: int) -> tuple[list[str], list[float], list[int]]:
    """The first k by rank within their shard, the shards taking turns; also the shard that each came from.

    For shards whose scores are of different spaces, and so can't be compared.
    """
    if not shards:
        return [], [], []
    ranks = np.concatenate([np.arange(len(hits.item_ids)) for hits in shards])
    order = np.argsort(ranks, kind="stable")[:k].tolist()
    names = [name for hits in shards for name in hits.item_ids]
    shard_of = [position for position, hits in enumerate(shards) for _ in hits.item_ids]
    scores = np.concatenate([hits.scores for hits in shards])
    return [names[i] for i in order], scores[order].tolist(), [shard_of[i] for i in order]
