"""Asks as the columns that the native core takes, and its columns as answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from retrieval.arrays import Vectors
from retrieval.index.query import NO_ROWS, Answer, Ask

if TYPE_CHECKING:
    from retrieval.index._native import Found  # a name of the stub only


def searched(search: Callable[..., Found], queries: Vectors, asks: Sequence[Ask]) -> list[Answer]:
    """The answers of `search`, one of the core's, to `queries` float32 [Q, D] with the terms of `asks`, one each."""
    excluded = [ask.excluded for ask in asks if len(ask.excluded)]
    # Columns that most batches do without are left out: each costs as much as a short search
    filtered = any(ask.allowed is not None for ask in asks)
    limited = any(ask.visits or ask.time_us for ask in asks)
    found = search(
        np.ascontiguousarray(queries),
        np.array([ask.k for ask in asks], dtype=np.uint32),
        np.array([ask.ef for ask in asks], dtype=np.uint32),
        [None if ask.allowed is None else ask.allowed.bits for ask in asks],
        np.concatenate(excluded, dtype=np.uint32) if excluded else NO_ROWS,
        np.array([*accumulate(len(ask.excluded) for ask in asks)], dtype=np.uint64),
        allowed_count=np.array([0 if ask.allowed is None else ask.allowed.count for ask in asks], np.uint32)
        if filtered
        else None,
        visits=np.array([ask.visits for ask in asks], dtype=np.uint64) if limited else None,
        time_ns=np.array([1000 * ask.time_us for ask in asks], dtype=np.int64) if limited else None,
    )
    return _answers(found)


def _answers(found: Found) -> list[Answer]:
    rows, scores, counts, truncated = found[:4]
    each = counts.tolist()
    return [
        Answer(rows[end - n : end], scores[end - n : end], bool(cut))
        for end, n, cut in zip(accumulate(each), each, truncated.tolist(), strict=True)
    ]
