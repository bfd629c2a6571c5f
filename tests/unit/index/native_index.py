"""Native indexes over clustered vectors, with links and with leaves, and how tests ask them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.index import _native
from retrieval.index.allowed import packed
from retrieval.index.query import NO_ROWS


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
    given: dict[str, Any] = {"m": 8, "effort": 100, "alpha": 1.1, "seed": 1, "threads": 1, "search_effort": 100}
    given |= {"starts": np.zeros(1, np.uint32), "centres": np.zeros(0, np.float32), **settings}
    if arranged:
        order, starts, centres = _native.arrange(vectors, seed=1, threads=given["threads"])
        vectors = np.ascontiguousarray(vectors[order])
        given |= {"starts": starts, "centres": centres}
    built = Built(vectors, folder / "graph.native", folder / "graph.hnsw")
    _native.build(vectors, str(built.native), str(built.hnsw), **given)
    return built


def ask(
    index: _native.Index,
    queries: np.ndarray,
    k: int,
    ef: int,
    allowed: np.ndarray | None = None,
    excluded: np.ndarray = NO_ROWS,
    **terms: Any,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and scores of each query; `excluded` holds for all of them."""
    n = len(queries)
    found = index.search(
        queries,
        np.full(n, k, np.uint32),
        np.full(n, ef, np.uint32),
        [None if allowed is None else packed(allowed)] * n,
        np.tile(excluded, n).astype(np.uint32),
        (np.arange(1, n + 1) * len(excluded)).astype(np.uint64),
        **terms,
    )
    ends = np.cumsum(found[2])
    return [(found[0][end - c : end], found[1][end - c : end]) for end, c in zip(ends, found[2], strict=True)]


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
