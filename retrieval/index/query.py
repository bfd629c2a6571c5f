"""What is asked of an index, and what it answers: plain data, the same from a request to the kernel."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Rows, Vectors
from retrieval.filters.allowed import Allowed
from retrieval.filters.filter import AnyOf, Filter
from retrieval.filters.values import ValueColumn

NEW_ITEM = "_new"
"""Attribute of every item, whether training never met it: the version has no vector for its id."""

NO_ROWS: npt.NDArray[np.uint32] = np.empty(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class Query:
    """What to find for one vector: the best `k` items that pass `filter`, are not in `exclude` (raw item ids), and have
    none of the values in `exclude_values`.

    `ef` is how many candidates a search weighs; None leaves it to the build. Budgets, 0 for none: in each shard at most
    `visit_budget` rows are compared and `time_budget_us` microseconds taken, give or take a step of the search; after
    that the best so far are answered. hnswlib's search has no budgets.
    """

    k: int
    ef: int | None = None
    filter: Filter | None = None
    exclude: Collection[str] = ()
    visit_budget: int = 0
    time_budget_us: int = 0
    exclude_values: tuple[AnyOf, ...] = ()


class Hits(NamedTuple):
    """The items found for one query, best first: raw item ids, and their inner products with it, float32 [n <= k].

    `truncated`: a budget ended the search, and better items may not have been looked at.
    """

    item_ids: Sequence[str]
    scores: Vectors
    truncated: bool = False


class ItemAttributes(NamedTuple):
    """What is known of some items: raw ids, and columns by name with the values of each of them."""

    item_ids: Sequence[str]
    columns: Mapping[str, ValueColumn]


class RowQuery(NamedTuple):
    """A query made ready for one shard: its filter and exclusions as rows. The native core reads it by position.

    At most `k` of the rows `allowed` (None: all) but `excluded`; a search weighs `ef` of them, k at least. Budgets as
    those of Query: they are looked at between the steps of a search; hnswlib's search has none.
    """

    k: int
    ef: int
    allowed: Allowed | None = None
    excluded: npt.NDArray[np.uint32] = NO_ROWS
    visit_budget: int = 0
    time_budget_us: int = 0


class RowHits(NamedTuple):
    """Hits as rows of a shard: int64, and their scores float32 [n <= k], best first; equal ones by row.

    `truncated`: a budget ended the search, and better rows may not have been looked at.
    """

    rows: Rows
    scores: Vectors
    truncated: bool = False


class Searcher(Protocol):
    """Searches one shard's rows. Thread-safe."""

    def search(self, vectors: Vectors, queries: Sequence[RowQuery]) -> list[RowHits]:
        """Hits for each of `queries`, whose vectors are `vectors` [Q, D]; fewer than k where fewer may be answered."""

    def approximate(self, vectors: Vectors, ef: int) -> list[Rows] | None:
        """The `ef` rows nearest to each of `vectors`, best first, found as they are where a scan does not pay; None of
        one that only scans.
        """
