"""What a backend is: three functions and the files that it adds to a shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from retrieval.index.config import IndexConfig
from retrieval.index.metadata import ShardMetadata
from retrieval.index.query import Engine, Floats
from retrieval.observability import Tracker


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to search.

    `build(folder, vectors, config, tracker)` writes the backend's files, `check(folder, vectors, metadata)` raises
    ArtifactError unless they are sound in every field that a search follows, and `open(folder, vectors, metadata)`
    makes the engine.
    """

    files: tuple[str, ...]
    build: Callable[[Path, Floats, IndexConfig, Tracker], None]
    check: Callable[[Path, Floats, ShardMetadata], None]
    open: Callable[[Path, Floats, ShardMetadata], Engine]
