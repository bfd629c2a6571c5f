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
    excluded: npt.NDArray[np.uint32]
    """Rows of all queries, one after another."""
    excluded_until: npt.NDArray[np.uint64]
    """Where each query's end."""

    @classmethod
    def of(cls, queries: Floats, asks: Sequence[Ask]) -> Batch:
        """The columns of `asks`, one per query."""
        excluded = [ask.excluded for ask in asks]
        return cls(
            queries=np.ascontiguousarray(queries),
            k=np.array([ask.k for ask in asks], dtype=np.uint32),
            effort=np.array([ask.ef for ask in asks], dtype=np.uint32),
            allowed=[None if ask.allowed is None else ask.allowed.bits for ask in asks],
            excluded=np.concatenate([*excluded, NO_ROWS], dtype=np.uint32),
            excluded_until=np.cumsum([len(rows) for rows in excluded], dtype=np.uint64),
        )


def answers(found: Found) -> list[Answer]:
    """Each query's part of what the core found."""
    rows, scores, counts = found[:3]
    ends = np.cumsum(counts)
    return [(rows[b - n : b], scores[b - n : b]) for b, n in zip(ends.tolist(), counts.tolist(), strict=True)]
