"""What an engine is asked, and how it answers: plain data between a shard and whatever searches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from retrieval.index.allowed import Allowed

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
NO_ROWS: npt.NDArray[np.uint32] = np.empty(0, dtype=np.uint32)


class Answer(NamedTuple):
    """Rows int64 and their scores float32 [n <= k], best first; of equal scores the lower row first.

    `truncated`: a budget ended the search, and better rows may not have been looked at.
    """

    rows: Rows
    scores: Floats
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """One query's terms: k candidates, effort `ef` >= k, without rows `excluded`, from rows `allowed` (None: all).

    Budgets, 0 for none: at most `visits` rows compared and `time_us` µs taken. An engine looks at them between the
    steps of a search; hnswlib's has no way to.
    """

    k: int
    ef: int
    excluded: npt.NDArray[np.uint32]
    allowed: Allowed | None
    visits: int = 0
    time_us: int = 0


class Engine(Protocol):
    """Searches one shard's rows. Thread-safe."""

    def search(self, queries: Floats, asks: Sequence[Ask]) -> list[Answer]:
        """Rows and scores for each of `queries` [Q, D]; fewer than k where fewer may be answered."""

    def approximate(self, queries: Floats, ef: int) -> list[Rows] | None:
        """The `ef` rows nearest to each query, best first, found as they are where a scan does not pay; None of an
        engine that only scans.
        """
