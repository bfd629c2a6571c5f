"""Exact search: no graph, every query is compared with every row that it may be answered with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrieval.arrays import Vectors
from retrieval.index import _native
from retrieval.index.backends.backend import Arrangement, Backend
from retrieval.index.backends.batch import searched
from retrieval.index.config import IndexConfig
from retrieval.index.metadata import ShardMetadata
from retrieval.index.query import Answer, Ask
from retrieval.observability import Tracker


class _Exact:
    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def search(self, queries: Vectors, asks: Sequence[Ask]) -> list[Answer]:
        return searched(self._scan, queries, asks)

    def _scan(self, queries: Vectors, k: Any, effort: Any, *columns: Any, **limits: Any) -> _native.Found:  # noqa: ARG002
        """As the core's graph is asked; a scan knows no effort."""
        return _native.search_vectors(self._vectors, queries, k, *columns, **limits, threads=1)

    def approximate(self, queries: Vectors, ef: int) -> None:  # noqa: ARG002
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
