"""Exact search: no graph, every query is compared with every allowed row."""

from __future__ import annotations

from pathlib import Path

from retrieval.index.backends.backend import Backend, Floats
from retrieval.index.config import IndexConfig
from retrieval.index.metadata import ShardMetadata
from retrieval.observability import Tracker


def _build(folder: Path, vectors: Floats, config: IndexConfig, tracker: Tracker) -> None:  # noqa: ARG001
    tracker.advance(len(vectors))


def _check(folder: Path, vectors: Floats, metadata: ShardMetadata) -> None:
    """Nothing beyond what every shard has."""


def _open(folder: Path, metadata: ShardMetadata) -> None:  # noqa: ARG001
    return None


BACKEND = Backend((), _build, _check, _open)
