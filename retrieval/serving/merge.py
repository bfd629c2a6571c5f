"""Putting the shards' answers together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


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
