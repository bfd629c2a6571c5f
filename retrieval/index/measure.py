"""Measuring recall: queries as users ask them, answered by the search that will serve and by exact search."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from retrieval.index.canary import recall
from retrieval.index.config import IndexConfig
from retrieval.index.items import NO_ROWS
from retrieval.index.scan import scan
from retrieval.index.search import Ask, Searcher

Floats = npt.NDArray[np.float32]
_CANARY_QUERIES = 16
_PERTURBATION = 0.5  # length of the noise added to an item's vector, before it is normalised again


def recall_queries(vectors: Floats, users: Floats | None, config: IndexConfig) -> Floats:
    """float32 [<= recall_queries, D] to measure with: a sample of `users`, or perturbed items where there are none."""
    return _sample(vectors, users, config.recall_queries, config.seed)


def canary_queries(vectors: Floats, users: Floats | None, config: IndexConfig) -> Floats:
    """float32 [<= 16, D] to keep with the shard."""
    return _sample(vectors, users, _CANARY_QUERIES, config.seed + 1)


def measured_recall(searcher: Searcher, vectors: Floats, queries: Floats, config: IndexConfig) -> float:
    """Recall@measured_k of `searcher` with the build's ef_search, against exact search."""
    if not len(vectors) or not len(queries):
        return 1.0
    k = min(config.measured_k, len(vectors))
    ask = Ask(k, max(k, config.ef_search), NO_ROWS, None)
    found = searcher.search(queries, [ask] * len(queries))
    return recall([rows for rows, _ in found], [rows for rows, _ in scan(vectors, queries, k)])


def _sample(vectors: Floats, users: Floats | None, size: int, seed: int) -> Floats:
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
