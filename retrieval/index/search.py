"""The planner: which rows answer a query best, by the graph where that is cheaper, by exact scan where it is not.

The graph knows nothing of filters and exclusions. It is asked for more rows than are wanted, as many more as the
filter's share of the rows and the exclusions suggest; what may not be answered is dropped, and where too few remain,
the pool grows, until an exact scan of the allowed rows is the cheaper way to be right.

Budgets are not kept here: a graph that was asked can't be interrupted. No answer is ever truncated.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Rows, Vectors
from retrieval.index.query import Answer, Ask
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

    def nearest(self, queries: Vectors, pool: int) -> tuple[Rows, Vectors] | None:
        """Rows int64 [n, pool] and scores float32 [n, pool] of each query, best first, none twice.

        `pool` is the effort as well as the count, and at most the shard's count. None where so many can't be found.
        """


class Searcher:
    """Answers batches of queries over one shard's vectors and any graph that finds their nearest. Thread-safe."""

    def __init__(self, vectors: Vectors, graph: Graph) -> None:
        self._vectors = vectors
        self._count = len(vectors)
        self._graph = graph
        self._scratch = threading.local()

    def search(self, queries: Vectors, asks: Sequence[Ask]) -> list[Answer]:
        """Rows and scores for each of `queries` [Q, D]; fewer than k where fewer may be answered. Knows no budgets."""
        answers: list[Answer | None] = [None] * len(asks)
        pools: dict[int, list[int]] = {}
        for position, ask in enumerate(asks):
            pools.setdefault(self._first_pool(ask), []).append(position)
        for pool, positions in pools.items():
            if pool:
                part = queries if len(positions) == len(queries) else queries[positions]
                self._by_graph(part, asks, positions, pool, answers)
        left = [position for position, answer in enumerate(answers) if answer is None]
        self._by_scan(queries, asks, left, answers)
        return [answer for answer in answers if answer is not None]

    def approximate(self, queries: Vectors, ef: int) -> list[Rows] | None:
        """The `ef` rows nearest to each query by the graph; none where it can't find so many."""
        found = self._graph.nearest(queries, min(ef, self._count))
        return list(found[0]) if found is not None else [np.empty(0, dtype=np.int64)] * len(queries)

    def _first_pool(self, ask: Ask) -> int:
        """How many rows to ask the graph for; 0 where an exact scan is cheaper."""
        allowed = self._count if ask.allowed is None else ask.allowed.count
        if allowed == 0:
            return 0
        pool = ask.ef * self._count / allowed + min(len(ask.excluded) // _EXCLUDED_NEAR, ask.ef)
        return self._affordable(pool, ask)

    def _affordable(self, pool: float, ask: Ask) -> int:
        if pool > self._scan_cost(ask):
            return 0
        rounded = math.ceil(pool / _STEP) * _STEP
        return rounded if rounded < self._count else 0

    def _scan_cost(self, ask: Ask) -> float:
        everything = _SCANNED_ROW * self._count
        return everything if ask.allowed is None else min(everything, _GATHERED_ROW * ask.allowed.count)

    def _by_graph(
        self, queries: Vectors, asks: Sequence[Ask], positions: list[int], pool: int, answers: list[Answer | None]
    ) -> None:
        found = self._graph.nearest(queries, pool)
        if found is None:
            return
        for at, position in enumerate(positions):
            ask = asks[position]
            answer, remaining = self._keep(ask, found[0][at], found[1][at])
            # The pool's far end is its least exact part: leave half of the effort as a margin behind the k-th
            needed = ask.k + (ask.ef - ask.k) // 2
            if remaining >= needed:
                answers[position] = answer
                continue
            larger = self._affordable(pool * max(_GROWTH, 1.2 * needed / max(1, remaining)), ask)
            if larger:
                self._by_graph(queries[at : at + 1], asks, [position], larger, answers)

    def _keep(self, ask: Ask, rows: Rows, scores: Vectors) -> tuple[Answer, int]:
        """The first k of the rows that may be answered, and how many such rows there are."""
        if ask.allowed is None and not len(ask.excluded):
            return Answer(rows[: ask.k], scores[: ask.k]), len(rows)
        keep = np.ones(len(rows), dtype=np.bool_) if ask.allowed is None else ask.allowed.mask[rows]
        if len(ask.excluded):
            marks = self._marks()
            marks[ask.excluded] = True
            keep &= ~marks[rows]
            marks[ask.excluded] = False
        chosen = np.flatnonzero(keep)
        first = chosen[: ask.k]
        return Answer(rows[first], scores[first]), len(chosen)

    def _marks(self) -> npt.NDArray[np.bool_]:
        """One bool per row, all False, this thread's own."""
        marks: npt.NDArray[np.bool_] | None = getattr(self._scratch, "marks", None)
        if marks is None:
            marks = self._scratch.marks = np.zeros(self._count, dtype=np.bool_)
        return marks

    def _by_scan(
        self, queries: Vectors, asks: Sequence[Ask], positions: list[int], answers: list[Answer | None]
    ) -> None:
        plain: dict[int, list[int]] = {}
        for position in positions:
            ask = asks[position]
            if ask.allowed is None and not len(ask.excluded):
                plain.setdefault(ask.k, []).append(position)
            else:
                answers[position] = self._scan_allowed(queries[position], ask)
        for k, group in plain.items():
            for position, answer in zip(group, scan(self._vectors, queries[group], k), strict=True):
                answers[position] = answer

    def _scan_allowed(self, query: Vectors, ask: Ask) -> Answer:
        allowed = ask.allowed
        if allowed is not None and _GATHERED_ROW * allowed.count < _SCANNED_ROW * self._count:
            rows = allowed.rows
            if len(ask.excluded):
                marks = self._marks()
                marks[ask.excluded] = True
                rows = rows[~marks[rows]]
                marks[ask.excluded] = False
            chosen, scores = best(self._vectors.take(rows, axis=0) @ query, ask.k)
            return Answer(rows[chosen], scores)
        scores = self._vectors @ query
        if allowed is not None:
            scores = np.where(allowed.mask, scores, np.float32(-np.inf))
        scores[ask.excluded] = -np.inf
        return Answer(*best(scores, ask.k))
