"""Search with a graph that knows no filters: by the graph where that is cheaper, by exact scan where it is not.

The graph knows nothing of filters and exclusions. It is asked for more rows than are wanted, as many more as the
filter's share of the rows and the exclusions suggest; what may not be answered is dropped, and where too few remain,
the pool grows, until an exact scan of the allowed rows is the cheaper way to be right.

Budgets have no effect here: a graph that was asked can't be interrupted. No hits are ever truncated.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Rows, Scores, Vectors
from retrieval.index.query import RowHits, RowQuery
from retrieval.index.scan import best, scan

# What one row costs, in units of one pool entry of a graph search: measured with 100,000 x 64 float32 on one core
# (0.7 us a pool entry; 0.008 us a row scanned in place; 0.02 us a row gathered).
_SCANNED_ROW = 0.012
_GATHERED_ROW = 0.03
_STEP = 16  # pools are rounded up, so that queries of one batch share a call
_GROWTH = 2.0
_EXCLUDED_NEAR = 4  # one in so many excluded rows is expected among those nearest to the query


class Graph(Protocol):
    """An approximate searcher that knows no filters. Thread-safe."""

    def nearest(self, vectors: Vectors, pool: int) -> tuple[Rows, Scores] | None:
        """Rows int64 [n, pool] and scores float32 [n, pool] of each query, best first, none twice.

        `pool` is ef as well as the count, and at most the shard's count. None where so many can't be found.
        """


class GraphSearcher:
    """Answers batches of queries over one shard's vectors and any graph that finds their nearest. Thread-safe."""

    def __init__(self, vectors: Vectors, graph: Graph) -> None:
        self._rows = vectors
        self._count = len(vectors)
        self._graph = graph
        self._scratch = threading.local()

    def search(self, vectors: Vectors, queries: Sequence[RowQuery]) -> list[RowHits]:
        """Hits for each of `queries`, whose vectors are `vectors` [Q, D]; fewer than k where fewer may be answered."""
        hits: list[RowHits | None] = [None] * len(queries)
        pools: dict[int, list[int]] = {}
        for position, query in enumerate(queries):
            pools.setdefault(self._first_pool(query), []).append(position)
        for pool, positions in pools.items():
            if pool:
                part = vectors if len(positions) == len(vectors) else vectors[positions]
                self._by_graph(part, queries, positions, pool, hits)
        left = [position for position, found in enumerate(hits) if found is None]
        self._by_scan(vectors, queries, left, hits)
        return [found for found in hits if found is not None]

    def approximate(self, vectors: Vectors, ef: int) -> list[Rows] | None:
        """The `ef` rows nearest to each query by the graph; none where it can't find so many."""
        found = self._graph.nearest(vectors, min(ef, self._count))
        return list(found[0]) if found is not None else [np.empty(0, dtype=np.int64)] * len(vectors)

    def _first_pool(self, query: RowQuery) -> int:
        """How many rows to ask the graph for; 0 where an exact scan is cheaper."""
        allowed = self._count if query.allowed is None else query.allowed.count
        if allowed == 0:
            return 0
        pool = query.ef * self._count / allowed + min(len(query.excluded) // _EXCLUDED_NEAR, query.ef)
        return self._affordable(pool, query)

    def _affordable(self, pool: float, query: RowQuery) -> int:
        if pool > self._scan_cost(query):
            return 0
        rounded = math.ceil(pool / _STEP) * _STEP
        return rounded if rounded < self._count else 0

    def _scan_cost(self, query: RowQuery) -> float:
        everything = _SCANNED_ROW * self._count
        return everything if query.allowed is None else min(everything, _GATHERED_ROW * query.allowed.count)

    def _by_graph(
        self, vectors: Vectors, queries: Sequence[RowQuery], positions: list[int], pool: int, hits: list[RowHits | None]
    ) -> None:
        found = self._graph.nearest(vectors, pool)
        if found is None:
            return
        for at, position in enumerate(positions):
            query = queries[position]
            first, remaining = self._allowed(query, found[0][at], found[1][at])
            # The pool's far end is its least exact part: leave half of ef as a margin behind the k-th
            needed = query.k + (query.ef - query.k) // 2
            if remaining >= needed:
                hits[position] = first
                continue
            larger = self._affordable(pool * max(_GROWTH, 1.2 * needed / max(1, remaining)), query)
            if larger:
                self._by_graph(vectors[at : at + 1], queries, [position], larger, hits)

    def _allowed(self, query: RowQuery, rows: Rows, scores: Scores) -> tuple[RowHits, int]:
        """The first k of the rows that may be answered, and how many such rows there are."""
        if query.allowed is None and not len(query.excluded):
            return RowHits(rows[: query.k], scores[: query.k]), len(rows)
        keep = np.ones(len(rows), dtype=np.bool_) if query.allowed is None else query.allowed.mask[rows]
        if len(query.excluded):
            marks = self._marks()
            marks[query.excluded] = True
            keep &= ~marks[rows]
            marks[query.excluded] = False
        chosen = np.flatnonzero(keep)
        first = chosen[: query.k]
        return RowHits(rows[first], scores[first]), len(chosen)

    def _marks(self) -> npt.NDArray[np.bool_]:
        """One bool per row, all False, this thread's own."""
        marks: npt.NDArray[np.bool_] | None = getattr(self._scratch, "marks", None)
        if marks is None:
            marks = self._scratch.marks = np.zeros(self._count, dtype=np.bool_)
        return marks

    def _by_scan(
        self, vectors: Vectors, queries: Sequence[RowQuery], positions: list[int], hits: list[RowHits | None]
    ) -> None:
        plain: dict[int, list[int]] = {}
        for position in positions:
            query = queries[position]
            if query.allowed is None and not len(query.excluded):
                plain.setdefault(query.k, []).append(position)
            else:
                hits[position] = self._scan_allowed(vectors[position], query)
        for k, group in plain.items():
            for position, found in zip(group, scan(self._rows, vectors[group], k), strict=True):
                hits[position] = found

    def _scan_allowed(self, vector: Vectors, query: RowQuery) -> RowHits:
        allowed = query.allowed
        if allowed is not None and _GATHERED_ROW * allowed.count < _SCANNED_ROW * self._count:
            rows = allowed.rows
            if len(query.excluded):
                marks = self._marks()
                marks[query.excluded] = True
                rows = rows[~marks[rows]]
                marks[query.excluded] = False
            chosen, scores = best(self._rows.take(rows, axis=0) @ vector, query.k)
            return RowHits(rows[chosen], scores)
        scores = self._rows @ vector
        if allowed is not None:
            scores = np.where(allowed.mask, scores, np.float32(-np.inf))
        scores[query.excluded] = -np.inf
        return RowHits(*best(scores, query.k))
