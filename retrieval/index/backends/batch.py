"""Between asks and the columns that the native core takes, and from its columns back to answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from retrieval.index.query import NO_ROWS, Answer, Ask, Floats

if TYPE_CHECKING:
    from retrieval.index._native import Found  # a name of the stub only


@dataclass(frozen=True, slots=True)
class Batch:
    """Queries float32 [Q, D] and their terms, a column each."""

    queries: Floats
    k: npt.NDArray[np.uint32]
    effort: npt.NDArray[np.uint32]
    allowed: list[npt.NDArray[np.uint64] | None]
    allowed_count: npt.NDArray[np.uint32]
    """How many those are, where there is a filter."""
    excluded: npt.NDArray[np.uint32]
    """Rows of all queries, one after another."""
    excluded_until: npt.NDArray[np.uint64]
    """Where each query's end."""
    visits: npt.NDArray[np.uint64]
    """Rows compared at most; 0: no limit."""
    time_ns: npt.NDArray[np.int64]
    """Time taken at most; 0: no limit."""

    @classmethod
    def of(cls, queries: Floats, asks: Sequence[Ask]) -> Batch:
        """The columns of `asks`, one per query."""
        excluded = [ask.excluded for ask in asks]
        return cls(
            queries=np.ascontiguousarray(queries),
            k=np.array([ask.k for ask in asks], dtype=np.uint32),
            effort=np.array([ask.ef for ask in asks], dtype=np.uint32),
            allowed=[None if ask.allowed is None else ask.allowed.bits for ask in asks],
            allowed_count=np.array([0 if ask.allowed is None else ask.allowed.count for ask in asks], dtype=np.uint32),
            excluded=np.concatenate([*excluded, NO_ROWS], dtype=np.uint32),
            excluded_until=np.cumsum([len(rows) for rows in excluded], dtype=np.uint64),
            visits=np.array([ask.visits for ask in asks], dtype=np.uint64),
            time_ns=np.array([1000 * ask.time_us for ask in asks], dtype=np.int64),
        )


def answers(found: Found) -> list[Answer]:
    """Each query's part of what the core found."""
    rows, scores, counts, truncated = found[:4]
    ends = np.cumsum(counts)
    return [
        Answer(rows[b - n : b], scores[b - n : b], bool(cut))
        for b, n, cut in zip(ends.tolist(), counts.tolist(), truncated.tolist(), strict=True)
    ]
