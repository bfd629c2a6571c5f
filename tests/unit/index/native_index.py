"""Native indexes over clustered vectors, with links and with leaves, and how tests ask them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from retrieval.filters.allowed import Allowed, packed
from retrieval.index import _native
from retrieval.index.query import NO_ROWS, RowQuery


@dataclass(frozen=True)
class Built:
    """An index and the vectors float32 [N, D] that it was built from, in the order of its rows."""

    vectors: np.ndarray
    native: Path
    hnsw: Path

    @property
    def count(self) -> int:
        return len(self.vectors)

    def open(self) -> _native.Index:
        """Verified and calibrated."""
        index = _native.Index(str(self.native))
        index.verify(self.vectors, threads=2)
        index.calibrate(100)
        return index


def build(folder: Path, vectors: np.ndarray, *, arranged: bool = False, **settings: Any) -> Built:
    """Files in `folder`; rows are put in the order of their leaves if they are to be `arranged`."""
    given: dict[str, Any] = {"m": 8, "ef_construction": 100, "alpha": 1.1, "seed": 1, "threads": 1, "ef_search": 100}
    given |= {"starts": np.zeros(1, np.uint32), "centres": np.zeros(0, np.float32), **settings}
    if arranged:
        order, starts, centres = _native.arrange(vectors, seed=1, threads=given["threads"])
        vectors = np.ascontiguousarray(vectors[order])
        given |= {"starts": starts, "centres": centres}
    built = Built(vectors, folder / "graph.native", folder / "graph.hnsw")
    _native.build(vectors, str(built.native), str(built.hnsw), **given)
    return built


class Columns(NamedTuple):
    """What the core gives, every column an array; see `_native.Found`."""

    rows: np.ndarray
    scores: np.ndarray
    counts: np.ndarray
    truncated: np.ndarray
    plans: np.ndarray
    visits: np.ndarray

    @classmethod
    def of(cls, found: _native.Found) -> Columns:
        return cls(*map(np.asarray, found))

    def each(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows and scores of each query."""
        ends = np.cumsum(self.counts)
        return [
            (self.rows[end - c : end], self.scores[end - c : end]) for end, c in zip(ends, self.counts, strict=True)
        ]


def row_query(
    k: int, ef: int = 1, mask: np.ndarray | None = None, excluded: np.ndarray = NO_ROWS, *budgets: int
) -> RowQuery:
    """`mask` bool [N]; the budgets are rows, then µs."""
    allowed = None if mask is None else Allowed(packed(mask), len(mask))
    return RowQuery(k, ef, allowed, excluded.astype(np.uint32), *budgets)


def search(
    index: _native.Index,
    vectors: np.ndarray,
    k: int,
    ef: int,
    mask: np.ndarray | None = None,
    excluded: np.ndarray = NO_ROWS,
    **how: Any,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and scores of each of `vectors`; `mask` and `excluded` hold for all of them."""
    return Columns.of(index.search(vectors, [row_query(k, ef, mask, excluded)] * len(vectors), **how)).each()


def queries_near(vectors: np.ndarray, n: int, seed: int = 5) -> np.ndarray:
    """float32 [n, D], each some way from one of the vectors."""
    random = np.random.default_rng(seed)
    dim = vectors.shape[1]
    made = vectors[random.choice(len(vectors), n)] + 0.3 * random.normal(size=(n, dim)) / dim**0.5
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


def nearest(vectors: np.ndarray, queries: np.ndarray, k: int, mask: np.ndarray | None = None) -> list[np.ndarray]:
    """Rows of the best `k` for each query, best first, of those in `mask`."""
    scores = queries @ vectors.T if mask is None else np.where(mask, queries @ vectors.T, -2)
    left = len(vectors) if mask is None else int(mask.sum())
    return list(np.argsort(-scores, axis=1)[:, : min(k, left)])
