"""Measuring recall: queries as users ask them, answered by the search that will serve and by exact search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Vectors
from retrieval.index.canary import recall
from retrieval.index.config import IndexConfig
from retrieval.index.query import RowHits, RowQuery, Searcher
from retrieval.index.scan import scan

_CANARY_QUERIES = 16
_PERTURBATION = 0.5  # length of the noise added to an item's vector, before it is normalised again


def recall_queries(vectors: Vectors, users: Vectors | None, config: IndexConfig) -> Vectors:
    """float32 [<= recall_queries, D] to measure with: a sample of `users`, or perturbed items where there are none.

    Of users with several vectors [<= recall_queries, E, D].
    """
    return _sample(vectors, users, config.recall_queries, config.seed)


def canary_queries(vectors: Vectors, users: Vectors | None, config: IndexConfig) -> Vectors:
    """float32 [<= 16, D] to keep with the shard."""
    each = users if users is None or users.ndim == 2 else users.reshape(-1, users.shape[-1])
    return _sample(vectors, each, _CANARY_QUERIES, config.seed + 1)


def measured_recall(searcher: Searcher, vectors: Vectors, queries: Vectors, config: IndexConfig) -> float:
    """Recall@measured_k of `searcher` with the build's ef_search, against exact search.

    Of users with several vectors ([Q, E, D]) the lower of two: that of their vectors' lists, and of the users' own,
    which hold the best of those.
    """
    if not len(vectors) or not len(queries):
        return 1.0
    k = min(config.measured_k, len(vectors))
    query = RowQuery(k, max(k, config.ef_search))
    each = queries.reshape(-1, queries.shape[-1])
    found, exact = searcher.search(each, [query] * len(each)), scan(vectors, each, k)
    of_each = recall(vectors, each, [one.rows for one in found], [one.rows for one in exact])
    if queries.ndim == 2:
        return of_each
    interests = queries.shape[1]
    of_users = recall(vectors, queries, _merged(found, interests, k), _merged(exact, interests, k))
    return min(of_each, of_users)


def _merged(answers: Sequence[RowHits], interests: int, k: int) -> list[npt.NDArray[np.int64]]:
    """The best k rows of every `interests` answers, each row by its largest score; exact answers give the exact k."""
    merged = []
    for start in range(0, len(answers), interests):
        part = answers[start : start + interests]
        rows, scores = np.concatenate([a.rows for a in part]), np.concatenate([a.scores for a in part])
        rows = rows[np.argsort(-scores, kind="stable")]
        _, first = np.unique(rows, return_index=True)
        merged.append(rows[np.sort(first)[:k]])
    return merged


def _sample(vectors: Vectors, users: Vectors | None, size: int, seed: int) -> Vectors:
    random = np.random.default_rng(seed)
    source = vectors if users is None or not len(users) else users
    if not len(source):
        return np.empty((0, vectors.shape[1]), dtype=np.float32)
    rows = np.sort(random.choice(len(source), min(size, len(source)), replace=False))
    chosen = source[rows].astype(np.float32)
    if source is not vectors:
        return np.ascontiguousarray(chosen)
    noise = random.normal(size=chosen.shape)
    noise *= _PERTURBATION / np.maximum(np.linalg.norm(noise, axis=1, keepdims=True), 1e-12)
    moved = chosen + noise
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), dtype=np.float32)
