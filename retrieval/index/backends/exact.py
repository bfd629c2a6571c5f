"""Exact search: no graph, every query is compared with every row that it may be answered with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retrieval.arrays import Vectors
from retrieval.index import _native
from retrieval.index.backends.backend import Arrangement, Backend
from retrieval.index.backends.found import row_hits
from retrieval.index.config import IndexConfig
from retrieval.index.metadata import ShardMetadata
from retrieval.index.query import RowHits, RowQuery
from retrieval.observability import Tracker


class _Exact:
    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def search(self, vectors: Vectors, queries: Sequence[RowQuery]) -> list[RowHits]:
        return row_hits(_native.search_vectors(self._vectors, np.ascontiguousarray(vectors), queries, threads=1))

    def approximate(self, vectors: Vectors, ef: int) -> None:  # noqa: ARG002
        return None


def _arrange(vectors: Vectors, config: IndexConfig) -> Arrangement:  # noqa: ARG001
    return Arrangement.none(len(vectors))


def _build(
    folder: Path,  # noqa: ARG001
    vectors: Vectors,
    arrangement: Arrangement,  # noqa: ARG001
    config: IndexConfig,  # noqa: ARG001
    tracker: Tracker,
) -> None:
    tracker.advance(len(vectors))


def _check(folder: Path, vectors: Vectors, metadata: ShardMetadata) -> None:
    """Nothing beyond what every shard has."""


def _open(folder: Path, vectors: Vectors, metadata: ShardMetadata) -> _Exact:  # noqa: ARG001
    return _Exact(vectors)


BACKEND = Backend((), _arrange, _build, _check, _open)
