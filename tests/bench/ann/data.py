"""Vectors, queries and exact neighbours, made once and kept in the work folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
TRUTH = 100
"""So many exact neighbours are kept of every query: the largest k."""
SIZES = {"200k": 200_000, "1m": 1_000_000}
QUERIES = 2000
_SPREAD, _NOISE = 0.8, 0.5
_BLENDS, _SHARE = 0.25, 0.3
"""So many queries lie between two items, with so much of the second."""
_BLOCK = 64


@dataclass(frozen=True)
class Data:
    """Where the arrays lie; those that measure map them, each for itself."""

    name: str
    folder: Path

    @property
    def vectors(self) -> Floats:
        """float32 [N, D], L2-normalised."""
        return np.load(self.folder / "vectors.npy", mmap_mode="r")  # type: ignore[no-any-return]

    @property
    def queries(self) -> Floats:
        """float32 [Q, D], L2-normalised."""
        return np.load(self.folder / "queries.npy")  # type: ignore[no-any-return]

    @property
    def truth(self) -> Ids:
        """int64 [Q, TRUTH]: ids of the nearest by inner product, best first."""
        return np.load(self.folder / "truth.npy")  # type: ignore[no-any-return]


def prepare(name: str, work: Path) -> Data:
    """The data called `200k`, `1m`, `globo`, or a number of vectors; what `work` holds of it is used again."""
    data = Data(name, work / name)
    if (data.folder / "truth.npy").is_file():
        return data
    vectors, queries = globo(work) if name == "globo" else learned(SIZES.get(name) or int(name))
    data.folder.mkdir(parents=True, exist_ok=True)
    np.save(data.folder / "vectors.npy", vectors)
    np.save(data.folder / "queries.npy", queries)
    np.save(data.folder / "truth.npy", exact(vectors, queries, TRUTH))
    return data


def learned(count: int, dim: int = 64, queries: int = QUERIES, seed: int = 0) -> tuple[Floats, Floats]:
    """float32 [count, dim] and [queries, dim], L2-normalised, as learned embeddings look.

    1,000 clusters at 200k vectors (their number grows with the root of `count`), their sizes Zipf's; items of unequal
    popularity; a query lies near a popular item, every fourth between two. The spreads are such that hnswlib (M 16,
    ef_construction 200) needs ef of some 200 for recall@100 of .99 at 200k.
    """
    random = np.random.default_rng(seed)
    clusters = max(8, round(1000 * (count / 200_000) ** 0.5))
    centres = _unit(random.normal(size=(clusters, dim)))
    of = random.choice(clusters, count, p=_zipf(clusters, 0.5))
    vectors = _unit(centres[of] + _SPREAD * random.normal(size=(count, dim)) / dim**0.5)
    items = random.permutation(count)[random.choice(count, (2, queries), p=_zipf(count, 1.0))]
    share = np.where(random.random(queries) < _BLENDS, _SHARE, 0.0)[:, None]
    wanted = (1 - share) * vectors[items[0]] + share * vectors[items[1]]
    return vectors, _unit(wanted + _NOISE * random.normal(size=(queries, dim)) / dim**0.5)


def globo(work: Path) -> tuple[Floats, Floats]:
    """Item and user vectors of a trained pair of towers, out of the work folder; at most QUERIES users."""
    items, users = work / "globo-items.npy", work / "globo-users.npy"
    if not (items.is_file() and users.is_file()):
        raise SystemExit(
            f"{items} and {users} are not there: `python -m tests.bench.ann.globo --help` says how to make them"
        )
    asked = np.load(users)
    return _unit(np.load(items)), _unit(asked[:: max(1, len(asked) // QUERIES)][:QUERIES])


def exact(vectors: Floats, queries: Floats, k: int) -> Ids:
    """int64 [Q, k]: the nearest by inner product, best first; -1 where there are fewer than k."""
    found = np.full((len(queries), k), -1, dtype=np.int64)
    most = min(k, len(vectors))
    for start in range(0, len(queries), _BLOCK):
        scores = queries[start : start + _BLOCK] @ vectors.T
        best = np.argpartition(-scores, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        found[start : start + _BLOCK, :most] = np.take_along_axis(best, order, axis=1)
    return found


def recall(found: Ids, truth: Ids, k: int) -> float:
    """Mean share of the `k` true neighbours (fewer where truth has -1) that are among the found; a short answer counts
    as one that misses.
    """
    shares = []
    for ids, wanted in zip(found, truth[:, :k], strict=True):
        real = wanted[wanted >= 0]
        shares.append(len(np.intersect1d(ids, real)) / max(1, len(real)))
    return float(np.mean(shares))


def _zipf(count: int, power: float) -> NDArray[np.float64]:
    share = np.arange(1, count + 1) ** -power
    return share / share.sum()  # type: ignore[no-any-return]


def _unit(made: NDArray[np.floating]) -> Floats:
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
