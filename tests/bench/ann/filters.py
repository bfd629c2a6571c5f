"""Filters to search with: how much they leave, and where it lies as seen from the query."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.bench.ann.data import Data, Floats, Ids, exact

SHARES = (0.5, 0.1, 0.01, 0.001)
PLACES = ("random", "near", "far")
_GROUPS, _QUERIES = 20, 20


@dataclass(frozen=True)
class Group:
    """Queries that share a filter."""

    queries: Ids
    """int64 [q]: positions among all queries."""
    allowed: NDArray[np.bool_]
    """bool [N]"""
    truth: Ids
    """int64 [q, k]: the nearest of the allowed, -1 where there are fewer."""


@dataclass(frozen=True)
class FilterCase:
    """A share of the vectors, at random, in the clusters nearest to the queries or in those farthest from them."""

    place: str
    share: float
    count: int
    """N, to unpack the bitmaps."""
    path: Path

    @property
    def name(self) -> str:
        return f"{100 * self.share:g} % {self.place}"

    def groups(self) -> list[Group]:
        with np.load(self.path) as kept:
            allowed = np.unpackbits(kept["allowed"], axis=1, count=self.count).astype(bool)
            return [Group(*group) for group in zip(kept["queries"], allowed, kept["truth"], strict=True)]


def prepare_filters(data: Data, k: int) -> list[FilterCase]:
    """Every case; what the work folder holds is used again."""
    folder = data.folder / f"filters-{k}"
    folder.mkdir(exist_ok=True)
    count = len(data.vectors)
    cases = [FilterCase(place, share, count, folder / f"{place}-{share:g}.npz") for share in SHARES for place in PLACES]
    missing = [case for case in cases if not case.path.is_file()]
    if missing:
        vectors, queries = np.array(data.vectors), data.queries
        members = _groups(queries)
        clusters = _clusters(vectors)
        orders = [_outwards(*clusters, queries[group].mean(axis=0)) for group in members]
        for case in missing:
            _make(case, k, vectors, queries, members, orders)
    return cases


def _make(case: FilterCase, k: int, vectors: Floats, queries: Floats, members: list[Ids], orders: list[Ids]) -> None:
    random = np.random.default_rng(1)
    few = max(1, round(case.share * len(vectors)))
    bitmaps, truths = [], []
    for group, order in zip(members, orders, strict=True):
        chosen = {"near": order[:few], "far": order[-few:]}.get(case.place)
        ids = random.choice(len(vectors), few, replace=False) if chosen is None else chosen
        allowed = np.zeros(len(vectors), dtype=bool)
        allowed[ids] = True
        nearest = exact(vectors[ids], queries[group], k)
        bitmaps.append(np.packbits(allowed))
        truths.append(np.where(nearest >= 0, ids[nearest], -1))
    np.savez(case.path, queries=np.stack(members), allowed=np.stack(bitmaps), truth=np.stack(truths))


def _groups(queries: Floats) -> list[Ids]:
    """Queries that lie near each other, around some that are taken at random."""
    anchors = np.random.default_rng(0).choice(len(queries), min(_GROUPS, len(queries)), replace=False)
    return list(exact(queries, queries[anchors], min(_QUERIES, len(queries))))


def _clusters(vectors: Floats) -> tuple[Floats, Ids]:
    """√N of the vectors [c, D], and which of these lies nearest to each vector [N]: its cluster."""
    pivots = np.random.default_rng(2).choice(len(vectors), max(1, round(len(vectors) ** 0.5)), replace=False)
    return vectors[pivots], exact(vectors[pivots], vectors, 1)[:, 0]


def _outwards(pivots: Floats, cluster: Ids, point: NDArray[np.floating]) -> Ids:
    """All ids, those of the cluster nearest to the point first."""
    rank = np.argsort(np.argsort(-(pivots @ point)))
    return np.argsort(rank[cluster], kind="stable")
