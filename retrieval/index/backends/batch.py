"""Asks as the columns that the native core takes, and its columns as answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from retrieval.index.query import NO_ROWS, Answer, Ask, Floats

if TYPE_CHECKING:
    from retrieval.index._native import Found  # a name of the stub only


def searched(search: Callable[..., Found], queries: Floats, asks: Sequence[Ask]) -> list[Answer]:
    """The answers of `search`, one of the core's, to `queries` float32 [Q, D] with the terms of `asks`, one each."""
    excluded = [ask.excluded for ask in asks]
    found = search(
        np.ascontiguousarray(queries),
        np.array([ask.k for ask in asks], dtype=np.uint32),
        np.array([ask.ef for ask in asks], dtype=np.uint32),
        [None if ask.allowed is None else ask.allowed.bits for ask in asks],
        np.concatenate([*excluded, NO_ROWS], dtype=np.uint32),
        np.cumsum([len(rows) for rows in excluded], dtype=np.uint64),
        allowed_count=np.array([0 if ask.allowed is None else ask.allowed.count for ask in asks], dtype=np.uint32),
        visits=np.array([ask.visits for ask in asks], dtype=np.uint64),
        time_ns=np.array([1000 * ask.time_us for ask in asks], dtype=np.int64),
    )
    return _answers(found)


def _answers(found: Found) -> list[Answer]:
    rows, scores, counts, truncated = found[:4]
    ends = np.cumsum(counts)
    return [
        Answer(rows[b - n : b], scores[b - n : b], bool(cut))
        for b, n, cut in zip(ends.tolist(), counts.tolist(), truncated.tolist(), strict=True)
    ]
