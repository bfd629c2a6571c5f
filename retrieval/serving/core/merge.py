"""Putting answers together: those of a user's vectors on one shard, then those of the shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def by_nearest(item_ids: Sequence[Sequence[str]], scores: Sequence[Floats], k: int) -> tuple[Sequence[str], Floats]:
    """The best k of one shard for a user with several vectors: one list a vector, an item's score that of the nearest.

    Exact where the lists are and each is the vector's first k (or all there is): an item that its nearest vector's list
    leaves out has k better ones there.
    """
    if len(item_ids) == 1:
        return item_ids[0], scores[0]
    together = np.concatenate(scores)
    order = np.argsort(-together, kind="stable")
    names = [name for part in item_ids for name in part]
    first: dict[str, int] = {}
    for i in order.tolist():
        first.setdefault(names[i], i)
        if len(first) == k:
            break
    return list(first), together[list(first.values())]


def by_score(item_ids: Sequence[Sequence[str]], scores: Sequence[Floats], k: int) -> tuple[list[str], list[float]]:
    """The best k of all shards by descending score; all scores are of one space. Equal ones keep the shards' order."""
    if len(item_ids) == 1:
        return list(item_ids[0][:k]), scores[0][:k].tolist()
    together = np.concatenate(scores)
    order = np.argsort(-together, kind="stable")[:k]
    names = [name for part in item_ids for name in part]
    return [names[i] for i in order.tolist()], together[order].tolist()


def by_rank(
    item_ids: Sequence[Sequence[str]], scores: Sequence[Floats], k: int
) -> tuple[list[str], list[float], list[int]]:
    """The first k by rank within their shard, the shards taking turns; also the shard that each came from.

    For shards whose scores are of different spaces, and so can't be compared.
    """
    ranks = np.concatenate([np.arange(len(part)) for part in item_ids]) if item_ids else np.zeros(0, np.int64)
    order = np.argsort(ranks, kind="stable")[:k].tolist()
    names = [name for part in item_ids for name in part]
    shards = [position for position, part in enumerate(item_ids) for _ in part]
    together = np.concatenate(scores) if scores else np.zeros(0, np.float32)
    return [names[i] for i in order], together[order].tolist(), [shards[i] for i in order]
