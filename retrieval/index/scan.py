"""Exact search: inner products with every row, or with the rows that are allowed, and the best of them.

Shapes: Q queries, n scanned rows, D embedding dim, k candidates.
"""

from __future__ import annotations

import numpy as np

from retrieval.arrays import Rows, Vectors
from retrieval.index.query import RowHits

# Scores held at once; a batch of queries is scanned in blocks of this many bytes
_BLOCK_BYTES = 64 << 20


def best(scores: Vectors, k: int) -> tuple[Rows, Vectors]:
    """Places and scores of the k highest of `scores` [n], fewer if there are fewer. Those of -inf are left out."""
    n = len(scores)
    if n > k:
        threshold = np.partition(scores, n - k)[n - k]
        if threshold > -np.inf:
            above = np.flatnonzero(scores > threshold)
            ties = np.flatnonzero(scores == threshold)[: k - len(above)]
            chosen = np.concatenate((above, ties))
            chosen.sort()
        else:
            chosen = np.flatnonzero(scores > -np.inf)
    else:
        chosen = np.flatnonzero(scores > -np.inf)
    found = scores[chosen]
    order = np.argsort(-found, kind="stable")
    return chosen[order], found[order]


def scan(vectors: Vectors, queries: Vectors, k: int) -> list[RowHits]:
    """The k best rows of `vectors` [n, D] for each of `queries` [Q, D]."""
    step = max(1, _BLOCK_BYTES // max(1, 4 * len(vectors)))
    hits: list[RowHits] = []
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        scores = (vectors @ part[0])[None] if len(part) == 1 else part @ vectors.T
        hits.extend(RowHits(*best(row, k)) for row in scores)
    return hits
